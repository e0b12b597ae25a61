//! Names in rules that must exist. Cedar takes a misspelt list for an empty one and a misspelt word for one that never
//! matches, and a `forbid` with such a name forbids nothing.

use crate::bundle::{ACCOUNT_FORM, ADDRESS_FORM, Assets, Contracts, Groups, Lists, evm_address};
use crate::error::Problem;
use crate::vocabulary::{CHARGES, KEK_CHANGES, METHODS, SCOPES};
use serde_json::Value;
use std::collections::BTreeSet;
use tally_domain::roster::Roster;
use tally_domain::token::{DOMAIN_CHANGES, FORMS, MODES};
use tally_domain::{Account, Backing, Currency, HsmScheme, Purpose, Scheme};

/// What a bundle defines.
pub(crate) struct Known<'a> {
    pub(crate) roster: &'a Roster,
    pub(crate) groups: &'a BTreeSet<String>,
    pub(crate) lists: &'a Lists,
    pub(crate) assets: &'a Assets,
    pub(crate) contracts: &'a Contracts,
    /// Persons who approve, in groups of their own.
    pub(crate) approvers: &'a Groups,
}

/// A name that does not exist.
pub(super) struct Unknown {
    pub(super) name: String,
    pub(super) problem: Problem,
}

/// The first name in a rule, given as Cedar's JSON, that the bundle does not define.
pub(super) fn first_unknown(rule: &Value, known: &Known<'_>) -> Option<Unknown> {
    let wrong = match rule {
        Value::Object(fields) => {
            let entity = || known.entity(fields.get("type")?.as_str()?, fields.get("id")?.as_str()?);
            entity().or_else(|| fields.iter().find_map(|(operator, of)| known.comparison(operator, of)))
        }
        _ => None,
    };
    wrong.or_else(|| match rule {
        Value::Object(fields) => fields.values().find_map(|v| first_unknown(v, known)),
        Value::Array(items) => items.iter().find_map(|v| first_unknown(v, known)),
        _ => None,
    })
}

impl Known<'_> {
    /// A literal such as `List::"vendors"`. Keys need not exist yet, and actions are the schema's.
    fn entity(&self, kind: &str, id: &str) -> Option<Unknown> {
        let (exists, what, known) = match kind {
            "List" => (self.lists.contains_key(id), "list", "lists are the files lists/*.txt of the bundle"),
            "Group" => {
                (self.groups.contains(id), "group", "groups are those of clients and of `groups` in roster.toml")
            }
            "Client" => (self.is_client(id), "client", "clients are those of roster.toml"),
            "Address" if evm_address(id).as_deref() != Some(id) => {
                let problem = Problem::Value { what: "address in lower case", given: id.into(), want: ADDRESS_FORM };
                return Some(Unknown { name: id.into(), problem });
            }
            "Account" if Account::parse(id).is_none() => {
                let problem = Problem::Value { what: "bank account", given: id.into(), want: ACCOUNT_FORM };
                return Some(Unknown { name: id.into(), problem });
            }
            _ => return None,
        };
        (!exists).then(|| unknown(what, id, known))
    }

    fn is_client(&self, id: &str) -> bool {
        self.roster.clients.iter().any(|c| c.id.as_str() == id)
    }

    /// A comparison such as `context.tx.asset == "USDC"` or `["USDC", "DAI"].contains(context.tx.asset)`.
    fn comparison(&self, operator: &str, of: &Value) -> Option<Unknown> {
        if !matches!(operator, "==" | "!=" | "contains" | "containsAll" | "containsAny") {
            return None;
        }
        let (left, right) = (of.get("left")?, of.get("right")?);
        let (word, other) = context_word(left).map(|w| (w, right)).or_else(|| Some((context_word(right)?, left)))?;
        let set = other.get("Set").and_then(Value::as_array).map(Vec::as_slice);
        let texts = set.unwrap_or(std::slice::from_ref(other)).iter().filter_map(|v| v.get("Value")?.as_str());
        texts.filter_map(|text| self.word(word, text)).next()
    }

    fn word(&self, (record, attribute): (&str, &str), text: &str) -> Option<Unknown> {
        let (exists, what, known) = match (record, attribute) {
            ("tx" | "allowance", "asset") => (self.assets.has_symbol(text), "asset", "assets are those of assets.toml"),
            ("tx" | "allowance", "chain") => {
                (self.assets.has_chain(text), "chain", "decoded chains are those of assets.toml")
            }
            ("tx" | "allowance", "method") => (
                METHODS.contains(&text) || self.contracts.has_method(text),
                "method",
                "decoded are `transfer`, `transferFrom`, `approve` and others (see the schema), and functions of contracts.toml",
            ),
            ("typed", "fields") => (text.contains('='), "value of typed data", "a value is written `path=value`"),
            ("payment", "currency") => {
                (Currency::parse(text).is_some(), "currency", "currencies are codes of ISO 4217 such as `EUR`")
            }
            ("payment", "charges") => {
                (CHARGES.contains(&text), "bearer of charges", "they are `CRED`, `DEBT`, `SHAR`, `SLEV`, or none: ``")
            }
            ("spec", "backing") => (Backing::parse(text).is_ok(), "backing", "the backings are `threshold` and `hsm`"),
            ("spec", "scheme") => (
                Scheme::parse(text).is_ok() || HsmScheme::parse(text).is_ok(),
                "scheme",
                "the schemes are `ecdsa-secp256k1`, `ed25519`, `schnorr-secp256k1-taproot`, and in an HSM `ecdsa-p256`, `rsa-3072` too",
            ),
            ("spec", "purpose") => (
                Purpose::parse(text).is_ok_and(|purpose| !matches!(purpose, Purpose::Wrap | Purpose::Tokenize)),
                "purpose",
                "the purposes are `transaction`, `message`, and for keys in an HSM or for Taproot also `raw`",
            ),
            ("wrap", "context") => {
                (text.contains('='), "pair", "a pair of an encryption context is written `key=value`")
            }
            ("kek", "change") => (
                KEK_CHANGES.contains(&text),
                "change of a KEK",
                "they are `create`, `rotate`, `disable`, `enable`, `destroy`, `cancel` and `replicate`",
            ),
            ("token", "form") => (
                FORMS.contains(&text),
                "form",
                "they are `full`, `masked`, `bin-last4`, and `` where nothing is revealed",
            ),
            ("domain", "change") => (
                DOMAIN_CHANGES.contains(&text),
                "change of a token domain",
                "they are `create`, `rotate`, `shred`, `pause`, `continue`, `retire`, `suspend`, `resume` and `delete`",
            ),
            ("domain", "mode") => {
                (MODES.contains(&text), "mode of a token domain", "they are `strict`, `hybrid` and `one-way`")
            }
            ("freeze", "scope") => (SCOPES.contains(&text), "scope", "the scopes are `key` and `all`"),
            _ => return None,
        };
        (!exists).then(|| unknown(what, text, known))
    }
}

fn unknown(what: &'static str, name: &str, known: &'static str) -> Unknown {
    Unknown { name: name.into(), problem: Problem::UnknownName { what, name: name.into(), known } }
}

/// `context.RECORD.ATTRIBUTE` as (record, attribute).
fn context_word(expression: &Value) -> Option<(&str, &str)> {
    let outer = expression.get(".")?;
    let inner = outer.get("left")?.get(".")?;
    let is_context = inner.get("left")?.get("Var")?.as_str()? == "context";
    is_context.then_some((inner.get("attr")?.as_str()?, outer.get("attr")?.as_str()?))
}
