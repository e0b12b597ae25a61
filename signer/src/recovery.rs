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
        /// For each earlier attempt, a promise of a node that it needed.
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
///
/// Two leaders who did not know of each other may have proposed one number to two sets of nodes. The votes of at most
/// one of the sets are complete, and a promise ends only what its maker was needed for.
pub fn next(reports: &[Report]) -> Next {
    let mut attempts: BTreeMap<Attempt, Vec<&Report>> = BTreeMap::new();
    for report in reports {
        attempts.entry(report.vote.attempt).or_default().push(report);
    }
    let mut abandonments: Vec<Statement> = Vec::new();
    let mut last = Attempt(0);
    for (attempt, reports) in attempts {
        last = attempt;
        for (at, report) in reports.iter().enumerate() {
            let vote = &report.vote;
            if reports.iter().take(at).any(|r| r.vote == *vote) {
                continue;
            }
            match promise(vote, &reports) {
                Some(statement) if abandonments.contains(statement) => {}
                Some(statement) => abandonments.push(statement.clone()),
                None => return undecided(vote, &reports),
            }
        }
    }
    Next::Start { attempt: Attempt(last.0.saturating_add(1)), abandonments }
}

/// The promise of a node without which `vote` cannot complete.
fn promise<'a>(vote: &VoteBody, reports: &[&'a Report]) -> Option<&'a Statement> {
    reports.iter().filter(|r| vote.signers.contains(&r.node)).find_map(|r| match &r.end {
        End::Abandoned(statement) => Some(statement),
        End::Released { .. } => None,
    })
}

/// Nobody that was needed has promised: either all have released, or someone has not been heard.
fn undecided(vote: &VoteBody, reports: &[&Report]) -> Next {
    let mut allowed = None;
    let mut partials = BTreeMap::new();
    for report in reports.iter().filter(|r| r.vote == *vote) {
        if let End::Released { partial, certificate } = &report.end {
            allowed.get_or_insert(certificate);
            partials.insert(report.node.clone(), partial.clone());
        }
    }
    let missing: Vec<_> = vote.signers.iter().filter(|s| !partials.contains_key(*s)).cloned().collect();
    match allowed {
        Some(certificate) if missing.is_empty() => {
            Next::Combine { vote: Box::new(vote.clone()), certificate: certificate.clone(), partials }
        }
        _ => Next::InDoubt { attempt: vote.attempt, missing },
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
