//! Keys for people and for scripts.

use crate::freeze;
use crate::output::{Shown, field};
use serde_json::{Value, json};
use tally_client::{FreezeInfo, KeyBacking, KeyInfo};

/// All of them, a line each.
pub fn list(keys: &[KeyInfo]) -> Shown {
    let shape = |k: &KeyInfo| match &k.backing {
        KeyBacking::Threshold { threshold, .. } => format!("{} of {}", threshold.t(), threshold.n()),
        KeyBacking::Hsm { home, .. } | KeyBacking::Kek { home, .. } => format!("HSM of {home}"),
    };
    let widest = |cell: &dyn Fn(&KeyInfo) -> usize| keys.iter().map(cell).max().unwrap_or_default();
    let names = widest(&|k| k.name.as_str().len());
    let schemes = widest(&|k| k.backing.scheme().len());
    let shapes = widest(&|k| shape(k).len());
    let line = |k: &KeyInfo| {
        let public = match &k.backing {
            KeyBacking::Kek { check_value, .. } => format!("check value {check_value}"),
            _ => k.evm_address.clone().unwrap_or_else(|| short(&k.public_key)),
        };
        let (scheme, purpose) = (k.backing.scheme(), k.purpose.as_str());
        format!(
            "{:<names$}  {scheme:<schemes$}  {:<shapes$}  {purpose:<11}  {:<8}  {public}",
            k.name.as_str(),
            shape(k),
            k.state
        )
    };
    let lines: Vec<_> = keys.iter().map(line).collect();
    let text = if lines.is_empty() { "no keys".into() } else { lines.join("\n") };
    Shown::done(text, json!({ "keys": keys.iter().map(to_json).collect::<Vec<_>>() }))
}

/// One, with the freezes that stop it.
pub fn one(k: &KeyInfo, freezes: &[FreezeInfo]) -> Shown {
    let stopping: Vec<_> = freezes.iter().filter(|f| f.scope.covers(&k.name)).collect();
    let mut lines = vec![record(k)];
    lines.extend(stopping.iter().map(|f| field("FROZEN", freeze::line(f))));
    let mut document = to_json(k);
    if let Value::Object(members) = &mut document {
        members.insert("freezes".into(), stopping.into_iter().map(freeze::to_json).collect());
    }
    Shown::done(lines.join("\n"), document)
}

/// One.
pub fn record(k: &KeyInfo) -> String {
    let mut lines = vec![format!("key {}", k.name), field("scheme", k.backing.scheme())];
    match &k.backing {
        KeyBacking::Threshold { threshold, epoch, participants, xpub, chain_code, .. } => {
            let participants: Vec<_> = participants.iter().map(ToString::to_string).collect();
            lines.extend([
                field("threshold", format!("{} of {}", threshold.t(), threshold.n())),
                field("purpose", k.purpose),
                field("state", &k.state),
                field("epoch", epoch.0),
                field("participants", participants.join(", ")),
                field("public key", hex::encode(&k.public_key)),
            ]);
            lines.extend(xpub.as_ref().map(|xpub| field("xpub", xpub)));
            lines.extend(chain_code.map(|code| field("chain code", code)));
        }
        KeyBacking::Hsm { home, .. } => lines.extend([
            field("backing", format!("HSM of {home}")),
            field("purpose", k.purpose),
            field("state", &k.state),
            field("public key", hex::encode(&k.public_key)),
        ]),
        KeyBacking::Kek { home, check_value } => lines.extend([
            field("backing", format!("HSM of {home}")),
            field("purpose", k.purpose),
            field("state", &k.state),
            field("check value", check_value),
        ]),
    }
    lines.extend(k.evm_address.as_ref().map(|address| field("address", address)));
    lines.join("\n")
}

/// One, for scripts.
pub fn to_json(k: &KeyInfo) -> Value {
    let mut document = json!({
        "name": k.name.as_str(), "backing": k.backing.kind().as_str(), "scheme": k.backing.scheme(),
        "purpose": k.purpose.as_str(), "state": k.state, "public_key": hex::encode(&k.public_key),
        "evm_address": k.evm_address,
    });
    let more = match &k.backing {
        KeyBacking::Threshold { threshold, epoch, participants, xpub, chain_code, .. } => json!({
            "chain_code": chain_code.map(|code| hex::encode(code.0)),
            "t": threshold.t(), "n": threshold.n(), "epoch": epoch.0, "xpub": xpub,
            "participants": participants.iter().map(|p| p.as_str()).collect::<Vec<_>>(),
        }),
        KeyBacking::Kek { home, check_value } => json!({ "home": home.as_str(), "check_value": check_value }),
        KeyBacking::Hsm { public_key, home } => json!({ "home": home.as_str(), "pem": public_key.to_pem() }),
    };
    if let (Value::Object(members), Value::Object(more)) = (&mut document, more) {
        members.extend(more);
    }
    document
}

/// Most characters of a public key on one line of a list.
const SHORT_MAX: usize = 66;

/// An RSA key does not fit a line.
fn short(public_key: &[u8]) -> String {
    let text = hex::encode(public_key);
    match text.char_indices().nth(SHORT_MAX) {
        Some(_) => text.chars().take(SHORT_MAX - 3).chain("...".chars()).collect(),
        None => text,
    }
}
