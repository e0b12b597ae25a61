//! A tree of elements to the facts of a payment file. The names are those of the standard.

use super::fault::{BadPayment, Fault, shown};
use super::fields::{Fields, unread};
use super::value::{self, Decimal};
use super::xml::Element;
use tally_domain::facts::{Amount, CreditTransfer, PaymentBlock, PaymentFacts, PaymentTerms};
use tally_domain::{Account, Agent, Currency};

/// Most transfers of a file: policy decides each of them, and a person must be able to read them (as for outputs).
pub const TRANSFERS_MAX: usize = 256;

/// What all namespaces begin with; the version follows.
const NAMESPACE: &str = "urn:iso:std:iso:20022:tech:xsd:pain.001.001.";

/// Other attributes that the root may have: they bind prefixes, which no element uses, and say where a schema is.
const SCHEMA_HINTS: [(&str, Option<&str>); 3] = [
    ("xmlns:xsi", Some("http://www.w3.org/2001/XMLSchema-instance")),
    ("xmlns:xsd", Some("http://www.w3.org/2001/XMLSchema")),
    ("xsi:schemaLocation", None),
];

/// Who bears the charges (`ChargeBearerType1Code`).
const CHARGES: [&str; 4] = ["CRED", "DEBT", "SHAR", "SLEV"];

/// Longest code of a service level (`ExternalServiceLevel1Code`).
const SERVICE_MAX_CHARS: usize = 4;

/// Longest code of a local instrument (`ExternalLocalInstrument1Code`).
const INSTRUMENT_MAX_CHARS: usize = 35;

/// What else a party has: its address, ids, residence and contacts decide nothing.
const PARTY_INERT: [&str; 4] = ["PstlAdr", "Id", "CtryOfRes", "CtctDtls"];

/// What versions call differently.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Version {
    /// 03: `BIC`, and a date of execution.
    Old,
    /// 09 and 11: `BICFI`, and a date or a time of execution.
    New,
}

impl Version {
    fn bic(self) -> &'static str {
        match self {
            Self::Old => "BIC",
            Self::New => "BICFI",
        }
    }
}

/// Reads `Document`.
pub(super) fn facts(mut document: Element) -> Result<PaymentFacts, BadPayment> {
    let version = version(&document)?;
    document.attributes.clear();
    let initiation = Fields::read(document, |document| document.one("CstmrCdtTrfInitn"))?;
    Fields::read(initiation, |initiation| {
        let header = header(initiation.one("GrpHdr")?)?;
        let mut reader = Reader { version, money: Money::default() };
        let blocks = initiation.many("PmtInf")?.into_iter().map(|block| reader.block(block));
        let blocks = blocks.collect::<Result<Vec<_>, _>>()?;
        let Money { currency: Some(currency), count, sum } = reader.money else {
            return Err(initiation.missing("CdtTrfTxInf"));
        };
        header.totals.check(currency, count, sum)?;
        let Header { message_id, created, initiator, .. } = header;
        Ok(PaymentFacts { message_id, created, initiator, currency, total: Amount::from(sum), blocks })
    })
}

fn version(document: &Element) -> Result<Version, BadPayment> {
    let other = |found: &str| document.fault(Fault::Namespace { found: shown(found) });
    if document.name != "Document" {
        return Err(other(&document.name));
    }
    let mut version = None;
    for (name, value) in &document.attributes {
        if name == "xmlns" {
            version = match value.strip_prefix(NAMESPACE) {
                Some("03") => Some(Version::Old),
                Some("09" | "11") => Some(Version::New),
                _ => return Err(other(value)),
            };
        } else if !SCHEMA_HINTS.iter().any(|(hint, bound)| name == hint && bound.is_none_or(|b| b == value)) {
            return Err(unread(document, name));
        }
    }
    version.ok_or_else(|| other("no namespace"))
}

struct Header {
    message_id: String,
    created: String,
    initiator: String,
    totals: Totals,
}

fn header(element: Element) -> Result<Header, BadPayment> {
    Fields::read(element, |header| {
        let message_id = value::id(&header.one("MsgId")?)?;
        let created = value::date_time(&header.one("CreDtTm")?)?;
        let count = value::count(&header.one("NbOfTxs")?)?;
        let totals = Totals::read(header, Some(count))?;
        let initiator = party(header.one("InitgPty")?)?.unwrap_or_default();
        // InitnSrc is which program made the file.
        header.inert(&["InitnSrc"])?;
        Ok(Header { message_id, created, initiator, totals })
    })
}

/// What the file says of the transfers of a group or block.
struct Totals {
    within: String,
    line: usize,
    count: Option<u64>,
    sum: Option<Decimal>,
}

impl Totals {
    fn read(fields: &mut Fields, count: Option<u64>) -> Result<Self, BadPayment> {
        let sum = fields.optional("CtrlSum")?.as_ref().map(value::sum).transpose()?;
        Ok(Self { within: fields.name(), line: fields.line(), count, sum })
    }

    fn check(&self, currency: Currency, counted: u64, added: u128) -> Result<(), BadPayment> {
        let within = || self.within.clone();
        if let Some(stated) = self.count.filter(|stated| *stated != counted) {
            return Err(Fault::Count { within: within(), stated, counted }.at(self.line));
        }
        match &self.sum {
            Some(sum) if sum.minor_units(currency.decimals()) != Some(added) => {
                let (stated, added) = (sum.written.clone(), currency.units(&Amount::from(added)));
                Err(Fault::Sum { within: within(), stated, added }.at(self.line))
            }
            _ => Ok(()),
        }
    }
}

/// What has been added up so far.
#[derive(Default)]
struct Money {
    currency: Option<Currency>,
    count: u64,
    sum: u128,
}

impl Money {
    /// The file's one currency is the first that it names.
    fn agree(&mut self, currency: Currency, element: &Element) -> Result<(), BadPayment> {
        let first = *self.currency.get_or_insert(currency);
        if first == currency {
            return Ok(());
        }
        Err(element.fault(Fault::TwoCurrencies { first: first.code(), other: currency.code() }))
    }
}

struct Reader {
    version: Version,
    money: Money,
}

impl Reader {
    fn block(&mut self, element: Element) -> Result<PaymentBlock, BadPayment> {
        Fields::read(element, |block| {
            let id = value::id(&block.one("PmtInfId")?)?;
            let transfer = "only `TRF`, a transfer, is read; cheques are not";
            value::one_of(&block.one("PmtMtd")?, &["TRF"], transfer)?;
            let count = block.optional("NbOfTxs")?.as_ref().map(value::count).transpose()?;
            let totals = Totals::read(block, count)?;
            let terms = Terms::read(block)?;
            let execution = self.execution(block.one("ReqdExctnDt")?)?;
            let debtor_name = party(block.one("Dbtr")?)?.unwrap_or_default();
            let account = block.one("DbtrAcct")?;
            let bank = self.agent(block.optional("DbtrAgt")?)?;
            let debtor = self.account(account, bank.as_ref())?;
            // Whether the debits are booked as one, and for whom the debtor pays.
            block.inert(&["BtchBookg", "UltmtDbtr"])?;
            let Money { count, sum, .. } = self.money;
            let transfers = block.many("CdtTrfTxInf")?.into_iter().map(|element| self.transfer(element, &terms));
            let transfers = transfers.collect::<Result<Vec<_>, _>>()?;
            if let Some(currency) = self.money.currency {
                totals.check(currency, self.money.count - count, self.money.sum - sum)?;
            }
            Ok(PaymentBlock { id, debtor_name, debtor, execution, transfers })
        })
    }

    fn execution(&self, element: Element) -> Result<String, BadPayment> {
        match self.version {
            Version::Old => value::date(&element),
            Version::New => Fields::read(element, |choice| match choice.optional("DtTm")? {
                Some(time) => value::date_time(&time),
                None => value::date(&choice.one("Dt")?),
            }),
        }
    }

    fn transfer(&mut self, element: Element, block: &Terms) -> Result<CreditTransfer, BadPayment> {
        Fields::read(element, |transfer| {
            let end_to_end_id = Fields::read(transfer.one("PmtId")?, |ids| {
                ids.inert(&["InstrId", "UETR"])?;
                value::id(&ids.one("EndToEndId")?)
            })?;
            let terms = Terms::read(transfer)?.within(block)?;
            // EqvtAmt, an amount in another currency than that of the transfer, is not read.
            let amount = Fields::read(transfer.one("Amt")?, |amount| amount.one("InstdAmt"))?;
            let amount = self.add(&amount)?;
            let bank = self.agent(transfer.optional("CdtrAgt")?)?;
            let creditor_name = Fields::read(transfer.one("Cdtr")?, |creditor| {
                let name = value::name(&creditor.one("Nm")?)?;
                creditor.inert(&PARTY_INERT)?;
                Ok(name)
            })?;
            let creditor = self.account(transfer.one("CdtrAcct")?, bank.as_ref())?;
            transfer.inert(&["UltmtDbtr", "UltmtCdtr", "Purp", "RgltryRptg", "RltdRmtInf", "RmtInf"])?;
            Ok(CreditTransfer { end_to_end_id, amount, creditor_name, creditor, bank, terms })
        })
    }

    fn add(&mut self, element: &Element) -> Result<Amount, BadPayment> {
        let (currency, amount) = value::amount(element)?;
        self.money.agree(currency, element)?;
        self.money.count += 1;
        if self.money.count > TRANSFERS_MAX as u64 {
            return Err(element.fault(Fault::TooManyTransfers));
        }
        // At most 256 amounts of 18 digits and 3 decimals more: 24 digits of the 38 that fit.
        self.money.sum = self.money.sum.saturating_add(amount);
        Ok(Amount::from(amount))
    }

    /// An account. Its currency, where it has one, is the file's, or the bank would have to change money.
    fn account(&mut self, element: Element, bank: Option<&Agent>) -> Result<Account, BadPayment> {
        Fields::read(element, |account| {
            if let Some(element) = account.optional("Ccy")? {
                self.money.agree(value::currency_of(&element)?, &element)?;
            }
            account.inert(&["Tp", "Nm"])?;
            Fields::read(account.one("Id")?, |id| match id.optional("IBAN")? {
                Some(iban) => value::iban(&iban),
                None => other_account(id.one("Othr")?, bank),
            })
        })
    }

    /// A bank, or none where the file says that it does not say one.
    fn agent(&self, element: Option<Element>) -> Result<Option<Agent>, BadPayment> {
        let Some(element) = element else { return Ok(None) };
        let institution = Fields::read(element, |agent| agent.one("FinInstnId"))?;
        Fields::read(institution, |institution| {
            let bic = institution.optional(self.version.bic())?;
            let bic = bic.map(|e| value::value(&e, "8 or 11 characters (ISO 9362)", Agent::bic)).transpose()?;
            let clearing = institution.optional("ClrSysMmbId")?.map(clearing).transpose()?;
            if let Some(other) = institution.optional("Othr")? {
                let none = "only `NOTPROVIDED` is read";
                Fields::read(other, |other| value::one_of(&other.one("Id")?, &["NOTPROVIDED"], none))?;
            }
            institution.inert(&["Nm", "PstlAdr", "LEI"])?;
            Ok(match (bic, clearing) {
                (Some(bic), Some(clearing)) => Some(Agent::both(&bic, &clearing)),
                (bic, clearing) => bic.or(clearing),
            })
        })
    }
}

/// A bank by its number in a clearing system.
fn clearing(element: Element) -> Result<Agent, BadPayment> {
    Fields::read(element, |clearing| {
        let system = Fields::read(clearing.one("ClrSysId")?, |system| value::code(&system.one("Cd")?, 5))?;
        let want = "1 to 35 letters, digits and `-`";
        value::value(&clearing.one("MmbId")?, want, |member| Agent::clearing(&system, member))
    })
}

/// An account that is no IBAN: a number of the bank's own, with or without the scheme that says just that.
fn other_account(element: Element, bank: Option<&Agent>) -> Result<Account, BadPayment> {
    Fields::read(element, |other| {
        if let Some(scheme) = other.optional("SchmeNm")? {
            let want = "only `BBAN` is read";
            Fields::read(scheme, |scheme| value::one_of(&scheme.one("Cd")?, &["BBAN"], want))?;
        }
        let bank = bank.ok_or_else(|| other.fault(Fault::AccountWithoutBank))?;
        let want = "1 to 34 letters, digits, `-`, `.` and `/`";
        value::value(&other.one("Id")?, want, |id| Account::other(bank, id))
    })
}

/// How to pay, as a block or a transfer says it. Each part may be said for one of them only (ISO 20022: rules
/// `PaymentTypeInformation` and `ChargeBearer` of the message).
struct Terms {
    kind: Option<(Kind, usize)>,
    charges: Option<(String, usize)>,
}

#[derive(Clone, Default)]
struct Kind {
    service: String,
    instrument: String,
    urgent: bool,
}

impl Terms {
    fn read(fields: &mut Fields) -> Result<Self, BadPayment> {
        let kind = fields.optional("PmtTpInf")?.map(|e| (e.line, e));
        let kind = kind.map(|(line, element)| Ok((Kind::read(element)?, line))).transpose()?;
        let bearer = |e: &Element| value::one_of(e, &CHARGES, "`DEBT`, `CRED`, `SHAR` or `SLEV`");
        let charges = fields.optional("ChrgBr")?.map(|e| Ok((bearer(&e)?, e.line))).transpose()?;
        Ok(Self { kind, charges })
    }

    /// A transfer's terms in its block.
    fn within(self, block: &Self) -> Result<PaymentTerms, BadPayment> {
        let Kind { service, instrument, urgent } = one_of_two("PmtTpInf", self.kind, &block.kind)?;
        let charges = one_of_two("ChrgBr", self.charges, &block.charges)?;
        Ok(PaymentTerms { service, instrument, charges, urgent })
    }
}

fn one_of_two<T: Clone + Default>(
    element: &'static str,
    own: Option<(T, usize)>,
    block: &Option<(T, usize)>,
) -> Result<T, BadPayment> {
    match (own, block) {
        (Some((_, line)), Some(_)) => Err(Fault::Twice { element }.at(line)),
        (Some((own, _)), None) => Ok(own),
        (None, block) => Ok(block.clone().map(|(of_block, _)| of_block).unwrap_or_default()),
    }
}

impl Kind {
    fn read(element: Element) -> Result<Self, BadPayment> {
        Fields::read(element, |kind| {
            let priority = kind.optional("InstrPrty")?;
            let priority = priority.map(|e| value::one_of(&e, &["HIGH", "NORM"], "`HIGH` or `NORM`")).transpose()?;
            let service = code_of(kind.optional("SvcLvl")?, SERVICE_MAX_CHARS)?;
            let instrument = code_of(kind.optional("LclInstrm")?, INSTRUMENT_MAX_CHARS)?;
            kind.inert(&["CtgyPurp"])?;
            Ok(Self { service, instrument, urgent: priority.as_deref() == Some("HIGH") })
        })
    }
}

/// `Cd` of a choice of a code and something proprietary.
fn code_of(element: Option<Element>, max: usize) -> Result<String, BadPayment> {
    let Some(element) = element else { return Ok(String::new()) };
    Fields::read(element, |choice| value::code(&choice.one("Cd")?, max))
}

/// `Nm` of a party, if it has one.
fn party(element: Element) -> Result<Option<String>, BadPayment> {
    Fields::read(element, |party| {
        party.inert(&PARTY_INERT)?;
        party.optional("Nm")?.as_ref().map(value::name).transpose()
    })
}
