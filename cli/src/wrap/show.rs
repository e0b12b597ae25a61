//! KEKs and what they did, for people and for scripts.

use super::text;
use crate::output::{Shown, field};
use crate::words::utc;
use serde_json::{Value, json};
use std::path::Path;
use tally_client::{ChangedKek, CreatedKek, KekInfo, KekVersionInfo, SealedIntent, Unwrapped, Wrapped, WrappedBy};
use tally_domain::{KeyName, UnixMillis};

/// What was wrapped, where it was to go: into a file, alone onto standard output, or among the rest.
pub fn sealed(
    kek: &KeyName,
    intent: &SealedIntent,
    wrapped: &Wrapped,
    out: Option<&Path>,
    plaintext: Option<&Path>,
) -> Shown {
    let blob = text::of_blob(&wrapped.blob);
    let mut document = by(kek, intent, &wrapped.by);
    let mut lines = permitted(kek, intent, &wrapped.by);
    match out {
        Some(path) if !text::is_stdout(path) => lines.push(field("wrapped", path.display())),
        _ => lines.push(field("wrapped", &blob)),
    }
    lines.extend(plaintext.map(|path| field("plaintext", path.display())));
    if let Value::Object(members) = &mut document {
        members.insert("wrapped".into(), blob.clone().into());
        members.insert("out".into(), json!(out));
        members.insert("plaintext_out".into(), json!(plaintext));
    }
    let text = match (out, plaintext) {
        (Some(path), _) if text::is_stdout(path) => blob,
        // The key itself has the standard output to itself.
        (_, Some(path)) if text::is_stdout(path) => String::new(),
        _ => lines.join("\n"),
    };
    Shown::done(text, document)
}

/// What was opened has gone where it was to go; nothing of it is shown.
pub fn opened(kek: &KeyName, intent: &SealedIntent, opened: &Unwrapped, out: &Path) -> Shown {
    let mut document = by(kek, intent, &opened.by);
    if let Value::Object(members) = &mut document {
        members.insert("bytes".into(), opened.plaintext.len().into());
        members.insert("plaintext_out".into(), json!(out));
    }
    if text::is_stdout(out) {
        return Shown::done("", document);
    }
    let mut lines = permitted(kek, intent, &opened.by);
    lines.push(field("plaintext", format!("{} bytes in {}", opened.plaintext.len(), out.display())));
    Shown::done(lines.join("\n"), document)
}

/// A new KEK.
pub fn created(intent: &SealedIntent, created: &CreatedKek) -> Shown {
    let text = format!("PERMITTED by rule {}\n{}", created.rule, record(&created.kek));
    let document = with_verdict(to_json(&created.kek), intent, &created.rule);
    Shown::done(text, document)
}

/// A version that was changed or made.
pub fn changed(kek: &KeyName, intent: &SealedIntent, changed: &ChangedKek) -> Shown {
    let lines = [
        format!("PERMITTED by rule {}", changed.rule),
        field("request", intent.request_id()),
        field("KEK", kek),
        field("version", state(&changed.version)),
    ];
    let mut document = json!({ "kek": kek.as_str(), "version": version(&changed.version) });
    // Not told in the answer to a change.
    if let Some(Value::Object(members)) = document.get_mut("version") {
        members.remove("wraps");
    }
    Shown::done(lines.join("\n"), with_verdict(document, intent, &changed.rule))
}

/// What would be destroyed, and when.
pub fn planned(kek: &KeyName, v: &KekVersionInfo, at: UnixMillis) -> Shown {
    let lines = [
        format!("would destroy version {} of {kek}", v.number),
        field("now", line(v)),
        field("destroyed", format!("{}, if the node is configured to wait no longer (24 hours by default)", utc(at))),
        field("wrapped", format!("{} things, which could not be opened by anyone afterwards", v.wraps)),
    ];
    let document = json!({ "dry_run": true, "kek": kek.as_str(), "version": version(v), "destroy_at": utc(at) });
    Shown::done(lines.join("\n"), document)
}

/// One.
pub fn kek(k: &KekInfo) -> Shown {
    Shown::done(record(k), to_json(k))
}

/// All of them, a line each.
pub fn list(keks: &[KekInfo]) -> Shown {
    let line = |k: &KekInfo| {
        let newest = k.versions.last().map(|v| format!("version {} {}", v.number, v.state));
        let (name, home) = (k.name.as_str(), k.home.as_str());
        format!("{name:<16} HSM of {home:<12} {:<8} {}", k.state, newest.unwrap_or_default()).trim_end().to_owned()
    };
    let lines: Vec<_> = keks.iter().map(line).collect();
    let text = if lines.is_empty() { "no KEKs".into() } else { lines.join("\n") };
    Shown::done(text, json!({ "keks": keks.iter().map(to_json).collect::<Vec<_>>() }))
}

fn record(k: &KekInfo) -> String {
    let mut lines =
        vec![format!("KEK {}", k.name), field("home", format!("HSM of {}", k.home)), field("state", &k.state)];
    lines.extend(k.versions.iter().map(|v| field("version", line(v))));
    lines.join("\n")
}

fn line(v: &KekVersionInfo) -> String {
    format!("{}, {} wrapped", state(v), v.wraps)
}

fn state(v: &KekVersionInfo) -> String {
    let at = v.destroy_at.map(|at| format!(" at {}", utc(at))).unwrap_or_default();
    format!("{} {}{at}, check value {}, made {}", v.number, v.state, v.check_value, utc(v.made_at))
}

fn to_json(k: &KekInfo) -> Value {
    json!({
        "kek": k.name.as_str(), "home": k.home.as_str(), "state": k.state,
        "versions": k.versions.iter().map(version).collect::<Vec<_>>(),
    })
}

fn version(v: &KekVersionInfo) -> Value {
    json!({
        "number": v.number.0, "state": v.state, "id": hex::encode(v.id), "check_value": v.check_value,
        "made_at": utc(v.made_at), "destroy_at": v.destroy_at.map(utc), "wraps": v.wraps, "replicable": v.replicable,
    })
}

fn permitted(kek: &KeyName, intent: &SealedIntent, by: &WrappedBy) -> Vec<String> {
    vec![
        format!("PERMITTED by rule {}", by.rule),
        field("request", intent.request_id()),
        field("KEK", format!("{kek} version {} in the HSM of {}", by.version, by.home)),
    ]
}

fn by(kek: &KeyName, intent: &SealedIntent, by: &WrappedBy) -> Value {
    let document = json!({ "kek": kek.as_str(), "version": by.version.0, "home": by.home.as_str() });
    with_verdict(document, intent, &by.rule)
}

fn with_verdict(mut document: Value, intent: &SealedIntent, rule: &str) -> Value {
    if let Value::Object(members) = &mut document {
        members.insert("verdict".into(), "permitted".into());
        members.insert("rule".into(), rule.into());
        members.insert("request_id".into(), intent.request_id().to_string().into());
    }
    document
}
