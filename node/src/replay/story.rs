//! What became of each request of the log, which is known only at the log's end: the decision that counted, whether it was
//! signed, and what persons said.

use crate::node::Node;
use crate::past::{Happened, Logged, Past, look_back};
use std::collections::{BTreeSet, HashMap};
use tally_audit::event::Verdict;
use tally_domain::approval;
use tally_domain::{Approval, Digest, PersonName, Reason, Refusal, RequestId, Tenant, UnixMillis};

/// A decision that can be compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// `permit`, `deny` or `needs-approval`.
    pub verdict: &'static str,
    /// A reason's word.
    pub reason: String,
    /// The rule.
    pub rule: String,
}

impl Outcome {
    /// As it was logged; nothing where no rule was asked.
    fn of(verdict: &Verdict) -> Option<Self> {
        let (verdict, reason, rule) = match verdict {
            Verdict::Permitted { rule } => ("permit", String::new(), rule.clone()),
            Verdict::Refused { reason, rule, .. } => {
                let verdict = match Reason::parse(reason)? {
                    Reason::PolicyDenied
                    | Reason::TxOpaque
                    | Reason::BundleExpired
                    | Reason::VelocityLimit
                    | Reason::Rejected => "deny",
                    Reason::ApprovalsRequired => "needs-approval",
                    _ => return None,
                };
                (verdict, reason.clone(), rule.clone())
            }
        };
        Some(Self { verdict, reason, rule })
    }

    /// How far it lets a request go.
    pub fn reach(&self) -> u8 {
        match self.verdict {
            "permit" => 2,
            "needs-approval" => 1,
            _ => 0,
        }
    }

    /// Verdict and reason.
    pub fn words(&self) -> String {
        if self.reason.is_empty() { self.verdict.into() } else { format!("{} {}", self.verdict, self.reason) }
    }
}

/// One request.
pub struct Story {
    /// The leaf of the decision that counted: the last by a rule, or else the first.
    pub leaf: u64,
    by_rule: bool,
    /// It was signed, as far as this node knows.
    pub signed: bool,
    said: Vec<Approval>,
}

impl Story {
    /// Those who had approved and rejected an intent, by statements that had not expired when it was decided.
    pub fn persons(&self, intent: Digest, at: UnixMillis) -> (BTreeSet<PersonName>, BTreeSet<PersonName>) {
        let by = |verdict| {
            let counts = move |said: &&Approval| {
                let lives = said.expires_at > at || verdict == approval::Verdict::Reject;
                said.verdict == verdict && said.intent_digest == intent && lives
            };
            self.said.iter().filter(counts).map(|said| said.person.clone()).collect()
        };
        (by(approval::Verdict::Approve), by(approval::Verdict::Reject))
    }

    /// What became of it: a rejection is final, whether or not anyone asked again.
    pub fn outcome(&self, logged: &Logged) -> Option<Outcome> {
        let rejects =
            |said: &Approval| said.verdict == approval::Verdict::Reject && said.intent_digest == logged.digest;
        if !self.signed && self.said.iter().any(rejects) {
            let reason = Reason::Rejected.as_str().into();
            return Some(Outcome { verdict: "deny", reason, rule: String::new() });
        }
        Outcome::of(&logged.verdict)
    }

    fn decided(&mut self, leaf: u64, logged: &Logged) {
        let by_rule = Outcome::of(&logged.verdict).is_some();
        if by_rule || !self.by_rule {
            self.leaf = if by_rule { leaf } else { self.leaf.min(leaf) };
            self.by_rule |= by_rule;
        }
    }
}

/// All requests of the log from a time on that were decided about.
///
/// # Errors
/// `STORAGE`, `TAMPERED`.
pub fn stories(node: &Node, since: UnixMillis, end: u64) -> Result<HashMap<(Tenant, RequestId), Story>, Refusal> {
    let mut all: HashMap<(Tenant, RequestId), Story> = HashMap::new();
    look_back(node, since, end, |Past { leaf, tenant, request, what, .. }| {
        let story = all.entry((tenant, request)).or_insert_with(|| Story {
            leaf: u64::MAX,
            by_rule: false,
            signed: false,
            said: Vec::new(),
        });
        match what {
            Happened::Decided(logged) => story.decided(leaf, &logged),
            Happened::Said(said) => story.said.push(said.0),
            Happened::Completed => story.signed = true,
        }
        Ok(true)
    })?;
    Ok(all)
}
