//! What to do with a request that earlier attempts left unfinished: at most one signature is ever returned for it.
//!
//! An attempt ends in one of two ways that exclude each other at every member: its partial is released (durable, and
//! given out again, byte for byte), or the member has promised in writing never to release it. All t partials are
//! needed, so one promise ends an attempt; all t partials complete it. While a member of an attempt is away and nobody
//! of it has promised, the attempt is in doubt and no other may start (`reference` G3, G4).

use std::collections::BTreeMap;
use tally_domain::boot::Statement;
use tally_domain::roster::Roster;
use tally_domain::vote::{Abandonment, Certificate, VoteBody};
use tally_domain::{Attempt, NodeName};

/// What one node says it did in one attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Who says it.
    pub node: NodeName,
    /// What it voted for.
    pub vote: VoteBody,
    /// How it ended there.
    pub end: End,
}

/// How an attempt ended at one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// A partial was released under a certificate.
    Released {
        /// Its bytes.
        partial: Vec<u8>,
        /// What allowed it.
        certificate: Certificate,
    },
    /// A promise never to release.
    Abandoned(Statement),
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// All of S have released: combine the stored partials.
    Combine {
        /// What was voted for.
        vote: Box<VoteBody>,
        /// What allowed it.
        certificate: Certificate,
        /// The partials by node.
        partials: BTreeMap<NodeName, Vec<u8>>,
    },
    /// Every earlier attempt is dead: start this one, showing the promises.
    Start {
        /// Number of the new attempt.
        attempt: Attempt,
        /// One promise for each earlier attempt.
        abandonments: Vec<Statement>,
    },
    /// An attempt may still complete at nodes that did not answer.
    InDoubt {
        /// Which.
        attempt: Attempt,
        /// Who has to answer.
        missing: Vec<NodeName>,
    },
}

/// Decides from what this node and the others report. Reports that contradict a certificate are left out by the
/// caller, which has checked every statement against the roster.
pub fn next(reports: &[Report]) -> Next {
    let mut by_attempt: BTreeMap<Attempt, Vec<&Report>> = BTreeMap::new();
    for report in reports {
        by_attempt.entry(report.vote.attempt).or_default().push(report);
    }
    let mut abandonments = Vec::new();
    let mut last = Attempt(0);
    for (attempt, reports) in by_attempt {
        last = attempt;
        if let Some(promise) = reports.iter().find_map(|r| match &r.end {
            End::Abandoned(statement) => Some(statement.clone()),
            End::Released { .. } => None,
        }) {
            abandonments.push(promise);
            continue;
        }
        return undecided(attempt, &reports);
    }
    Next::Start { attempt: Attempt(last.0.saturating_add(1)), abandonments }
}

/// Nobody of the attempt has promised: either all have released, or someone has not been heard.
fn undecided(attempt: Attempt, reports: &[&Report]) -> Next {
    let released: BTreeMap<NodeName, Vec<u8>> = reports
        .iter()
        .filter_map(|r| match &r.end {
            End::Released { partial, .. } => Some((r.node.clone(), partial.clone())),
            End::Abandoned(_) => None,
        })
        .collect();
    let first = reports.iter().find_map(|r| match &r.end {
        End::Released { certificate, .. } => Some((&r.vote, certificate)),
        End::Abandoned(_) => None,
    });
    let Some((vote, certificate)) = first else {
        return Next::InDoubt { attempt, missing: Vec::new() };
    };
    let missing: Vec<_> = vote.signers.iter().filter(|s| !released.contains_key(*s)).cloned().collect();
    if missing.is_empty() {
        Next::Combine { vote: Box::new(vote.clone()), certificate: certificate.clone(), partials: released }
    } else {
        Next::InDoubt { attempt, missing }
    }
}

/// Whether the promises shown with a proposal end every attempt that this node has voted for below `attempt`.
/// `voted` is this node's own record: attempts it voted for, with their signers.
pub fn proves_dead(
    voted: &[(Attempt, Vec<NodeName>)],
    attempt: Attempt,
    subject: &crate::admit::Subject,
    abandonments: &[Statement],
    roster: &Roster,
) -> bool {
    let promises: Vec<(NodeName, Abandonment)> =
        abandonments.iter().filter_map(|s| Abandonment::open(s, roster).ok()).collect();
    let intent = subject.intent();
    voted.iter().filter(|(a, _)| *a < attempt).all(|(a, signers)| {
        promises.iter().any(|(node, p)| {
            p.attempt == *a && p.tenant == intent.tenant && p.request_id == intent.request_id && signers.contains(node)
        })
    })
}
