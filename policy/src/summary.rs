//! What people are shown of a request: a pure function of what was decoded, the same at every node and on every desk
//! (S-2.2 step 14). An approval is over its digest.

mod allowance;
mod call;

use crate::bundle::Bundle;
use crate::decide::{DecisionRequest, PolicyAction};
use std::fmt::Write as _;
use tally_domain::Digest;
use tally_domain::digest::TaggedHash;
use tally_domain::facts::{Amount, AssetRef, Facts, OpaqueFacts, PaymentFacts, TransactionFacts};

/// What an approver sees, and the digest that the approval is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// The text, line by line.
    pub text: String,
    /// Its digest.
    pub digest: Digest,
}

/// What an approver is shown.
pub fn shown(bundle: &Bundle, request: &DecisionRequest<'_>) -> Shown {
    let (client, key) = (request.client, request.key);
    let text = match request.action {
        PolicyAction::Sign(facts) => {
            format!("client {client} asks to sign with key {key}\n{}", summary(bundle, facts).replace("; ", "\n  "))
        }
        PolicyAction::CreateKey(spec) => {
            let (t, n) = (spec.threshold.t(), spec.threshold.n());
            format!("client {client} asks to create key {key}\n{} {t} of {n} for {}", spec.scheme, spec.purpose)
        }
        PolicyAction::CreateHsmKey(spec) => {
            let (scheme, home, purpose) = (spec.scheme, &spec.home, spec.purpose);
            format!("client {client} asks to create key {key}\n{scheme} in the HSM of {home} for {purpose}")
        }
        PolicyAction::Wrap(facts) => {
            let (call, version) = (facts.kind.as_str(), facts.version);
            let seen = if facts.plaintext { ", and to see what is inside" } else { "" };
            let about = format!("{} bytes for {}", facts.bytes, plain(&facts.context.to_string()));
            format!("client {client} asks to {call} with version {version} of KEK {key}{seen}\n{about}")
        }
        PolicyAction::CreateKek => format!("client {client} asks to create KEK {key}"),
        PolicyAction::ChangeKek(change, version) => {
            let after = change.delay_ms().map(|ms| format!(" after {} s", ms / 1_000)).unwrap_or_default();
            format!("client {client} asks to change KEK {key}\n{} version {version}{after}", change.as_str())
        }
        PolicyAction::Token(facts) => {
            let (action, rows) = (facts.rule_action(), facts.rows);
            let (many, which) = match (facts.token, rows) {
                ("", 1) => ("a card number".to_owned(), "a card number that travels beside the request".to_owned()),
                ("", _) => (format!("up to {rows} card numbers"), "of tokens that it names later".to_owned()),
                (token, _) => ("a card number".to_owned(), format!("token {token}")),
            };
            let form = if facts.form.is_empty() { String::new() } else { format!(", shown {}", facts.form) };
            let purpose = match facts.purpose {
                "" => "no purpose".to_owned(),
                purpose => format!("purpose `{purpose}`"),
            };
            format!("client {client} asks to {action} {many} of token domain {key}\n{which}{form}, for {purpose}")
        }
        PolicyAction::ManageDomain(facts) => {
            let (change, about, mode, format) = (facts.change, facts.key, facts.mode, facts.format);
            format!("client {client} asks to {change} {about} of token domain {key} ({mode}, {format})")
        }
        PolicyAction::Freeze(scope) => format!("client {client} asks to freeze {scope}"),
        PolicyAction::Unfreeze(scope) => format!("client {client} asks to lift freezes of {scope}"),
        PolicyAction::VetoPolicy(version) => format!("client {client} asks to veto version {version} of the policy"),
    };
    let digest = summary_digest(&text);
    Shown { text, digest }
}

/// The digest of a text that is shown: whoever shows it to a person computes it again.
pub fn summary_digest(text: &str) -> Digest {
    TaggedHash::new("tally/v1/summary").field(text.as_bytes()).finish()
}

/// Facts in words, on one line. Amounts are exact, in whole units where the bundle knows the asset.
pub fn summary(bundle: &Bundle, facts: &Facts) -> String {
    match facts {
        Facts::Transaction(tx) => transaction(bundle, tx),
        Facts::Message(m) if m.text => format!("text message of {} bytes", m.bytes),
        Facts::Message(m) => format!("message of {} bytes", m.bytes),
        Facts::Raw(raw) => format!("raw digest of {} bytes, of something that is not known", raw.bytes),
        Facts::Payment(payment) => payment_file(payment),
        Facts::TypedData(typed) => allowance::typed_data(bundle, typed),
        Facts::Opaque(o) => match bundle.contracts.read(o) {
            Some(Ok(call)) => call::call(bundle, &call),
            Some(Err(why)) => opaque(o, &why),
            None => opaque(o, &o.why),
        },
    }
}

fn opaque(facts: &OpaqueFacts, why: &str) -> String {
    format!("opaque on {}, to {}: {}", plain(&facts.chain), plain(&facts.to), plain(why))
}

fn transaction(bundle: &Bundle, tx: &TransactionFacts) -> String {
    let mut text = format!("{} on {}", plain(&tx.method), plain(&tx.chain));
    for movement in &tx.movements {
        // Writing to a string does not fail.
        let _ = write!(text, "; {}", amount_of(bundle, &tx.chain, &movement.asset, movement.amount));
        if !movement.from.is_empty() {
            let _ = write!(text, " from {}", plain(&movement.from));
        }
        let _ = write!(text, " to {}", plain(&movement.to));
    }
    for allowance in &tx.allowances {
        let _ = write!(text, "; {}", allowance::allowance(bundle, &tx.chain, allowance));
    }
    let _ = write!(text, "; fee at most {}", amount_of(bundle, &tx.chain, &AssetRef::Native, tx.fee_max));
    text
}

fn amount_of(bundle: &Bundle, chain: &str, asset: &AssetRef, amount: Amount) -> String {
    let name = plain(asset.contract().unwrap_or("the native coin"));
    let Some(counted) = bundle.assets.counted(chain, asset, amount) else {
        return match asset {
            AssetRef::Item { id, .. } => format!("{amount} of piece {id} of {name}"),
            _ => format!("{amount} smallest units of {name}"),
        };
    };
    let (amount, symbol) = (exact(&counted.amount, counted.asset.decimals), &counted.asset.symbol);
    match (asset, counted.item.as_str()) {
        (AssetRef::Native, _) => format!("{amount} {symbol}"),
        (_, "") => format!("{amount} {symbol} ({name})"),
        (_, item) => format!("{amount} {symbol} number {item} ({name})"),
    }
}

fn payment_file(p: &PaymentFacts) -> String {
    let (count, total) = (p.count(), p.currency.units(&p.total));
    let mut text = format!("payment file {} of {count} transfers, {total} {} in all", plain(&p.message_id), p.currency);
    for block in &p.blocks {
        for t in &block.transfers {
            let amount = p.currency.units(&t.amount);
            let (day, name) = (plain(&block.execution), plain(&t.creditor_name));
            // Writing to a string does not fail.
            let _ = write!(text, "; {amount} on {day} from {} to {} ({name})", block.debtor, t.creditor);
        }
    }
    text
}

/// The amount in whole units, with as many places as it needs.
fn exact(amount: &Amount, decimals: u8) -> String {
    let places = usize::from(decimals);
    let digits = format!("{:0>width$}", amount.to_string(), width = places + 1);
    let (whole, part) = digits.split_at_checked(digits.len() - places).unwrap_or((&digits, ""));
    match part.trim_end_matches('0') {
        "" => whole.to_owned(),
        part => format!("{whole}.{part}"),
    }
}

/// Text from outside, without what could break a line, hide a part of it or change its direction, or pass for another
/// line of the summary.
fn plain(text: &str) -> String {
    let shows = |c: char| {
        !c.is_control()
            && !matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | ';')
    };
    text.chars().map(|c| if shows(c) { c } else { '\u{fffd}' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_exact() {
        for (n, decimals, text) in [
            (0, 6, "0"),
            (1, 6, "0.000001"),
            (1_500_000, 6, "1.5"),
            (1_000_000, 6, "1"),
            (7, 0, "7"),
            (u128::MAX, 18, "340282366920938463463.374607431768211455"),
        ] {
            assert_eq!(exact(&Amount::from(n), decimals), text);
        }
    }

    #[test]
    fn text_from_outside_cannot_change_what_is_seen_around_it() {
        assert_eq!(plain("Müller & Co"), "Müller & Co");
        assert_eq!(plain("a\nb; c\u{202e}d\u{200b}\0"), "a\u{fffd}b\u{fffd} c\u{fffd}d\u{fffd}\u{fffd}");
    }
}
