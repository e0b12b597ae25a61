//! What one node does alone, where a limit applies: it must hold the votes of a quorum first, its own among them. The
//! same rules as for a signing session, without S: [`HomeWork`] is what a node itself decides and charges, the home and
//! every voter each for itself; [`HomeClaim`] is that with claims for exactly what is charged; [`Cleared`] is leave to do it.
//!
//! Whatever a home is to do for a client goes through [`decide_home`], and can be done only with what comes of it.

use crate::admit::{Opened, decided};
use crate::approval::{self, Question, Ruled};
use crate::boot::BootIdentity;
use crate::claims::ballot::{BadVote, Ballot, Unclosed, vote, write};
use crate::claims::voter::{NotAccepted, check};
use prost::Message as _;
use tally_audit::event::What;
use tally_domain::boot::Statement;
use tally_domain::claim::Claimant;
use tally_domain::dsse::Envelope;
use tally_domain::ports::store::{AttemptId, NamedLine, Step, Write};
use tally_domain::roster::Roster;
use tally_domain::vote::{Certificate, HomeTask, VoteBody};
use tally_domain::{Attempt, Charge, Claims, Digest, Electorate, NodeName, Reason, Refusal, UnixMillis};
use tally_policy::{Bundle, DecisionRequest, PolicyAction, charges, decide, lines};

/// What policy permits one node to do alone, with what it takes of limits. Only [`decide_home`] mints it.
#[derive(Debug)]
#[must_use]
pub struct HomeWork {
    task: HomeTask,
    charges: Vec<Charge>,
    lines: Vec<NamedLine>,
    approvals: Vec<Envelope>,
}

/// Decides what `home` is to do alone, and computes what that takes of limits. `digest` says what is done: see
/// [`HomeTask::digest`].
///
/// # Errors
/// A [`Refusal`]; `VELOCITY_LIMIT` when a limit would never allow it.
pub fn decide_home(
    opened: &Opened,
    home: &NodeName,
    digest: Digest,
    action: PolicyAction<'_>,
    bundle: &Bundle,
    now: UnixMillis,
) -> Result<HomeWork, Refusal> {
    let intent = opened.intent();
    let request = DecisionRequest { client: &intent.client, key: &intent.key, action };
    let rule = decided(decide(bundle, &request, now))?;
    charged(opened, home, digest, &request, Ruled { rule, approvals: Vec::new() }, bundle)
}

/// The same for what persons may have to approve.
///
/// # Errors
/// As [`decide_home`]; `APPROVALS_REQUIRED` with what is missing.
pub(crate) fn decide_home_asked(
    question: &Question<'_>,
    home: &NodeName,
    digest: Digest,
    bundle: &Bundle,
    now: UnixMillis,
) -> Result<HomeWork, Refusal> {
    let ruled = question.decide(bundle, now)?;
    charged(question.opened(), home, digest, &question.request(), ruled, bundle)
}

fn charged(
    opened: &Opened,
    home: &NodeName,
    digest: Digest,
    request: &DecisionRequest<'_>,
    ruled: Ruled,
    bundle: &Bundle,
) -> Result<HomeWork, Refusal> {
    let intent = opened.intent();
    let charges = charges(bundle, request).map_err(|over| {
        Refusal::new(Reason::VelocityLimit).with("limit", over.limit().as_str()).with("detail", over.to_string())
    })?;
    let task = HomeTask {
        tenant: intent.tenant.clone(),
        request_id: intent.request_id,
        intent_digest: opened.digest(),
        home: home.clone(),
        digest,
        bundle: bundle.digest(),
        rule: ruled.rule,
        approvals: approval::digests(&ruled.approvals),
    };
    let lines = if charges.is_empty() { Vec::new() } else { lines(bundle, request) };
    Ok(HomeWork { task, charges, lines, approvals: ruled.approvals })
}

impl HomeWork {
    /// What is done.
    pub fn task(&self) -> &HomeTask {
        &self.task
    }

    /// Whose approvals the rule asked for, by person; none where it asks nobody.
    pub fn approvals(&self) -> &[Envelope] {
        &self.approvals
    }

    /// What it takes of limits.
    pub fn charges(&self) -> &[Charge] {
        &self.charges
    }

    /// What the lines of limits are called that it is charged on.
    pub fn lines(&self) -> &[NamedLine] {
        &self.lines
    }

    /// Whose claims they are.
    pub fn claimant(&self) -> Claimant {
        Claimant { tenant: self.task.tenant.clone(), request: self.task.request_id }
    }

    /// Leave to do what no limit applies to.
    pub fn uncharged(&self) -> Option<Cleared> {
        self.charges.is_empty().then(|| Cleared { task: self.task.clone() })
    }

    /// The same work, which is done and has been paid for: only its outcome is shown again.
    pub(crate) fn shown_again(self) -> Self {
        Self { charges: Vec::new(), ..self }
    }

    /// The work with claims for exactly what it charges.
    ///
    /// # Errors
    /// [`NotAccepted`].
    pub fn claim(&self, attempt: Attempt, claims: Claims, now: UnixMillis) -> Result<HomeClaim, NotAccepted> {
        check(&self.charges, Some(&claims), now)?;
        Ok(HomeClaim { task: self.task.clone(), body: self.task.body(attempt, claims) })
    }

    /// What a voter votes for: what the home asks it to, if that is what this node itself admits and charges.
    ///
    /// # Errors
    /// `PROTOCOL_VIOLATION` or `CLOCK_SKEW`: it asks for something else, for another's work, or by another time.
    pub fn concur(&self, asked: &VoteBody, from: &NodeName, now: UnixMillis) -> Result<HomeClaim, Refusal> {
        let violation =
            |what: &str| Refusal::new(Reason::ProtocolViolation).with("round", "claims").with("detail", what);
        if self.task.home != *from {
            return Err(violation("only its home asks for votes on what it does alone"));
        }
        let claims = asked.claims.clone().ok_or_else(|| violation("no limit applies"))?;
        let claim = self.claim(asked.attempt, claims, now)?;
        if claim.body == *asked {
            Ok(claim)
        } else {
            Err(violation("the vote is for something else than this node admits"))
        }
    }
}

/// Work with what it claims. Only [`HomeWork`] makes it.
#[derive(Debug)]
#[must_use]
pub struct HomeClaim {
    task: HomeTask,
    body: VoteBody,
}

impl HomeClaim {
    /// What is voted for.
    pub fn body(&self) -> &VoteBody {
        &self.body
    }

    /// This node's vote, and the step that must be durable before it leaves. The home votes once in an attempt; another
    /// voter, asked again, gives the same vote.
    pub fn vote(&self, boot: &BootIdentity, now: UnixMillis) -> (Statement, Step) {
        if boot.node == self.task.home {
            return vote(&self.body, boot, now);
        }
        let statement = self.body.sign(boot.key(), boot.cert());
        let leaf = boot.leaf(now, What::Voted { vote: statement.clone() });
        (statement, Step { writes: write(&self.body).into_iter().collect(), leaves: vec![leaf] })
    }

    /// Opens a ballot with the home's own vote, which is durable by now.
    pub fn ballot(self, own: Statement, electorate: Electorate) -> HomeBallot {
        let Self { task, body } = self;
        HomeBallot { ballot: Ballot::open(body, task.home.clone(), own, electorate), task }
    }
}

/// Collects the votes of a quorum of all voters.
#[derive(Debug)]
pub struct HomeBallot {
    task: HomeTask,
    ballot: Ballot,
}

impl HomeBallot {
    /// Whom to ask: everyone else, while too few have voted.
    pub fn wanting(&self) -> Vec<NodeName> {
        self.ballot.wanting()
    }

    /// Counts a vote.
    ///
    /// # Errors
    /// [`BadVote`]; the ballot is unchanged.
    pub fn add(&mut self, vote: Statement, roster: &Roster) -> Result<(), BadVote> {
        self.ballot.add_passed_on(vote, roster)
    }

    /// A voter will not vote. Whether there are still enough who may.
    pub fn refuse(&mut self, voter: NodeName) -> bool {
        self.ballot.refuse(voter)
    }

    /// Whether a quorum has voted.
    pub fn is_complete(&self) -> bool {
        self.ballot.is_complete()
    }

    /// The certificate. Ask [`HomeBallot::is_complete`] first: a ballot that is closed too early is gone.
    ///
    /// # Errors
    /// [`Unclosed`].
    pub fn close(self, now: UnixMillis) -> Result<HomeCertified, Unclosed> {
        let (body, certificate) = self.ballot.into_certificate(now)?;
        Ok(HomeCertified { task: self.task, body, certificate })
    }
}

/// The votes of a quorum. Nothing is done on it before [`HomeCertified::step`] is durable.
#[derive(Debug)]
#[must_use]
pub struct HomeCertified {
    task: HomeTask,
    body: VoteBody,
    certificate: Certificate,
}

impl HomeCertified {
    /// The votes.
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// The step that writes down the certificate and what is about to be done on it.
    pub fn step(&self, boot: &BootIdentity, now: UnixMillis) -> Step {
        let VoteBody { tenant, request_id, attempt, digest, .. } = &self.body;
        let attempt = AttemptId { tenant: tenant.clone(), request: *request_id, attempt: *attempt };
        let certificate = self.certificate.encode_to_vec();
        let write = Write::Release { attempt, partial: digest.0.to_vec(), certificate };
        let leaf = boot.leaf(now, What::Certified { certificate: self.certificate.clone() });
        Step { writes: vec![write], leaves: vec![leaf] }
    }

    /// Leave to do it, once the step is durable.
    pub fn cleared(self) -> Cleared {
        Cleared { task: self.task }
    }
}

/// Leave to do just this: nothing is charged, or a quorum has certified what is. Only [`HomeWork::uncharged`] and
/// [`HomeCertified::cleared`] mint it.
#[derive(Debug)]
#[must_use]
pub struct Cleared {
    task: HomeTask,
}

impl Cleared {
    /// Uses it up for this work.
    ///
    /// # Errors
    /// `INTERNAL` when it is leave to do something else.
    pub fn spend(self, work: &HomeWork) -> Result<(), Refusal> {
        if self.task == work.task { Ok(()) } else { Err(Reason::Bug.into()) }
    }
}
