//! What the check is held against: who takes part, and what the bundle of the log's time says of persons.

use super::bundles::{self, Bundles};
use std::collections::BTreeSet;
use tally_domain::dsse::VerifyingKey;
use tally_domain::roster::Roster;
use tally_domain::{ClientId, Digest, PersonName};

/// What a policy bundle says of approvals. This crate does not read bundles: whoever does tells it.
pub trait Approvers {
    /// Which bundle.
    fn bundle(&self) -> Digest;

    /// The keys of a person; nothing for one that the bundle does not name.
    fn keys(&self, person: &PersonName) -> Option<Vec<VerifyingKey>>;

    /// Whether these persons are enough for what a client asks under a rule, and all rules where they are several with `,`
    /// between. A rule that asks nobody is met by nobody; one that the bundle does not have is met by no one.
    fn enough(&self, rule: &str, client: &ClientId, persons: &BTreeSet<PersonName>) -> bool;
}

/// Roster, and bundles where there are any.
#[derive(Clone, Copy)]
pub struct Basis<'a> {
    pub(super) roster: &'a Roster,
    pub(super) approvers: &'a [&'a dyn Approvers],
    pub(super) bundles: &'a Bundles,
}

impl<'a> Basis<'a> {
    /// With the persons and rules of these bundles: what was decided under one of them is held against it.
    #[must_use]
    pub fn with_approvers(self, approvers: &'a [&'a dyn Approvers]) -> Self {
        Self { approvers, ..self }
    }

    /// For logs of nodes whose policy is signed: each leaf is held against the bundle of its time. The roster is the first
    /// one's.
    #[must_use]
    pub fn under(self, bundles: &'a Bundles) -> Self {
        Self { bundles, ..self }
    }
}

/// Without a bundle: signatures of persons are taken on the nodes' word, what is said with them is not.
impl<'a> From<&'a Roster> for Basis<'a> {
    fn from(roster: &'a Roster) -> Self {
        Self { roster, approvers: &[], bundles: &bundles::NONE }
    }
}
