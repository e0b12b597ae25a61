//! Bank accounts and the banks that hold them, each in the one form that facts, rules and lists share.

use std::fmt;

/// Shortest and longest IBAN: Norway has 15 characters, ISO 13616 allows 34.
const IBAN_CHARS: std::ops::RangeInclusive<usize> = 15..=34;

/// Longest account number that is no IBAN (ISO 20022 `Max34Text`).
const OTHER_ID_MAX_CHARS: usize = 34;

/// Longest code of a clearing system (ISO 20022 `ExternalClearingSystemIdentification1Code`).
const CLEARING_SYSTEM_MAX_CHARS: usize = 5;

/// Longest number of a bank in a clearing system (ISO 20022 `Max35Text`).
const CLEARING_MEMBER_MAX_CHARS: usize = 35;

/// What the text of an account that is no IBAN begins with. No IBAN does: it has no lower case.
const OTHER: &str = "other:";

/// A bank account, as text: an IBAN in its electronic form (`DE89370400440532013000`), or the number of an account
/// at a bank (`other:USABA:021000021/12345678`), which alone would name accounts at many banks.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Account(String);

impl Account {
    /// Reads an IBAN: upper case, no spaces, check digits right (ISO 13616, mod 97).
    pub fn iban(text: &str) -> Option<Self> {
        is_iban(text).then(|| Self(text.to_owned()))
    }

    /// The account of this number at that bank.
    pub fn other(agent: &Agent, id: &str) -> Option<Self> {
        let plain = id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'/'));
        ((1..=OTHER_ID_MAX_CHARS).contains(&id.len()) && plain).then(|| Self(format!("{OTHER}{agent}/{id}")))
    }

    /// Reads either form, if it is written as [`Account::as_str`] writes it.
    pub fn parse(text: &str) -> Option<Self> {
        let Some(rest) = text.strip_prefix(OTHER) else { return Self::iban(text) };
        let (agent, id) = rest.split_once('/')?;
        Self::other(&Agent::parse(agent)?, id).filter(|a| a.0 == text)
    }

    /// The account as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A bank: by its BIC, by its number in a clearing system, or by both, as text: `DEUTDEFF`, `USABA:021000021`,
/// `CHASUS33+USABA:021000021`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Agent(String);

impl Agent {
    /// The bank of this BIC (ISO 9362). The branch code `XXX` means the bank itself, so it is left out.
    pub fn bic(text: &str) -> Option<Self> {
        let upper = |s: &str| s.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
        let country = text.get(4..6)?.bytes().all(|b| b.is_ascii_uppercase());
        (matches!(text.len(), 8 | 11) && upper(text) && country).then(|| {
            Self(text.get(..8).filter(|_| text.ends_with("XXX") && text.len() == 11).unwrap_or(text).to_owned())
        })
    }

    /// The bank of this number in a clearing system, such as `USABA` and `021000021`.
    pub fn clearing(system: &str, member: &str) -> Option<Self> {
        let named = (1..=CLEARING_SYSTEM_MAX_CHARS).contains(&system.len())
            && system.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
        let numbered = (1..=CLEARING_MEMBER_MAX_CHARS).contains(&member.len())
            && member.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        (named && numbered).then(|| Self(format!("{system}:{member}")))
    }

    /// The bank that is named in both ways.
    pub fn both(bic: &Self, clearing: &Self) -> Self {
        Self(format!("{bic}+{clearing}"))
    }

    /// Reads either or both forms.
    fn parse(text: &str) -> Option<Self> {
        let clearing = |text: &str| text.split_once(':').and_then(|(system, member)| Self::clearing(system, member));
        match text.split_once('+') {
            Some((bic, rest)) => Some(Self::both(&Self::bic(bic)?, &clearing(rest)?)),
            None => clearing(text).or_else(|| Self::bic(text)),
        }
    }

    /// The bank as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Agent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// ISO 13616: country, two check digits, account; moved to the end and with letters as 10 to 35, the number is 1
/// modulo 97. Check digits are 02 to 98: 00, 01 and 99 are of the same classes as 97, 98 and 02, and would give one
/// account two names.
fn is_iban(text: &str) -> bool {
    let Some((head, account)) = text.split_at_checked(4) else { return false };
    let Some((country, check)) = head.split_at_checked(2) else { return false };
    let shaped = IBAN_CHARS.contains(&text.len())
        && country.bytes().all(|b| b.is_ascii_uppercase())
        && check.bytes().all(|b| b.is_ascii_digit())
        && account.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
    let remainder = account.chars().chain(head.chars()).filter_map(|c| c.to_digit(36)).fold(0, |rest, value| {
        let places = if value < 10 { 10 } else { 100 };
        (rest * places + value) % 97
    });
    shaped && !matches!(check, "00" | "01" | "99") && remainder == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Examples of the IBAN registry (ISO 13616).
    const REGISTRY: [&str; 8] = [
        "AT611904300234573201",
        "CH9300762011623852957",
        "DE89370400440532013000",
        "FR1420041010050500013M02606",
        "GB29NWBK60161331926819",
        "MT84MALT011000012345MTLCAST001S",
        "NL91ABNA0417164300",
        "NO9386011117947",
    ];

    #[test]
    fn published_ibans_are_read_and_none_with_another_digit_or_letter_is() {
        for iban in REGISTRY {
            assert_eq!(Account::iban(iban).unwrap().as_str(), iban);
            for at in 0..iban.len() {
                let kind = if iban.as_bytes()[at].is_ascii_digit() { '0'..='9' } else { 'A'..='Z' };
                for c in kind {
                    let mut changed = iban.to_owned();
                    changed.replace_range(at..=at, &c.to_string());
                    assert!(changed == iban || Account::iban(&changed).is_none(), "{changed}");
                }
            }
        }
    }

    #[test]
    fn one_account_has_one_iban() {
        // The same remainder with 97 more, as check digits outside 02 to 98.
        let with = |check: u32, body: &str| format!("DE{check:02}{body}");
        let body = |n: u64| format!("{n:018}");
        let valid = |n: u64| (0..100).filter(|check| Account::iban(&with(*check, &body(n))).is_some()).count();
        assert!((0..500).all(|n| valid(n) == 1));
        for bad in
            ["", "DE89", "de89370400440532013000", "DE89 3704 0044 0532 0130 00", "DE8937040044053201300é", "በA", "éé"]
        {
            assert_eq!(Account::iban(bad), None, "{bad}");
        }
    }

    #[test]
    fn banks_and_their_accounts_read_back() {
        let bic = Agent::bic("CHASUS33XXX").unwrap();
        assert_eq!(bic.as_str(), "CHASUS33");
        assert_eq!(Agent::bic("DEUTDEFF500").unwrap().as_str(), "DEUTDEFF500");
        let clearing = Agent::clearing("USABA", "021000021").unwrap();
        for agent in [&bic, &clearing, &Agent::both(&bic, &clearing)] {
            let account = Account::other(agent, "12-34/5").unwrap();
            assert_eq!(Account::parse(account.as_str()), Some(account));
        }
        assert_eq!(Account::parse(REGISTRY[0]), Account::iban(REGISTRY[0]));
        for bad in ["CHASUS3", "CHAS1S33", "chasus33", "CHASUS33XX", "CHASUé33", ""] {
            assert_eq!(Agent::bic(bad), None, "{bad}");
        }
        for bad in ["other:CHASUS33XXX/1", "other:CHASUS33", "other:/1", "other:CHASUS33/", "other:CHASUS33/1 2", "1"] {
            assert_eq!(Account::parse(bad), None, "{bad}");
        }
        assert_eq!(Agent::clearing("usaba", "1"), None);
        assert_eq!(Agent::clearing("USABA", "1/2"), None);
    }
}
