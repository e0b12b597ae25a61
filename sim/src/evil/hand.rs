//! What really leaves an evil leader: other messages, questions and results than its machines made.

use super::claims::at;
use super::{Lie, Table};
use crate::byzantine::{Message, read, write};
use crate::cluster::Cluster;
use crate::node::SessionKey;
use crate::packet::Body;
use prost::Message as _;
use std::sync::Arc;
use tally_domain::boot::Statement;
use tally_domain::dsse::SigningKey;
use tally_domain::vote::VoteBody;
use tally_domain::{Attempt, Charge, Digest, Incarnation, NodeName};
use tally_signer::boot::Uncertified;
use tally_signer::result::SignResult;

impl Cluster {
    /// A session's message as this member gets it.
    pub(super) fn change(&mut self, key: SessionKey, to: &NodeName, plain: Vec<u8>) -> Vec<Vec<u8>> {
        let lie = self.how();
        let message = read(&plain).expect("an own message");
        match (lie, message) {
            (Lie::Vanish, message) if !matches!(message, Message::Hello { .. }) => Vec::new(),
            (Lie::OwnVoteWithheld, Message::Statement(_)) | (Lie::VotesWithheld, Message::Votes(_)) => Vec::new(),
            (Lie::PartialWithheld, Message::Partial(_)) => Vec::new(),
            (Lie::VotesWithheldFromOne, Message::Votes(_)) if self.is_last(key, to) => Vec::new(),
            (Lie::VotesTwice, Message::Votes(_)) => vec![plain.clone(), plain],
            (Lie::VotesUnasked, Message::Statement(own)) => vec![plain, write(&Message::Votes(vec![own]))],
            (_, Message::Votes(votes)) => vec![write(&Message::Votes(self.votes(lie, key, votes)))],
            _ => vec![plain],
        }
    }

    fn is_last(&mut self, key: SessionKey, to: &NodeName) -> bool {
        let at = self.evil().node.clone();
        let members = self.evil().tables[&key].members.names();
        members.iter().rfind(|n| **n != at) == Some(to)
    }

    /// The votes that it passes on.
    fn votes(&mut self, lie: Lie, key: SessionKey, mut votes: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
        let replaced = match lie {
            Lie::VotesTooFew => None,
            Lie::VotesOfOneForTwo => votes.first().cloned(),
            Lie::VotesForged => Some(self.forged(votes.last().expect("a vote"))),
            Lie::VotesOfStranger => Some(self.by_stranger(votes.last().expect("a vote"))),
            Lie::VotesMalformed => Some(vec![0xff; 40]),
            Lie::ClaimsDifferForVoters => {
                let table: &Table = &self.evil().tables[&key];
                Some(table.strange_votes.first().expect("a vote that was asked for first").clone())
            }
            Lie::VotesOfAnotherRequest | Lie::VotesOfAnotherAttempt => return self.evil().seen.votes.clone(),
            _ => return votes,
        };
        votes.pop();
        votes.extend(replaced);
        votes
    }

    /// The same words under a voter's certificate, signed by somebody else.
    fn forged(&mut self, vote: &[u8]) -> Vec<u8> {
        let vote = Statement::decode(vote).expect("a vote");
        let body = VoteBody::from_bytes(&vote.signed.as_ref().expect("a whole statement").payload).expect("a vote");
        let at = self.evil().node.clone();
        let boot = self.live(&at).boot.clone();
        Statement { boot_cert: vote.boot_cert, ..body.sign(boot.key(), boot.cert()) }.encode_to_vec()
    }

    /// The same words by a node that certifies itself.
    fn by_stranger(&mut self, vote: &[u8]) -> Vec<u8> {
        let vote = Statement::decode(vote).expect("a vote");
        let body = VoteBody::from_bytes(&vote.signed.as_ref().expect("a whole statement").payload).expect("a vote");
        let cluster = self.world.bundle.roster().cluster.clone();
        let stranger = NodeName::parse("node-99").expect("a name");
        let boot = Uncertified::new(cluster, stranger, Incarnation(1), &[66; 32]);
        let token = SigningKey::ed25519(&[67; 32]);
        let signature = token.sign(&boot.to_sign());
        let boot = boot.certified(token.verifying_key().to_string(), signature);
        body.sign(boot.key(), boot.cert()).encode_to_vec()
    }

    /// The same vote with a place further on the line, so many times the amount.
    fn placed(&self, vote: &VoteBody, nth: u128) -> VoteBody {
        let Some(claims) = vote.claims.as_ref() else { return vote.clone() };
        let claim = &claims.lines()[0];
        let (line, max, window_ms, amount) = (claim.line(), claim.max(), claim.window_ms(), claim.amount());
        let charge = Charge { limit: self.world.limit_id(), line, max, window_ms, amount };
        let from = claim.intervals()[0].from() + nth * amount;
        VoteBody { claims: Some(at(&charge, from, claims.issued_at())), ..vote.clone() }
    }

    /// A node is asked for a vote before there is a session.
    pub(super) fn ask_before(&mut self, key: SessionKey, voter: &NodeName, nth: u128) {
        let at = self.evil().node.clone();
        let table = &self.evil().tables[&key];
        let start = table.start.as_ref().expect("a session that has not begun");
        let (permit, mut envelope) = (start.claimed.permit(), table.arrival.envelope.clone());
        let subject = permit.subject();
        let intent = subject.intent();
        let vote = VoteBody {
            tenant: intent.tenant.clone(),
            request_id: intent.request_id,
            intent_digest: subject.opened().digest(),
            attempt: Attempt(1),
            signers: table.members.names(),
            digest: subject.digest_to_sign(),
            nonce_binding: Digest::of(b"any material"),
            session: Digest::of(b"any session"),
            bundle: permit.bundle(),
            rule: permit.rule().into(),
            claims: start.claimed.claims().cloned(),
            approvals: Vec::new(),
        };
        let twice = |name: &NodeName| vec![name.clone(); vote.signers.len()];
        let vote = match self.how() {
            Lie::IntentToVoter => {
                envelope = self.evil().spare[0].clone();
                vote
            }
            Lie::BundleInVote => VoteBody { bundle: Digest::of(b"an older one"), ..vote },
            Lie::VoteForOtherSigners => VoteBody { signers: twice(&vote.signers[0]), ..vote },
            Lie::VoteForNoClaims => VoteBody { claims: None, ..vote },
            _ => self.placed(&vote, nth),
        };
        let (envelope, body) = (Arc::new(envelope), Arc::new(vote.to_bytes()));
        let said = Arc::new(self.evil().said.clone());
        self.post(&at, voter, Body::Vote { key, envelope, said, body });
    }

    /// What a node is told of a result, if anything.
    pub(super) fn tale(
        &mut self,
        lie: Lie,
        to: &NodeName,
        members: &[NodeName],
        result: &SignResult,
    ) -> Option<Vec<u8>> {
        let mut other = result.clone();
        match lie {
            // What it has alone it keeps.
            Lie::PartialWithheld => return None,
            // Each set believes its own.
            Lie::TwoSets if !members.contains(to) => return None,
            Lie::ResultOfAnother => return Some(self.evil().seen.result.clone()),
            Lie::ResultMadeUp => return Some(vec![1, 2, 3]),
            Lie::ResultChanged => {
                if let Some(signature) = &mut other.signature {
                    signature.bytes[40] ^= 1;
                }
            }
            Lie::ResultByAnotherRule => other.rule = "notes-by-night".into(),
            _ => {}
        }
        Some(other.encode_to_vec())
    }
}
