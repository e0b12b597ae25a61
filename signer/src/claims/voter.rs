//! What a voter holds a proposal's claims against before it asks its memory of the lines: they must be for exactly what
//! this node itself would charge, and issued now. Whether other claims are in the way the store says when the vote is
//! written, in the same transaction.

use crate::admit::Permit;
use crate::boot::BootIdentity;
use crate::claims::ballot::{Binding, vote_body, write};
use tally_audit::event::What;
use tally_domain::boot::Statement;
use tally_domain::claim::{Claimant, Excluded, ISSUED_AT_TOLERANCE_MS, LineMemory};
use tally_domain::ports::store::Step;
use tally_domain::time::span_words;
use tally_domain::vote::VoteBody;
use tally_domain::{
    Charge, Claims, Interval, LimitId, LineClaim, LineId, NodeName, Reason, Refusal, SignerSet, UnixMillis,
};

/// Most pieces that a voter tells a leader to be in the way: a line in heavy use has more, but so many show where room is.
pub const TAKEN_MAX: usize = 256;

/// A permit together with claims for exactly what it charges; with none where no limit applies. Only [`claim`] makes it,
/// and only of it is a vote made: what is charged cannot be voted for without its claims.
#[derive(Debug, Clone)]
#[must_use]
pub struct Claimed {
    permit: Permit,
    claims: Option<Claims>,
}

impl Claimed {
    /// What is permitted.
    pub fn permit(&self) -> &Permit {
        &self.permit
    }

    /// What it takes of limits.
    pub fn claims(&self) -> Option<&Claims> {
        self.claims.as_ref()
    }
}

/// Puts a leader's claims to this node's own permit.
///
/// # Errors
/// [`NotAccepted`].
pub fn claim(permit: Permit, claims: Option<Claims>, now: UnixMillis) -> Result<Claimed, NotAccepted> {
    check(permit.charges(), claims.as_ref(), now)?;
    Ok(Claimed { permit, claims })
}

/// Why this node does not vote for these claims. All of it is the leader's doing, or a clock's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotAccepted {
    /// A limit applies and nothing of its line is claimed.
    #[error("limit {limit} applies and is not claimed")]
    Missing {
        /// The limit.
        limit: LimitId,
    },
    /// Something else is claimed than this node charges.
    #[error("the claim on limit {limit} is not for what this node charges")]
    Differs {
        /// The limit.
        limit: LimitId,
    },
    /// Lines are claimed that no limit has.
    #[error("more is claimed than this node charges")]
    TooMuch,
    /// Issued at another time than this node's.
    #[error("the claims were issued {} away from this node's clock", span_words(*.apart_ms))]
    Clock {
        /// How far away.
        apart_ms: u64,
    },
}

impl From<NotAccepted> for Refusal {
    fn from(why: NotAccepted) -> Self {
        let reason = match &why {
            NotAccepted::Clock { .. } => Reason::ClockSkew,
            NotAccepted::Missing { .. } | NotAccepted::Differs { .. } | NotAccepted::TooMuch => {
                Reason::ProtocolViolation
            }
        };
        Self::new(reason).with("round", "claims").with("detail", why.to_string())
    }
}

/// Holds claims against this node's own charges and clock.
///
/// # Errors
/// [`NotAccepted`].
pub fn check(charges: &[Charge], claims: Option<&Claims>, now: UnixMillis) -> Result<(), NotAccepted> {
    let lines = claims.map(Claims::lines).unwrap_or_default();
    for charge in charges {
        let limit = || charge.limit.clone();
        let claim = lines.iter().find(|l| l.line() == charge.line);
        let claim = claim.ok_or_else(|| NotAccepted::Missing { limit: limit() })?;
        if !claim.covers(charge) {
            return Err(NotAccepted::Differs { limit: limit() });
        }
    }
    // Lines are distinct, and so are charges: as many as are charged, each of them charged, leaves no other.
    if lines.len() != charges.len() {
        return Err(NotAccepted::TooMuch);
    }
    if let Some(claims) = claims {
        let apart_ms = claims.issued_at().0.abs_diff(now.0);
        if apart_ms > ISSUED_AT_TOLERANCE_MS {
            return Err(NotAccepted::Clock { apart_ms });
        }
    }
    Ok(())
}

/// What a voter outside S votes for: what the leader asks it to, if that is what this node itself admits and charges. Of the
/// session it knows only what the vote says: S alone is bound by the attempt and the one-time material, and a member's
/// own vote is one for each. What such a voter guards is the request's one intent and the limits.
///
/// A signer never votes here: asked for any attempt and any material, it would contradict its own vote in the session, and
/// the proof of that would name a correct node.
///
/// # Errors
/// `PROTOCOL_VIOLATION` or `CLOCK_SKEW`: the leader asks for something else, or whom it may not, or by another time.
pub fn concur(permit: Permit, asked: VoteBody, me: &NodeName, now: UnixMillis) -> Result<Concurring, Refusal> {
    let violation = |what: &str| Refusal::new(Reason::ProtocolViolation).with("round", "claims").with("detail", what);
    if asked.signers.contains(me) {
        return Err(violation("a signer votes in the session"));
    }
    let binding = Binding {
        attempt: asked.attempt,
        signers: asked.signers.clone(),
        nonce: asked.nonce_binding,
        session: asked.session,
    };
    let claimed = claim(permit, asked.claims.clone(), now)?;
    if vote_body(&claimed, &binding) != asked {
        return Err(violation("the vote is for something else than this node admits"));
    }
    let record = claimed.permit().subject().record();
    let parties = asked.signers.iter().map(|s| record.party(s)).collect::<Option<Vec<_>>>();
    if parties.is_none_or(|parties| SignerSet::new(record.threshold, &parties).is_err()) {
        return Err(violation("the signers are not the key's"));
    }
    if asked.claims.is_none() {
        return Err(violation("no limit applies"));
    }
    Ok(Concurring { claimed, body: asked })
}

/// What this node may vote for without being a signer of it. Only [`concur`] makes it.
#[derive(Debug)]
#[must_use]
pub struct Concurring {
    claimed: Claimed,
    body: VoteBody,
}

impl Concurring {
    /// What is permitted.
    pub fn permit(&self) -> &Permit {
        self.claimed.permit()
    }

    /// What is voted for.
    pub fn body(&self) -> &VoteBody {
        &self.body
    }

    /// Signs the vote and gives the step that must be durable before it leaves. Asked again it is the same vote.
    pub fn vote(&self, boot: &BootIdentity, now: UnixMillis) -> (Statement, Step) {
        let statement = self.body.sign(boot.key(), boot.cert());
        let leaf = boot.leaf(now, What::Voted { vote: statement.clone() });
        (statement, Step { writes: write(&self.body).into_iter().collect(), leaves: vec![leaf] })
    }
}

/// What is in a claim's way at one voter, for the leader to look elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InTheWay {
    /// On which line.
    pub line: LineId,
    /// Pieces that others hold.
    pub taken: Vec<Interval>,
}

/// Looks whether something is in a claim's way, before any work is done for it. The store looks again when the vote is
/// written.
///
/// # Errors
/// `CLOCK_SKEW` or `VELOCITY_LIMIT` when no other place on the line would do either.
pub fn in_the_way(
    by: &Claimant,
    claim: &LineClaim,
    at: UnixMillis,
    memory: &LineMemory,
) -> Result<Option<InTheWay>, Refusal> {
    let (reason, why) = match memory.consider(by, claim, at) {
        Ok(_) => return Ok(None),
        Err(Excluded::Taken(_)) => {
            let taken = memory.around(by, claim, at).take(TAKEN_MAX).collect();
            return Ok(Some(InTheWay { line: claim.line(), taken }));
        }
        Err(why @ Excluded::Forgotten) => (Reason::ClockSkew, why),
        Err(why @ (Excluded::TooMany | Excluded::Lowered)) => (Reason::VelocityLimit, why),
    };
    Err(Refusal::new(reason).with("round", "claims").with("detail", why.to_string()))
}
