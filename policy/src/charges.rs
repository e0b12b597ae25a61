//! What a request takes of each limit that matches it, exactly.

use crate::bundle::{Bundle, By, CALLS, Counted, Limit, Listed, Most, Scope, evm_address};
use crate::decide::{DecisionRequest, PolicyAction};
use std::collections::BTreeMap;
use tally_domain::claim::LINES_MAX;
use tally_domain::facts::{Allowance, Amount, AssetRef, Facts, OpaqueFacts, PaymentFacts, TransactionFacts};
use tally_domain::ports::store::NamedLine;
use tally_domain::{Account, Action, Charge, LimitId, LineId};

/// A limit never allows the request, however much of it is left.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OverLimit {
    /// More than the limit.
    #[error("the request takes more than limit `{limit}` ever allows")]
    Amount {
        /// The limit.
        limit: LimitId,
    },
    /// Nobody knows how much it moves.
    #[error(
        "limit `{limit}` counts amounts, and what the request moves is not known; a limit for action `sign` alone would not match"
    )]
    Unknown {
        /// The limit.
        limit: LimitId,
    },
    /// Of too many lines at once.
    #[error("the request takes of more than {} lines of limits at once; split it (at limit `{limit}`)", LINES_MAX)]
    Lines {
        /// The limit at which it was too much.
        limit: LimitId,
    },
}

impl OverLimit {
    /// The limit.
    pub fn limit(&self) -> &LimitId {
        match self {
            Self::Amount { limit } | Self::Unknown { limit } | Self::Lines { limit } => limit,
        }
    }
}

/// What the request takes, of every limit that matches it, whichever rule permits it; in the order of the lines.
///
/// Leave to move an amount takes that amount, and leave to move everything takes more than any amount. An amount of none takes nothing. A limit with `count` counts movements and transfers, cards of a stream as many as it may have,
/// and requests that move nothing.
/// Fees are not movements: rules bound them. What is not known to move nothing (opaque transactions, calls of contracts, raw digests, typed
/// data that is not understood, assets that `assets.toml` does not name) matches every asset, destination and list, and has an infinite amount.
///
/// # Errors
/// [`OverLimit`] when a limit would never allow it.
pub fn charges(bundle: &Bundle, request: &DecisionRequest<'_>) -> Result<Vec<Charge>, OverLimit> {
    if bundle.limits.is_empty() {
        return Ok(Vec::new());
    }
    let moves = moves(bundle, request.action);
    let mut lines: BTreeMap<LineId, Charge> = BTreeMap::new();
    for limit in &bundle.limits {
        for what in moves.iter().filter(|what| matches(bundle, request, &limit.scope, what)) {
            let amount = taken(limit, what)?;
            if amount == 0 {
                continue;
            }
            let charge = lines.entry(line(limit, request, what)).or_insert_with_key(|line| Charge {
                limit: limit.id.clone(),
                line: *line,
                max: limit.most.units(),
                window_ms: limit.window_ms,
                amount: 0,
            });
            let sum = charge.amount.checked_add(amount).filter(|sum| *sum <= charge.max);
            charge.amount = sum.ok_or_else(|| OverLimit::Amount { limit: limit.id.clone() })?;
            if lines.len() > LINES_MAX {
                return Err(OverLimit::Lines { limit: limit.id.clone() });
            }
        }
    }
    Ok(lines.into_values().collect())
}

/// One thing that a request does, as limits see it.
struct Moves<'a> {
    action: &'static str,
    what: What<'a>,
}

enum What<'a> {
    /// Nothing of value.
    Nothing,
    /// So many cards of a token domain, of which nothing moves.
    Cards(u32),
    /// Whatever it may be.
    Anything { to: &'a str },
    /// So much of this.
    Asset { symbol: &'a str, decimals: u8, amount: Amount, to: &'a str },
}

fn moves<'a>(bundle: &'a Bundle, action: PolicyAction<'a>) -> Vec<Moves<'a>> {
    let one = |action, what| vec![Moves { action, what }];
    match action {
        PolicyAction::Sign(Facts::Transaction(tx)) => transaction(bundle, tx),
        PolicyAction::Sign(Facts::Payment(payment)) => transfers(payment),
        PolicyAction::Sign(Facts::TypedData(typed)) if typed.allowances.is_empty() => {
            one("sign_typed_data", What::Anything { to: &typed.contract })
        }
        PolicyAction::Sign(Facts::TypedData(typed)) => {
            typed.allowances.iter().map(|allowance| allowed(bundle, &typed.chain, allowance)).collect()
        }
        PolicyAction::Sign(Facts::Message(_)) => one("sign_message", What::Nothing),
        PolicyAction::Sign(Facts::Opaque(opaque)) => unread(bundle, opaque),
        PolicyAction::Sign(Facts::Raw(_)) => one("sign_raw", What::Anything { to: "" }),
        PolicyAction::Wrap(facts) => one(facts.kind.as_str(), What::Nothing),
        PolicyAction::Token(facts) => match facts.action {
            // What may be told of a token is no card number, and no limit keeps one from being stopped or destroyed.
            Action::ShowToken | Action::SuspendToken | Action::ResumeToken | Action::DeleteToken => Vec::new(),
            _ => one(facts.rule_action(), What::Cards(facts.rows)),
        },
        // A limit bounds what is done with keys. Whoever may make or freeze one is a rule's matter, and a freeze must not
        // wait until a window has passed.
        PolicyAction::CreateKey(_)
        | PolicyAction::CreateHsmKey(_)
        | PolicyAction::CreateKek
        | PolicyAction::ChangeKek(..)
        | PolicyAction::ManageDomain(_)
        | PolicyAction::Freeze(_)
        | PolicyAction::Unfreeze(_)
        | PolicyAction::VetoPolicy(_) => Vec::new(),
    }
}

/// Nobody knows what a call moves, even where its arguments are read. What is sent along with it is known.
fn unread<'a>(bundle: &'a Bundle, opaque: &'a OpaqueFacts) -> Vec<Moves<'a>> {
    let (to, anything) = (&opaque.to, What::Anything { to: &opaque.to });
    let Some(Ok(call)) = bundle.contracts.read(opaque) else {
        return vec![Moves { action: "sign_opaque", what: anything }];
    };
    let mut moves = vec![Moves { action: CALLS, what: anything }];
    if call.value != Amount::from(0) {
        moves.push(part("sign", bundle.assets.counted(&opaque.chain, &AssetRef::Native, call.value), to, to));
    }
    moves
}

fn transaction<'a>(bundle: &'a Bundle, tx: &'a TransactionFacts) -> Vec<Moves<'a>> {
    let moved = tx.movements.iter().map(|m| {
        let counted = bundle.assets.counted(&tx.chain, &m.asset, m.amount);
        part("sign", counted, &m.to, m.asset.contract().unwrap_or(&m.to))
    });
    moved.chain(tx.allowances.iter().map(|allowance| allowed(bundle, &tx.chain, allowance))).collect()
}

/// It goes to whoever may move it.
fn allowed<'a>(bundle: &'a Bundle, chain: &str, allowance: &'a Allowance) -> Moves<'a> {
    let spender = &allowance.spender;
    let contract = allowance.asset.contract().unwrap_or(spender);
    part("sign_allowance", bundle.assets.allowed(chain, allowance), spender, contract)
}

/// So much of an asset, to there. Where the bundle does not know the asset it is decided as opaque, too, for its contract.
fn part<'a>(action: &'static str, counted: Option<Counted<'a>>, to: &'a str, contract: &'a str) -> Moves<'a> {
    match counted {
        Some(Counted { asset, amount, .. }) => {
            let what = What::Asset { symbol: &asset.symbol, decimals: asset.decimals, amount, to };
            Moves { action, what }
        }
        None => Moves { action: "sign_opaque", what: What::Anything { to: contract } },
    }
}

fn transfers(payment: &PaymentFacts) -> Vec<Moves<'_>> {
    let (symbol, decimals) = (payment.currency.code(), payment.currency.decimals());
    let transfers = payment.blocks.iter().flat_map(|block| &block.transfers);
    let what = transfers.map(|t| What::Asset { symbol, decimals, amount: t.amount, to: t.creditor.as_str() });
    what.map(|what| Moves { action: "sign_payment", what }).collect()
}

fn matches(bundle: &Bundle, request: &DecisionRequest<'_>, scope: &Scope, moves: &Moves<'_>) -> bool {
    let is = |named: &Option<String>, value: &str| named.as_ref().is_none_or(|name| name == value);
    let of_domain = matches!(request.action, PolicyAction::Token(_));
    let (named, other) = if of_domain { (&scope.domain, &scope.key) } else { (&scope.key, &scope.domain) };
    let asked = other.is_none()
        && is(named, request.subject())
        && is(&scope.client, request.client.as_str())
        && is(&scope.action, moves.action);
    asked
        && match &moves.what {
            What::Nothing | What::Cards(_) => scope.asset.is_none() && scope.to.is_none() && scope.list.is_none(),
            What::Anything { .. } => true,
            What::Asset { symbol, to, .. } => {
                let listed = |list: &String| is_listed(bundle, list, to);
                is(&scope.asset, symbol) && is(&scope.to, to) && scope.list.as_ref().is_none_or(listed)
            }
        }
}

fn is_listed(bundle: &Bundle, list: &str, to: &str) -> bool {
    let entry = evm_address(to).map(Listed::Address).or_else(|| Account::parse(to).map(Listed::Account));
    // A list that is not there would be our bug; then everything is in it, which takes of the limit.
    bundle.lists.get(list).is_none_or(|entries| entry.is_some_and(|entry| entries.contains(&entry)))
}

/// How much one movement takes of a limit that matches it.
fn taken(limit: &Limit, moves: &Moves<'_>) -> Result<u128, OverLimit> {
    match (limit.most, &moves.what) {
        (Most::Count(_), What::Cards(cards)) => Ok((*cards).into()),
        (Most::Count(_), _) => Ok(1),
        (Most::Amount { .. }, What::Nothing | What::Cards(_)) => Ok(0),
        (Most::Amount { .. }, What::Anything { .. }) => Err(OverLimit::Unknown { limit: limit.id.clone() }),
        (Most::Amount { decimals: counted, .. }, What::Asset { decimals, amount, .. }) => {
            in_units(*amount, *decimals, counted).ok_or_else(|| OverLimit::Amount { limit: limit.id.clone() })
        }
    }
}

/// The amount in the units of a limit, which has at least as many decimals; none when it is more than can be counted.
fn in_units(amount: Amount, decimals: u8, counted: u8) -> Option<u128> {
    let (high, low) = amount.0.split_last_chunk::<16>()?;
    let units = high.iter().all(|b| *b == 0).then(|| u128::from_be_bytes(*low))?;
    if units == 0 {
        return Some(0);
    }
    10u128.checked_pow(u32::from(counted.checked_sub(decimals)?))?.checked_mul(units)
}

/// What the lines are called that a request is charged on.
pub fn lines(bundle: &Bundle, request: &DecisionRequest<'_>) -> Vec<NamedLine> {
    let moves = moves(bundle, request.action);
    let mut lines = BTreeMap::new();
    for limit in &bundle.limits {
        for what in moves.iter().filter(|what| matches(bundle, request, &limit.scope, what)) {
            let by = counted_by(limit, request, what);
            let by = by.into_iter().map(|(field, value)| (field.to_owned(), value.to_owned())).collect();
            let line = line(limit, request, what);
            lines.insert(line, NamedLine { line, limit: limit.id.clone(), by });
        }
    }
    lines.into_values().collect()
}

fn line(limit: &Limit, request: &DecisionRequest<'_>, moves: &Moves<'_>) -> LineId {
    LineId::of(&limit.id, &counted_by(limit, request, moves))
}

/// The fields that a limit counts separately by, with their values for one movement.
fn counted_by<'a>(limit: &Limit, request: &DecisionRequest<'a>, moves: &Moves<'a>) -> Vec<(&'static str, &'a str)> {
    let value = |by: &By| match (by, &moves.what) {
        (By::Key, What::Cards(_)) => "",
        (By::Key, _) => request.subject(),
        (By::Domain, What::Cards(_)) => request.subject(),
        (By::Client, _) => request.client.as_str(),
        (By::Action, _) => moves.action,
        (By::Asset, What::Asset { symbol, .. }) => symbol,
        (By::To, What::Asset { to, .. } | What::Anything { to }) => to,
        (By::Domain, _) => "",
        (By::Asset | By::To, What::Nothing | What::Cards(_) | What::Anything { .. }) => "",
    };
    limit.by.iter().map(|by| (by.as_str(), value(by))).collect()
}
