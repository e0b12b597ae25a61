//! Reading cases, strictly: a case that is half understood would pass for the wrong reason.

mod evm;

use super::{Asked, Case, DENY, Expected, NEEDS_APPROVAL, PERMIT};
use crate::approvals::Approvals;
use crate::bundle::{
    ACCOUNT_FORM, ADDRESS_FORM, Bundle, Files, Most, NAME_FORM, Source, evm_address, exact_units, file_text,
    plain_name, read_toml,
};
use crate::error::{BundleError, Problem};
use std::collections::{BTreeMap, BTreeSet};
use tally_domain::facts::{
    Amount, CreditTransfer, Facts, MessageFacts, OpaqueFacts, PaymentBlock, PaymentFacts, PaymentTerms, RawFacts,
};
use tally_domain::{
    Account, Backing, ClientId, Currency, HsmKeySpec, HsmScheme, KeyName, KeySpec, NodeName, PersonName, Purpose,
    Reason, Scheme, Threshold, UnixMillis,
};
use toml::Spanned;
use toml::value::Datetime;

const AMOUNT_FORM: &str =
    "whole units in quotes, such as \"1_000\" or \"0.5\", with no more decimals than the asset has";
const TIME_FORM: &str = "a moment in UTC without quotes, such as 2026-11-21T12:00:00Z";

/// The name of the cases in the file of this path.
pub(crate) fn name_of(path: &str) -> Option<String> {
    plain_name(path.strip_prefix("tests/")?.strip_suffix(".case.toml")?)
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct CasesToml {
    #[serde(default)]
    case: Vec<CaseToml>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct CaseToml {
    name: Spanned<String>,
    client: Spanned<String>,
    key: Spanned<String>,
    at: Spanned<Datetime>,
    transfer: Option<evm::TransferToml>,
    payment: Option<PaymentToml>,
    allowance: Option<evm::AllowanceToml>,
    typed_data: Option<evm::TypedDataToml>,
    call: Option<evm::CallToml>,
    message: Option<MessageFactsToml>,
    raw: Option<RawToml>,
    opaque: Option<OpaqueToml>,
    create_key: Option<CreateKeyToml>,
    #[serde(default)]
    approved: Vec<Spanned<String>>,
    #[serde(default)]
    rejected: Vec<Spanned<String>>,
    expect: Spanned<String>,
    rule: Option<Spanned<String>>,
    reason: Option<Spanned<String>>,
    charges: Option<BTreeMap<Spanned<String>, Spanned<String>>>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct PaymentToml {
    debtor: Spanned<String>,
    creditor: Spanned<String>,
    currency: Spanned<String>,
    amount: Spanned<String>,
    #[serde(default)]
    service: String,
    #[serde(default)]
    instrument: String,
    #[serde(default)]
    charges: String,
    #[serde(default)]
    urgent: bool,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct MessageFactsToml {
    bytes: u64,
    text: bool,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct RawToml {
    bytes: u64,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct OpaqueToml {
    chain: String,
    to: Spanned<String>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct CreateKeyToml {
    backing: Spanned<String>,
    scheme: Spanned<String>,
    purpose: Spanned<String>,
    t: Option<Spanned<u32>>,
    n: Option<Spanned<u32>>,
    home: Option<Spanned<String>>,
}

/// All cases of all files.
pub(super) fn all(bundle: &Bundle, files: &Files) -> Result<Vec<Case>, BundleError> {
    let mut cases = Vec::new();
    for path in files.keys().filter(|path| name_of(path).is_some()) {
        let text = file_text(files, path)?;
        let rows: CasesToml = read_toml(path, text)?;
        let reader = Reader { bundle, source: Source { file: path, text } };
        let mut names = BTreeSet::new();
        for row in &rows.case {
            if !names.insert(row.name.get_ref()) {
                let problem = Problem::Duplicate { what: "case", value: row.name.get_ref().clone() };
                return Err(reader.source.error(&row.name, problem));
            }
            cases.push(reader.case(row)?);
        }
    }
    Ok(cases)
}

struct Reader<'a> {
    bundle: &'a Bundle,
    source: Source<'a>,
}

impl Reader<'_> {
    fn case(&self, row: &CaseToml) -> Result<Case, BundleError> {
        Ok(Case {
            file: self.source.file.into(),
            name: row.name.get_ref().clone(),
            client: self.source.value(&row.client, "client", NAME_FORM, |s| ClientId::parse(s).ok())?,
            key: self.source.value(&row.key, "key name", NAME_FORM, |s| KeyName::parse(s).ok())?,
            at: moment(row.at.get_ref()).ok_or_else(|| {
                let given = row.at.get_ref().to_string();
                self.source.error(&row.at, Problem::Value { what: "time", given, want: TIME_FORM })
            })?,
            asked: self.asked(row)?,
            approvals: Approvals::supposed(self.persons(&row.approved)?, self.persons(&row.rejected)?),
            expected: self.expected(row)?,
        })
    }

    fn persons(&self, given: &[Spanned<String>]) -> Result<BTreeSet<PersonName>, BundleError> {
        let person = |given: &Spanned<String>| {
            let known = PersonName::parse(given.get_ref()).ok().filter(|p| self.bundle.groups.person(p).is_some());
            known.ok_or_else(|| self.unknown(given, "person", "persons are those of groups.toml"))
        };
        given.iter().map(person).collect()
    }

    fn unknown(&self, given: &Spanned<String>, what: &'static str, known: &'static str) -> BundleError {
        self.source.error(given, Problem::UnknownName { what, name: given.get_ref().clone(), known })
    }

    fn expected(&self, row: &CaseToml) -> Result<Expected, BundleError> {
        let verdicts = [PERMIT, DENY, NEEDS_APPROVAL];
        let want = "`permit`, `deny` or `needs approval`";
        let read = |s: &str| verdicts.into_iter().find(|verdict| *verdict == s);
        let want_reason = "the word of a refusal, such as `VELOCITY_LIMIT`";
        let rule = |rule: &Spanned<String>| {
            // A permit of several movements names several rules.
            let exist = rule.get_ref().split(',').all(|id| self.bundle.rules().any(|(known, _)| known == id));
            let known = "rules are those of policy.cedar";
            if exist { Ok(rule.get_ref().clone()) } else { Err(self.unknown(rule, "rule", known)) }
        };
        Ok(Expected {
            verdict: self.source.value(&row.expect, "expectation", want, read)?,
            rule: row.rule.as_ref().map(rule).transpose()?,
            reason: row
                .reason
                .as_ref()
                .map(|reason| self.source.value(reason, "reason", want_reason, Reason::parse))
                .transpose()?,
            charges: row.charges.as_ref().map(|charges| self.charges(charges)).transpose()?,
        })
    }

    fn charges(
        &self,
        given: &BTreeMap<Spanned<String>, Spanned<String>>,
    ) -> Result<BTreeMap<String, u128>, BundleError> {
        let charge = |(id, amount): (&Spanned<String>, &Spanned<String>)| {
            let limit = self.bundle.limits.iter().find(|l| l.id.as_str() == id.get_ref());
            let limit = limit.ok_or_else(|| self.unknown(id, "limit", "limits are those of limits.toml"))?;
            let decimals = match limit.most {
                Most::Amount { decimals, .. } => decimals,
                Most::Count(_) => 0,
            };
            Ok((id.get_ref().clone(), self.units(amount, decimals)?))
        };
        given.iter().map(charge).collect()
    }

    fn units(&self, given: &Spanned<String>, decimals: u8) -> Result<u128, BundleError> {
        self.source.value(given, "amount", AMOUNT_FORM, |s| exact_units(s, decimals))
    }

    fn asked(&self, row: &CaseToml) -> Result<Asked, BundleError> {
        let mut asked = Vec::new();
        if let Some(transfer) = &row.transfer {
            asked.push(Asked::Sign(Facts::Transaction(self.transaction(transfer)?)));
        }
        if let Some(allowance) = &row.allowance {
            asked.push(Asked::Sign(self.allowance(allowance)?));
        }
        if let Some(typed) = &row.typed_data {
            asked.push(Asked::Sign(Facts::TypedData(self.typed_data(typed)?)));
        }
        if let Some(call) = &row.call {
            asked.push(Asked::Sign(Facts::Opaque(self.call(call)?)));
        }
        if let Some(payment) = &row.payment {
            asked.push(Asked::Sign(Facts::Payment(self.payment(payment)?)));
        }
        if let Some(message) = &row.message {
            asked.push(Asked::Sign(Facts::Message(MessageFacts { bytes: message.bytes, text: message.text })));
        }
        if let Some(raw) = &row.raw {
            asked.push(Asked::Sign(Facts::Raw(RawFacts { bytes: raw.bytes })));
        }
        if let Some(opaque) = &row.opaque {
            let (chain, to) = (opaque.chain.clone(), self.address(&opaque.to)?);
            asked.push(Asked::Sign(Facts::Opaque(OpaqueFacts { chain, to, why: "a case says so".into(), call: None })));
        }
        if let Some(spec) = &row.create_key {
            asked.push(self.create_key(spec)?);
        }
        match <[Asked; 1]>::try_from(asked) {
            Ok([one]) => Ok(one),
            Err(_) => Err(self.source.error(&row.name, Problem::CaseAsksOnce)),
        }
    }

    fn address(&self, given: &Spanned<String>) -> Result<String, BundleError> {
        self.source.value(given, "address", ADDRESS_FORM, evm_address)
    }

    fn payment(&self, row: &PaymentToml) -> Result<PaymentFacts, BundleError> {
        let account = |given| self.source.value(given, "bank account", ACCOUNT_FORM, Account::parse);
        let currency = "a code of ISO 4217 such as `EUR`";
        let currency = self.source.value(&row.currency, "currency", currency, Currency::parse)?;
        let amount = Amount::from(self.units(&row.amount, currency.decimals())?);
        let transfer = CreditTransfer {
            end_to_end_id: String::new(),
            amount,
            creditor_name: String::new(),
            creditor: account(&row.creditor)?,
            bank: None,
            terms: PaymentTerms {
                service: row.service.clone(),
                instrument: row.instrument.clone(),
                charges: row.charges.clone(),
                urgent: row.urgent,
            },
        };
        let block = PaymentBlock {
            id: String::new(),
            debtor_name: String::new(),
            debtor: account(&row.debtor)?,
            execution: String::new(),
            transfers: vec![transfer],
        };
        Ok(PaymentFacts {
            message_id: String::new(),
            created: String::new(),
            initiator: String::new(),
            currency,
            total: amount,
            blocks: vec![block],
        })
    }

    fn create_key(&self, row: &CreateKeyToml) -> Result<Asked, BundleError> {
        let backing = self.source.value(&row.backing, "backing", "`threshold` or `hsm`", |s| Backing::parse(s).ok())?;
        let purpose = "`transaction`, `message` or `raw`";
        let purpose = self.source.value(&row.purpose, "purpose", purpose, |s| Purpose::parse(s).ok())?;
        let scheme = "the name of a scheme, such as `ecdsa-secp256k1`";
        match (backing, &row.t, &row.n, &row.home) {
            (Backing::Threshold, Some(t), Some(n), None) => {
                let threshold = Threshold::new(*t.get_ref(), *n.get_ref()).map_err(|_| {
                    let given = format!("{} of {}", t.get_ref(), n.get_ref());
                    self.source.error(t, Problem::Value { what: "threshold", given, want: "t of n with 2t > n" })
                })?;
                let scheme = self.source.value(&row.scheme, "scheme", scheme, |s| Scheme::parse(s).ok())?;
                Ok(Asked::CreateKey(KeySpec { scheme, threshold, purpose }))
            }
            (Backing::Hsm, None, None, Some(home)) => {
                let scheme = self.source.value(&row.scheme, "scheme", scheme, |s| HsmScheme::parse(s).ok())?;
                let home = self.source.value(home, "node name", NAME_FORM, |s| NodeName::parse(s).ok())?;
                Ok(Asked::CreateHsmKey(HsmKeySpec { scheme, purpose, home }))
            }
            _ => Err(self.source.error(&row.backing, Problem::CaseKeySpec)),
        }
    }
}

/// The moment in milliseconds since 1970, if it is one in UTC.
fn moment(at: &Datetime) -> Option<UnixMillis> {
    let (date, time, offset) = (at.date?, at.time?, at.offset?);
    let utc = matches!(offset, toml::value::Offset::Z);
    let seconds = u64::from(time.hour) * 3_600 + u64::from(time.minute) * 60 + u64::from(time.second);
    let days = days_since_1970(u64::from(date.year), u64::from(date.month), u64::from(date.day))?;
    let ms = days.checked_mul(86_400)?.checked_add(seconds)?.checked_mul(1_000)?;
    utc.then_some(UnixMillis(ms + u64::from(time.nanosecond / 1_000_000)))
}

/// Days of the Gregorian calendar; years begin in March here, so that the leap day is the last (Hinnant,
/// "chrono-Compatible Low-Level Date Algorithms").
fn days_since_1970(year: u64, month: u64, day: u64) -> Option<u64> {
    let year = if month <= 2 { year.checked_sub(1)? } else { year };
    let from_march = (month + 9) % 12;
    let (era, of_era) = (year / 400, year % 400);
    let of_year = (153 * from_march + 2) / 5 + day.checked_sub(1)?;
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year;
    days.checked_sub(719_468)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each moment as `date --utc --date=... +%s` gives it.
    #[test]
    fn moments_are_those_of_the_calendar() {
        for (text, ms) in [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("2000-02-29T00:00:00Z", Some(951_782_400_000)),
            ("2000-03-01T00:00:00Z", Some(951_868_800_000)),
            ("2024-12-31T23:59:59.001Z", Some(1_735_689_599_001)),
            ("2026-11-21T22:01:00Z", Some(1_795_298_460_000)),
            ("1969-12-31T23:59:59Z", None),
            ("2026-11-21T22:01:00+01:00", None),
            ("2026-11-21T22:01:00", None),
            ("2026-11-21", None),
        ] {
            assert_eq!(moment(&text.parse().unwrap()), ms.map(UnixMillis), "{text}");
        }
    }
}
