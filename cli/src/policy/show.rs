//! `tally policy show`

use super::{check, read};
use crate::output::{Shown, field};
use crate::words::utc;
use serde_json::{Value, json};
use std::path::Path;
use tally_policy::{Admins, Header, SignedBundle, span_words};

pub fn run(path: &Path, previous: Option<&Path>) -> anyhow::Result<Shown> {
    let read = read::any(path)?;
    let previous = previous.map(read::any).transpose()?;
    let header = read.bundle.header();
    let mut lines = vec![format!("bundle {}", read.bundle.digest())];
    lines.extend(header_lines(header));
    let mut signatures = Value::Null;
    if let Some(signed) = &read.signed {
        // Only the first bundle is signed by admins of its own.
        let admins = match (&previous, header.previous) {
            (Some(previous), _) => Some(previous.bundle.admins()),
            (None, None) => Some(read.bundle.admins()),
            (None, Some(_)) => None,
        };
        let (line, json) = signed_by(signed, admins)?;
        lines.push(field("signed by", line));
        signatures = json;
    }
    lines.extend(check::lines_of(&read.bundle));
    let text = |path: &str| read.files.get(path).map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    for path in ["policy.cedar", "limits.toml", "groups.toml", "contracts.toml"] {
        if let Some(text) = text(path) {
            lines.push(format!("\n--- {path}\n{}", text.trim_end()));
        }
    }
    let files: serde_json::Map<_, _> =
        read.files.keys().filter_map(|path| Some((path.clone(), text(path)?.into()))).collect();
    let json = json!({ "bundle": header_json(header, &read.bundle.digest().to_string()), "signatures": signatures, "files": files });
    Ok(Shown::done(lines.join("\n"), json))
}

/// Who has signed, as far as that can be told without the bundle before.
fn signed_by(signed: &SignedBundle, admins: Option<&Admins>) -> anyhow::Result<(String, Value)> {
    let Some(admins) = admins else {
        let why = "not checked: --previous FILE names the bundle whose admins sign this one".to_owned();
        return Ok((why, Value::Null));
    };
    let names: Vec<_> = signed.signers(admins)?.into_iter().collect();
    let needed = admins.needed().unwrap_or_default();
    let shown = if names.is_empty() { "nobody".to_owned() } else { names.join(", ") };
    Ok((format!("{shown}; {} of {needed} needed", names.len()), json!({ "admins": names, "needed": needed })))
}

/// What a bundle says of itself, line by line.
pub fn header_lines(header: &Header) -> Vec<String> {
    let mut lines = vec![field("cluster", &header.cluster)];
    if let Some(previous) = header.previous {
        lines.push(field("previous", previous));
    }
    match header.validity {
        Some(validity) => {
            lines.push(field("not before", utc(validity.not_before)));
            lines.push(field("not after", utc(validity.not_after)));
        }
        None => lines.push(field("validity", "none: not packed")),
    }
    lines.push(field("loosening", format!("waits {}", span_words(header.loosening_delay_ms))));
    lines
}

/// The same as JSON.
pub fn header_json(header: &Header, digest: &str) -> Value {
    json!({
        "digest": digest, "cluster": header.cluster, "version": header.version,
        "previous": header.previous.map(|d| d.to_string()),
        "not_before_ms": header.validity.map(|v| v.not_before.0),
        "not_after_ms": header.validity.map(|v| v.not_after.0),
        "loosening_delay_ms": header.loosening_delay_ms,
    })
}
