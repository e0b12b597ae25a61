//! The decision. Default deny, `forbid` wins, and whatever cannot be evaluated denies.

mod allowance;
mod call;
mod payment;
mod token;
mod waiting;
mod wrap;

pub use waiting::{ApprovalPath, Need};

use crate::amount::whole_units;
use crate::approvals::Approvals;
use crate::bundle::{Asset, Bundle};
use crate::charges::charges;
use cedar_policy::{Context, Request, RestrictedExpression};
use tally_domain::facts::{Amount, AssetRef, Facts, MessageFacts, Movement, OpaqueFacts, RawFacts, TransactionFacts};
use tally_domain::token::{DomainFacts, TokenFacts};
use tally_domain::{
    Backing, ClientId, HsmKeySpec, KekChange, KekNumber, KeyName, KeySpec, LimitId, PersonName, Reason, Scope,
    UnixMillis, WrapFacts,
};

/// Most near misses that a denial names: they go into an error's metadata, of which gRPC takes 8 KiB.
pub const NEAR_MISSES_MAX: usize = 16;

/// Whether it may be done. Never an error: what cannot be decided is denied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// It may.
    Permit {
        /// The rule that permits it; with several movements or transfers, each one's rule where they differ, joined by `,`.
        rule: String,
    },
    /// It may not.
    Deny(Denied),
    /// It may once persons have approved it: for each of these needs, one of its paths must be complete. With several
    /// movements or transfers there can be several needs.
    NeedsApproval(Vec<Need>),
}

/// Why not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denied {
    /// [`Reason::TxOpaque`] when the transaction was not understood and no rule permits that, [`Reason::VelocityLimit`]
    /// when a limit never allows it, [`Reason::Rejected`] when a person said no, [`Reason::BundleExpired`] when the
    /// bundle's time is over, else [`Reason::PolicyDenied`].
    pub reason: Reason,
    /// Rules that forbid it.
    pub forbidden_by: Vec<String>,
    /// Permits that are for this client, action and key, with the first condition that does not hold; the nearest first.
    pub near_misses: Vec<NearMiss>,
    /// Rules that could not be evaluated, or facts that rules cannot express.
    pub errors: Vec<String>,
    /// What was not understood, where the transaction was opaque.
    pub why_opaque: Option<String>,
    /// The limit that never allows it.
    pub limit: Option<LimitId>,
    /// Persons who have rejected it.
    pub rejected_by: Vec<PersonName>,
}

/// A permit that does not match because of a condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NearMiss {
    /// The permit.
    pub rule: String,
    /// Its first condition that does not hold, in the author's words.
    pub condition: String,
}

/// Who wants to do what with which key.
#[derive(Debug, Clone, Copy)]
pub struct DecisionRequest<'a> {
    /// The client that signed the intent.
    pub client: &'a ClientId,
    /// The key.
    pub key: &'a KeyName,
    /// What is to be done.
    pub action: PolicyAction<'a>,
}

/// What is to be done.
#[derive(Debug, Clone, Copy)]
pub enum PolicyAction<'a> {
    /// Sign content of which these are the facts.
    Sign(&'a Facts),
    /// Create a key like this.
    CreateKey(&'a KeySpec),
    /// Create a key like this in an HSM.
    CreateHsmKey(&'a HsmKeySpec),
    /// Have a KEK draw, wrap, unwrap or rewrap a key.
    Wrap(WrapFacts<'a>),
    /// Create a KEK.
    CreateKek,
    /// Change this version of a KEK; the one to be made, where the change makes one.
    ChangeKek(KekChange, KekNumber),
    /// Do this with cards and tokens; the key is the domain.
    Token(TokenFacts<'a>),
    /// Do this with a token domain; the key is the domain.
    ManageDomain(DomainFacts<'a>),
    /// Freeze this.
    Freeze(&'a Scope),
    /// Lift freezes of this.
    Unfreeze(&'a Scope),
    /// Veto the bundle of this number.
    VetoPolicy(u64),
}

/// What rules and limits see as the key when everything is frozen or unfrozen, or a bundle vetoed. No key has this name, so that a rule for one
/// key never permits that.
const EVERY_KEY: &str = "*";

impl<'a> DecisionRequest<'a> {
    /// The key as rules and limits see it.
    pub(crate) fn subject(&self) -> &'a str {
        match self.action {
            PolicyAction::Freeze(Scope::All) | PolicyAction::Unfreeze(Scope::All) | PolicyAction::VetoPolicy(_) => {
                EVERY_KEY
            }
            _ => self.key.as_str(),
        }
    }
}

/// Decides a request that nobody has approved. The same arguments always give the same decision (S-2.2).
pub fn decide(bundle: &Bundle, request: &DecisionRequest<'_>, now: UnixMillis) -> Decision {
    decide_approved(bundle, request, &Approvals::none(), now)
}

/// Decides: the bundle's time, then rules and approvals, then whether a limit could ever allow it. How much of the limits
/// is left is not known here; [`charges`] says what must be claimed.
pub fn decide_approved(
    bundle: &Bundle,
    request: &DecisionRequest<'_>,
    approvals: &Approvals,
    now: UnixMillis,
) -> Decision {
    if let Err(e) = bundle.check_time(now) {
        return Decision::Deny(Denied { errors: vec![e.to_string()], ..Denied::because(Reason::BundleExpired) });
    }
    let by_rules = by_rules(bundle, request, approvals, now);
    match (by_rules, charges(bundle, request)) {
        (denied @ Decision::Deny(_), _) => denied,
        (_, Err(over)) => Decision::Deny(Denied {
            errors: vec![over.to_string()],
            limit: Some(over.limit().clone()),
            ..Denied::because(Reason::VelocityLimit)
        }),
        (decision, Ok(_)) => decision,
    }
}

fn by_rules(bundle: &Bundle, request: &DecisionRequest<'_>, approvals: &Approvals, now: UnixMillis) -> Decision {
    let of_domain = matches!(request.action, PolicyAction::Token(_) | PolicyAction::ManageDomain(_));
    let case = Case { bundle, client: request.client, key: request.subject(), of_domain, approvals, now };
    match request.action {
        PolicyAction::Sign(Facts::Transaction(tx)) => case.transaction(tx),
        PolicyAction::Sign(Facts::Message(message)) => case.ask("sign_message", "message", message_record(message)),
        PolicyAction::Sign(Facts::Opaque(opaque)) => case.opaque(opaque),
        PolicyAction::Sign(Facts::Raw(raw)) => case.ask("sign_raw", "raw", raw_record(raw)),
        PolicyAction::Sign(Facts::Payment(payment)) => case.payment(payment),
        PolicyAction::Sign(Facts::TypedData(typed)) => case.typed_data(typed),
        PolicyAction::CreateKey(spec) => case.ask("create_key", "spec", spec_record(spec)),
        PolicyAction::CreateHsmKey(spec) => case.ask("create_key", "spec", hsm_spec_record(spec)),
        PolicyAction::Wrap(facts) => case.wrap(&facts),
        PolicyAction::CreateKek => case.create_kek(),
        PolicyAction::ChangeKek(change, version) => case.change_kek(change, version),
        PolicyAction::Token(facts) => case.token(&facts),
        PolicyAction::ManageDomain(facts) => case.manage_domain(&facts),
        PolicyAction::Freeze(scope) => case.ask("freeze", "freeze", scope_record(scope)),
        PolicyAction::Unfreeze(scope) => case.ask("unfreeze", "freeze", scope_record(scope)),
        PolicyAction::VetoPolicy(version) => case.ask("veto_policy", "bundle", bundle_record(version)),
    }
}

type Fields = Vec<(String, RestrictedExpression)>;

struct Case<'a> {
    bundle: &'a Bundle,
    client: &'a ClientId,
    key: &'a str,
    /// The key is a token domain's name.
    of_domain: bool,
    approvals: &'a Approvals,
    now: UnixMillis,
}

impl Case<'_> {
    /// Each movement and each leave is decided alone, and all must be permitted.
    fn transaction(&self, tx: &TransactionFacts) -> Decision {
        let movements = tx.movements.iter().map(|movement| self.movement(tx, movement));
        let all = movements.chain(tx.allowances.iter().map(|allowance| self.allowance_of_transaction(tx, allowance)));
        waiting::all(all).unwrap_or_else(|| inexpressible("the transaction does nothing".into()))
    }

    fn movement(&self, tx: &TransactionFacts, movement: &Movement) -> Decision {
        let counted = self.bundle.assets.counted(&tx.chain, &movement.asset, movement.amount);
        let (Some(moved), Some(native)) = (counted, self.native(&tx.chain)) else {
            return self.opaque(&unknown_asset(&tx.chain, &movement.asset, &movement.to));
        };
        let expressed = (in_units("amount", &moved.amount, moved.asset), in_units("fee", &tx.fee_max, native));
        let (amount, fee) = match expressed {
            (Ok(amount), Ok(fee)) => (amount, fee),
            (Err(too_large), _) | (_, Err(too_large)) => return inexpressible(too_large),
        };
        let record = vec![
            ("chain".into(), text(&tx.chain)),
            ("method".into(), text(&tx.method)),
            ("asset".into(), text(&moved.asset.symbol)),
            ("item".into(), text(&moved.item)),
            ("amount".into(), amount),
            ("from".into(), self.address(&movement.from)),
            ("to".into(), self.address(&movement.to)),
            ("fee".into(), fee),
        ];
        self.ask("sign", "tx", record)
    }

    fn native(&self, chain: &str) -> Option<&Asset> {
        self.bundle.assets.find(chain, &AssetRef::Native)
    }

    fn opaque(&self, facts: &OpaqueFacts) -> Decision {
        let why = match self.bundle.contracts.read(facts) {
            Some(Ok(call)) => return self.call(&call),
            Some(Err(why)) => why,
            None => facts.why.clone(),
        };
        let record = vec![("chain".into(), text(&facts.chain)), ("to".into(), self.address(&facts.to))];
        match self.ask("sign_opaque", "opaque", record) {
            permitted @ (Decision::Permit { .. } | Decision::NeedsApproval(_)) => permitted,
            Decision::Deny(denied) => {
                let denials = (denied.forbidden_by.len(), denied.errors.len(), denied.rejected_by.len());
                let unpermitted = denials == (0, 0, 0);
                let reason = if unpermitted { Reason::TxOpaque } else { denied.reason };
                Decision::Deny(Denied { reason, why_opaque: Some(why), ..denied })
            }
        }
    }

    fn address(&self, address: &str) -> RestrictedExpression {
        RestrictedExpression::new_entity_uid(self.bundle.vocabulary.address(address))
    }

    fn ask(&self, action: &str, record: &str, fields: Fields) -> Decision {
        let Some(request) = self.request(action, record, fields) else {
            return inexpressible(format!("the facts do not fit the schema of action `{action}`"));
        };
        let Bundle { rules, entities, .. } = self.bundle;
        let answer = rules.ask(&request, entities);
        if answer.permitted && answer.errors.is_empty() {
            return self.approved(&answer.decided_by);
        }
        let near = rules.near_misses(&answer, &request, entities).into_iter().take(NEAR_MISSES_MAX);
        Decision::Deny(Denied {
            forbidden_by: match answer.permitted {
                true => vec![],
                false => answer.decided_by.iter().map(|rule| rule.id.clone()).collect(),
            },
            near_misses: near.map(|(rule, c)| NearMiss { rule: rule.into(), condition: c.into() }).collect(),
            errors: answer.errors,
            ..Denied::because(Reason::PolicyDenied)
        })
    }

    /// The request in Cedar's terms, checked against the schema.
    fn request(&self, action: &str, record: &str, fields: Fields) -> Option<Request> {
        let vocabulary = &self.bundle.vocabulary;
        let now = vec![
            ("hour".into(), RestrictedExpression::new_long(self.now.hour_utc().into())),
            ("weekday".into(), RestrictedExpression::new_long(self.now.weekday_utc().into())),
        ];
        let context = Context::from_pairs([
            (record.into(), RestrictedExpression::new_record(fields).ok()?),
            ("now".into(), RestrictedExpression::new_record(now).ok()?),
        ]);
        Request::new(
            vocabulary.client(self.client.as_str()),
            vocabulary.action(action),
            if self.of_domain { vocabulary.domain(self.key) } else { vocabulary.key(self.key) },
            context.ok()?,
            Some(&vocabulary.schema),
        )
        .ok()
    }
}

impl Denied {
    fn because(reason: Reason) -> Self {
        Self {
            reason,
            forbidden_by: vec![],
            near_misses: vec![],
            errors: vec![],
            why_opaque: None,
            limit: None,
            rejected_by: vec![],
        }
    }
}

fn inexpressible(error: String) -> Decision {
    Decision::Deny(Denied { errors: vec![error], ..Denied::because(Reason::PolicyDenied) })
}

/// Something that assets.toml does not name, or names as another sort: how much it is worth is not known.
fn unknown_asset(chain: &str, asset: &AssetRef, to: &str) -> OpaqueFacts {
    let (to, what) = match asset.contract() {
        None => (to, format!("the native coin of `{chain}`")),
        Some(contract) => (contract, format!("{} {contract} of `{chain}`", sort(asset))),
    };
    let why = format!("{what} is not in assets.toml");
    OpaqueFacts { chain: chain.into(), to: to.into(), why, call: None }
}

fn sort(asset: &AssetRef) -> &'static str {
    match asset {
        AssetRef::Native | AssetRef::Contract(_) => "token contract",
        AssetRef::Item { .. } | AssetRef::Collection(_) => "contract of pieces (`items = true`)",
    }
}

fn in_units(what: &str, amount: &Amount, asset: &Asset) -> Result<RestrictedExpression, String> {
    decimal(what, amount, &asset.symbol, asset.decimals)
}

fn decimal(what: &str, amount: &Amount, unit: &str, decimals: u8) -> Result<RestrictedExpression, String> {
    whole_units(amount, decimals)
        .map(RestrictedExpression::new_decimal)
        .ok_or_else(|| format!("the {what} in {unit} is more than a rule can express"))
}

fn message_record(message: &MessageFacts) -> Fields {
    let bytes = i64::try_from(message.bytes).unwrap_or(i64::MAX);
    vec![
        ("bytes".into(), RestrictedExpression::new_long(bytes)),
        ("text".into(), RestrictedExpression::new_bool(message.text)),
    ]
}

fn raw_record(raw: &RawFacts) -> Fields {
    vec![("bytes".into(), RestrictedExpression::new_long(i64::try_from(raw.bytes).unwrap_or(i64::MAX)))]
}

/// A key in an HSM is signed with by its home alone.
fn hsm_spec_record(spec: &HsmKeySpec) -> Fields {
    vec![
        ("backing".into(), text(Backing::Hsm.as_str())),
        ("scheme".into(), text(spec.scheme.as_str())),
        ("purpose".into(), text(spec.purpose.as_str())),
        ("t".into(), RestrictedExpression::new_long(1)),
        ("n".into(), RestrictedExpression::new_long(1)),
    ]
}

fn bundle_record(version: u64) -> Fields {
    let version = i64::try_from(version).unwrap_or(i64::MAX);
    vec![("version".into(), RestrictedExpression::new_long(version))]
}

fn spec_record(spec: &KeySpec) -> Fields {
    vec![
        ("backing".into(), text(Backing::Threshold.as_str())),
        ("scheme".into(), text(spec.scheme.as_str())),
        ("purpose".into(), text(spec.purpose.as_str())),
        ("t".into(), RestrictedExpression::new_long(spec.threshold.t().into())),
        ("n".into(), RestrictedExpression::new_long(spec.threshold.n().into())),
    ]
}

fn scope_record(scope: &Scope) -> Fields {
    vec![("scope".into(), text(scope.as_str()))]
}

fn text(s: &str) -> RestrictedExpression {
    RestrictedExpression::new_string(s.into())
}
