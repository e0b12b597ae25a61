//! Text that is not a card number's place: it is stored and logged as it is, so that a card number in it is refused.

use crate::scrub::{MASK, scrub};
use crate::{DomainSpec, TokenCall};
use tally_domain::wrap::WrapSpec;
use tally_domain::{ContentKind, Intent};

/// Digits, with a space or dash between any two, that may have been meant as a card number.
const DIGITS_MEANT: usize = crate::pan::DIGITS_MIN as usize;

/// Whether there is a card number in a text; what counts as one is said in [`crate::scrub`]. Tokens are none: those of digits
/// alone start with 9, which no brand does, or fail the check digit.
pub fn holds_card(text: &[u8]) -> bool {
    scrub(text).1 > 0
}

/// The field of an intent that holds a card number, if one does. What is signed is not looked at: long numbers are at home
/// there, and it is the signer's.
pub fn card_field(intent: &Intent) -> Option<&'static str> {
    let own = [("note", intent.note.as_str()), ("key", intent.key.as_str()), ("chain", intent.chain.as_str())];
    let of_own = own.into_iter().find(|(_, text)| holds_card(text.as_bytes())).map(|(field, _)| field);
    of_own.or_else(|| content_field(intent.kind, &intent.content))
}

/// The same of contents that have text of their own. One that cannot be read is looked at as it is: it is kept, too.
fn content_field(kind: ContentKind, content: &[u8]) -> Option<&'static str> {
    let holds = |text: &str| holds_card(text.as_bytes());
    match kind {
        ContentKind::TokenCall => match TokenCall::from_bytes(content) {
            Ok(call) if holds(&call.purpose) => Some("purpose"),
            Ok(call) if call.call.token().is_some_and(|token| holds(token.as_str())) => Some("token"),
            Ok(_) => None,
            Err(_) => whole(content),
        },
        ContentKind::WrapSpec => match WrapSpec::from_bytes(content) {
            Ok(spec) if spec.context.pairs().any(|(key, value)| holds(key) || holds(value)) => Some("context"),
            Ok(_) => None,
            Err(_) => whole(content),
        },
        ContentKind::DomainSpec => match DomainSpec::from_bytes(content) {
            Ok(spec) if holds(spec.domain.name.as_str()) => Some("name"),
            Ok(spec) if holds(spec.home.as_str()) => Some("home"),
            Ok(_) => None,
            Err(_) => whole(content),
        },
        ContentKind::DomainChange
        | ContentKind::KeySpec
        | ContentKind::HsmKeySpec
        | ContentKind::KekSpec
        | ContentKind::FreezeSpec
        | ContentKind::UnfreezeSpec
        | ContentKind::VetoSpec => whole(content),
        ContentKind::EvmTransaction
        | ContentKind::Message
        | ContentKind::RawDigest
        | ContentKind::Iso20022
        | ContentKind::TypedData
        | ContentKind::PersonalMessage => None,
    }
}

fn whole(content: &[u8]) -> Option<&'static str> {
    holds_card(content).then_some("content")
}

/// A text for the person who has just typed it, without what may have been meant as a card number, mistyped or not.
pub fn without_digits(text: &str) -> String {
    let (mut out, mut run) = (String::with_capacity(text.len()), String::new());
    for c in text.chars().chain(std::iter::once('\n')) {
        let between = matches!(c, ' ' | '-') && run.ends_with(|c: char| c.is_ascii_digit());
        if c.is_ascii_digit() || between {
            run.push(c);
            continue;
        }
        let kept = run.trim_end_matches([' ', '-']);
        let digits = || kept.bytes().filter(u8::is_ascii_digit);
        // No card begins with a zero: zeros alone tell nothing.
        if digits().count() >= DIGITS_MEANT && digits().any(|digit| digit != b'0') {
            out.push_str(&String::from_utf8_lossy(MASK));
            out.extend(run.chars().skip(kept.len()));
        } else {
            out.push_str(&run);
        }
        run.clear();
        out.push(c);
    }
    out.pop();
    out
}
