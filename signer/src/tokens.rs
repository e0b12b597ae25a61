//! What clients ask of token domains: their home admits it as it admits a signature, and what came of it is one durable step.
//!
//! No card number comes here. What travels beside an intent is checked against its commitment by [`check_beside`]; the vault
//! does the rest.

use crate::admit::{Opened, check_bundle_version, check_sign_times, check_times, decided, expect_action};
use crate::approval::{Question, unless_rejected};
use crate::boot::BootIdentity;
use crate::claims::{Cleared, HomeWork, decide_home_asked};
use crate::freeze::{Freezes, unless_frozen};
use crate::hsm_sign::must_be_home;
use crate::kek::asked;
use crate::veto::while_active;
use tally_audit::event::{DomainChanged, TokensUsed, What};
use tally_domain::key::KeyState;
use tally_domain::ports::store::{Step, Write};
use tally_domain::token::{DomainFacts, DomainState, TokenFacts};
use tally_domain::{
    Action, ContentKind, Digest, HsmKeyRecord, Intent, KeyName, Material, NodeName, Purpose, Reason, Refusal, Subject,
    UnixMillis,
};
use tally_policy::{Bundle, DecisionRequest, PolicyAction, decide};
use tally_tokenization::call::{SALT_BYTES, commitment};
use tally_tokenization::spec::{DomainSpec, Keeping, Mode};
use tally_tokenization::{Call, DomainChange, TokenCall};

/// The result of a request that has opened a stream.
pub const OPENED: &[u8] = b"opened";

/// A token domain as this node holds it.
#[derive(Debug, Clone, Copy)]
pub struct DomainView<'a> {
    /// What it is.
    pub record: &'a HsmKeyRecord,
    /// Whether it has its name.
    pub state: KeyState,
    /// What it does, at its home.
    pub doing: Option<DomainState>,
    /// What this node knows to be frozen.
    pub freezes: &'a Freezes,
}

impl DomainView<'_> {
    fn check(
        &self,
        intent: &Intent,
        kind: ContentKind,
        me: &NodeName,
        bundle: &Bundle,
        now: UnixMillis,
    ) -> Result<DomainState, Refusal> {
        let ours = self.record.tenant == intent.tenant && self.record.name == intent.key;
        if !ours || !matches!(self.record.material, Material::Tokens { .. }) {
            return Err(Reason::DomainNotFound.into());
        }
        must_be_home(&self.record.home, me, bundle.roster())?;
        match kind {
            // Persons may have to approve it.
            ContentKind::TokenCall => check_sign_times(intent, now)?,
            _ => check_times(intent, now)?,
        }
        check_bundle_version(intent, bundle)?;
        if intent.purpose != Purpose::Tokenize {
            return Err(Refusal::new(Reason::KeyPurpose).with("purpose", self.record.purpose.as_str()));
        }
        if self.state != KeyState::Active {
            return Err(Reason::KeyNotActive.into());
        }
        if intent.kind != kind || !intent.path.is_root() || !intent.chain.is_empty() {
            return Err(Refusal::new(Reason::Malformed).with("field", "kind"));
        }
        self.freezes.check(&intent.key)?;
        match self.doing {
            Some(DomainState::Deleted) => Err(Reason::DomainDeleted.into()),
            Some(doing) => Ok(doing),
            None => Err(Reason::Tampered.into()),
        }
    }
}

/// A call as any node reads it.
#[derive(Debug, Clone)]
#[must_use]
pub struct TokenSubject {
    opened: Opened,
    call: TokenCall,
}

impl TokenSubject {
    /// Decodes a call.
    ///
    /// # Errors
    /// `MALFORMED`; `PURPOSE_REQUIRED`.
    pub fn read(opened: Opened) -> Result<Self, Refusal> {
        let call = TokenCall::from_bytes(&opened.intent().content)?;
        expect_action(opened.intent(), call.call.action())?;
        if call.call.form().is_some() && call.purpose.is_empty() {
            return Err(Reason::PurposeRequired.into());
        }
        Ok(Self { opened, call })
    }

    /// The request.
    pub fn opened(&self) -> &Opened {
        &self.opened
    }

    /// What is to be decided.
    pub fn question(&self) -> Question<'_> {
        Question::of_tokens(&self.opened, token_facts(&self.call))
    }
}

/// A call is permitted. Only [`admit_token`] mints it.
#[derive(Debug)]
#[must_use]
pub struct TokenPermit {
    subject: TokenSubject,
    work: HomeWork,
}

impl TokenPermit {
    /// What the client asks for.
    pub fn call(&self) -> &TokenCall {
        &self.subject.call
    }

    /// The request.
    pub fn opened(&self) -> &Opened {
        &self.subject.opened
    }

    /// The rule that decided.
    pub fn rule(&self) -> &str {
        &self.work.task().rule
    }

    /// What limits see of it.
    pub fn work(&self) -> &HomeWork {
        &self.work
    }

    /// What a voter votes on, which is not the home.
    pub fn into_work(self) -> HomeWork {
        self.work
    }

    /// Goes on to the vault, with leave of every limit that applies.
    ///
    /// # Errors
    /// `INTERNAL` when it is leave to do something else.
    pub fn start(self, leave: Cleared) -> Result<TokenUse, Refusal> {
        leave.spend(&self.work)?;
        let (rule, waited) = (self.work.task().rule.clone(), !self.work.approvals().is_empty());
        Ok(TokenUse { subject: self.subject, rule, waited })
    }
}

/// What was done for a call, for the log.
pub struct Done {
    /// Which tokens.
    pub tokens: Vec<tally_domain::token::Token>,
    /// How many rows.
    pub rows: u32,
    /// How many of them were refused.
    pub refused: u32,
    /// Digest of the tokens that a stream has made.
    pub made: Option<Digest>,
}

impl Done {
    /// One row, done.
    pub fn one(token: tally_domain::token::Token) -> Self {
        Self { tokens: vec![token], rows: 1, refused: 0, made: None }
    }
}

/// A call that is permitted and that no limit is in the way of. Only [`TokenPermit::start`] makes it.
#[derive(Debug)]
#[must_use]
pub struct TokenUse {
    subject: TokenSubject,
    rule: String,
    waited: bool,
}

impl TokenUse {
    /// What the client asks for.
    pub fn call(&self) -> &TokenCall {
        &self.subject.call
    }

    /// The request.
    pub fn opened(&self) -> &Opened {
        &self.subject.opened
    }

    /// The rule that decided.
    pub fn rule(&self) -> &str {
        &self.rule
    }

    /// Whether persons have approved it.
    pub fn waited(&self) -> bool {
        self.waited
    }

    /// The step that opens a stream: its request is done with this, and opens no other.
    pub fn opening(&self, now: UnixMillis) -> Step {
        let intent = self.opened().intent();
        let step = Step { writes: vec![complete(intent, OPENED.to_vec(), now)], leaves: Vec::new() };
        while_active(unless_rejected(unless_frozen(step, &intent.key), intent), self.opened().bundle())
    }

    /// The step that makes what was done durable, with its leaf, unless the domain is frozen by then. With a result, the
    /// request is done with it.
    pub fn step(
        &self,
        writes: Vec<Write>,
        done: Done,
        result: Option<Vec<u8>>,
        boot: &BootIdentity,
        now: UnixMillis,
    ) -> Step {
        let intent = self.opened().intent();
        let leaf = What::TokensUsed(TokensUsed {
            by: asked(self.opened()),
            action: intent.action,
            domain: intent.key.clone(),
            purpose: self.call().purpose.clone(),
            form: self.call().call.form().map_or("", |form| form.as_str()).into(),
            tokens: done.tokens,
            rows: done.rows,
            refused: done.refused,
            made: done.made,
        });
        let mut writes = writes;
        let last = result.is_some();
        writes.extend(result.map(|result| complete(intent, result, now)));
        // A stream that goes on is not decided anew: it ends with the bundle that permitted it.
        let step = unless_frozen(Step { writes, leaves: vec![boot.leaf(now, leaf)] }, &intent.key);
        let step = if last && self.waited { unless_rejected(step, intent) } else { step };
        while_active(step, self.opened().bundle())
    }
}

/// Decides whether a domain does what a client asks for, and computes what that takes of limits: nothing, if it was done
/// before and is only shown again. A voter, which knows only its name, takes a domain for active.
///
/// # Errors
/// A [`Refusal`]; `HOME_NODE` when the domain lives elsewhere, `FROZEN`, `PURPOSE_REQUIRED`, `APPROVALS_REQUIRED`.
pub fn admit_token(
    opened: Opened,
    domain: DomainView<'_>,
    before: bool,
    me: &NodeName,
    bundle: &Bundle,
    now: UnixMillis,
) -> Result<TokenPermit, Refusal> {
    let doing = domain.check(opened.intent(), ContentKind::TokenCall, me, bundle, now)?;
    let subject = TokenSubject::read(opened)?;
    let (opened, call) = (&subject.opened, &subject.call.call);
    let work = decide_home_asked(&subject.question(), &domain.record.home, opened.digest(), bundle, now)?;
    // What stops more goes on.
    let stops = matches!(call, Call::Suspend { .. } | Call::Delete { .. } | Call::DeleteSubject { .. });
    if doing == DomainState::Suspended && !stops {
        return Err(Reason::DomainSuspended.into());
    }
    let work = if before { work.shown_again() } else { work };
    Ok(TokenPermit { subject, work })
}

/// Checks that a card number or subject that travels beside an intent is the one that it is bound to.
///
/// # Errors
/// `MALFORMED`.
pub fn check_beside(bound: &Digest, salt: &[u8], card: &[u8], subject: Option<&Subject>) -> Result<(), Refusal> {
    let malformed = |field| Refusal::new(Reason::Malformed).with("field", field);
    let salt: &[u8; SALT_BYTES] = salt.try_into().map_err(|_| malformed("salt"))?;
    if commitment(salt, card, subject) == *bound { Ok(()) } else { Err(malformed("card")) }
}

/// The home permits a change. Only [`admit_change_domain`] mints it.
#[derive(Debug)]
#[must_use]
pub struct DomainPermit {
    opened: Opened,
    change: DomainChange,
    rule: String,
}

impl DomainPermit {
    /// What is to become of the domain.
    pub fn change(&self) -> DomainChange {
        self.change
    }

    /// The rule that decided.
    pub fn rule(&self) -> &str {
        &self.rule
    }

    /// The step that makes the change durable, with its leaf and its answer, unless the domain is frozen by then.
    pub fn step(&self, writes: Vec<Write>, result: Vec<u8>, boot: &BootIdentity, now: UnixMillis) -> Step {
        let intent = self.opened.intent();
        let leaf = changed_leaf(Some(&self.opened), &intent.key, self.change.to_string());
        let mut writes = writes;
        writes.push(complete(intent, result, now));
        unless_frozen(Step { writes, leaves: vec![boot.leaf(now, leaf)] }, &intent.key)
    }
}

/// Decides whether a domain of this node is changed.
///
/// # Errors
/// A [`Refusal`]; `HOME_NODE` when the domain lives elsewhere, `FROZEN`.
pub fn admit_change_domain(
    opened: Opened,
    domain: DomainView<'_>,
    spec: Option<&DomainSpec>,
    me: &NodeName,
    bundle: &Bundle,
    now: UnixMillis,
) -> Result<DomainPermit, Refusal> {
    let intent = opened.intent();
    expect_action(intent, Action::ChangeDomain)?;
    domain.check(intent, ContentKind::DomainChange, me, bundle, now)?;
    let change = DomainChange::from_bytes(&intent.content)?;
    let spec = spec.ok_or(Reason::Tampered)?;
    let key = change.key().map_or("", |key| key.as_str());
    let action = PolicyAction::ManageDomain(domain_facts(spec, change.as_str(), key));
    let rule = decided(decide(bundle, &DecisionRequest { client: &intent.client, key: &intent.key, action }, now))?;
    Ok(DomainPermit { opened, change, rule })
}

/// What rules are asked about a call.
pub(crate) fn token_facts(call: &TokenCall) -> TokenFacts<'_> {
    let form = call.call.form().map_or("", |form| form.as_str());
    let token = call.call.token().map_or("", |token| token.as_str());
    TokenFacts { action: call.call.action(), purpose: &call.purpose, form, rows: call.call.rows(), token }
}

/// What rules are asked about a domain.
pub(crate) fn domain_facts<'a>(spec: &'a DomainSpec, change: &'a str, key: &'a str) -> DomainFacts<'a> {
    let mode = match spec.keeping {
        Keeping::Reversible { mode: Mode::Strict, .. } => "strict",
        Keeping::Reversible { mode: Mode::Hybrid, .. } => "hybrid",
        Keeping::OneWay => "one-way",
    };
    DomainFacts { change, key, mode, format: spec.format.as_str() }
}

/// A leaf that tells what became of a domain: what a request asked for, or what that has led to.
pub fn changed_leaf(by: Option<&Opened>, domain: &KeyName, what: String) -> What {
    What::DomainChanged(DomainChanged { by: by.map(asked), domain: domain.clone(), what })
}

/// What an intent wants of a token domain, in words for the log; nothing for other intents.
pub fn describe(intent: &Intent) -> Option<String> {
    match intent.kind {
        ContentKind::DomainSpec => {
            let spec = DomainSpec::from_bytes(&intent.content).ok()?;
            let facts = domain_facts(&spec, "create", "");
            Some(format!("create a token domain ({}, {}) in the HSM of {}", facts.mode, facts.format, spec.home))
        }
        ContentKind::DomainChange => Some(DomainChange::from_bytes(&intent.content).ok()?.to_string()),
        ContentKind::TokenCall => {
            let TokenCall { purpose, call } = TokenCall::from_bytes(&intent.content).ok()?;
            let rows = if call.rows() == 1 { String::new() } else { format!(" up to {}", call.rows()) };
            let form = call.form().map(|form| format!(" {}", form.as_str())).unwrap_or_default();
            let token = call.token().map(|token| format!(" {token}")).unwrap_or_default();
            let purpose = if purpose.is_empty() { purpose } else { format!(" for {purpose}") };
            Some(format!("{}{rows}{token}{form}{purpose}", call.action().as_str()))
        }
        _ => None,
    }
}

fn complete(intent: &Intent, result: Vec<u8>, now: UnixMillis) -> Write {
    Write::Complete { tenant: intent.tenant.clone(), request: intent.request_id, result, at: now }
}
