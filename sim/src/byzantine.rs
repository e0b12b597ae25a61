//! A member that cheats: a correct node behind a hand that changes what it sends in sessions.

use crate::cluster::Cluster;
use crate::packet::Body;
use crate::world::node_name;
use prost::Message as _;
use serde::{Deserialize, Serialize};
use tally_domain::boot::Statement;
use tally_domain::dsse::SigningKey;
use tally_domain::vote::{VOTE_TYPE, VoteBody};
use tally_domain::{Attempt, Digest, Incarnation, NodeName};
use tally_signer::boot::Uncertified;

/// The messages of sessions, as the signer writes them after its version byte: a cheat speaks the language.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Message {
    Hello { nonce: [u8; 32], about: [u8; 32] },
    Protocol { echo: [u8; 32], bytes: Vec<u8> },
    Statement(Vec<u8>),
    Partial(Vec<u8>),
    Abort(String),
    Votes(Vec<Vec<u8>>),
}

const VERSION: u8 = 1;

/// Reads a session's message.
pub(crate) fn read(bytes: &[u8]) -> Option<Message> {
    let (version, rest) = bytes.split_first()?;
    if *version == VERSION { postcard::from_bytes(rest).ok() } else { None }
}

pub(crate) fn write(message: &Message) -> Vec<u8> {
    let mut bytes = vec![VERSION];
    bytes.extend(postcard::to_stdvec(message).expect("encoding to memory"));
    bytes
}

/// Where a session is when a message of a kind is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Greetings.
    Hello,
    /// The threshold protocol.
    Offline,
    /// Votes.
    Vote,
    /// Partial signatures.
    Combine,
}

/// What the cheat does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behaviour {
    /// Nothing yet; it remembers what it sends and sees.
    Watch,
    /// Another greeting to each member.
    EquivocateHello,
    /// A greeting for something else.
    WrongAbout,
    /// Says it saw other greetings.
    FlipEcho,
    /// Bytes that are no message.
    Malformed,
    /// A protocol message with a kilobyte too many.
    Oversized,
    /// A bit of the protocol message is changed.
    FlipProtocol,
    /// A greeting where the vote is due.
    HelloForVote,
    /// A partial where the greeting is due.
    PartialForHello,
    /// Everything twice.
    Twice,
    /// Far ahead of its turn, many times.
    Flood,
    /// The protocol message of an earlier session.
    Replay,
    /// A vote for another digest.
    VoteDigest,
    /// A vote for another attempt.
    VoteAttempt,
    /// A vote for another S.
    VoteSigners,
    /// A vote for another bundle.
    VoteBundle,
    /// A vote for other one-time material.
    VoteNonce,
    /// Another member's vote.
    VoteOfAnother,
    /// A vote whose boot certificate the identity has not signed.
    VoteForgedBoot,
    /// A statement of another kind than a vote.
    VoteOtherType,
    /// A bit of the partial is changed.
    FlipPartial,
    /// The partial of an earlier session.
    PartialOfAnother,
    /// Leads a next attempt although all of an earlier one have released, and without a promise.
    StartAnew,
    /// Votes for whatever it is asked to, and remembers nothing of it.
    VoteForAll,
    /// Says nothing from this stage on.
    SilentAt(Stage),
    /// Says nothing from this round of the threshold protocol on.
    SilentInRound(u8),
    /// Leaves at this stage, with a word that correct members use.
    AbortAt(Stage),
    /// Leaves at this stage, with a word that they do not.
    BabbleAt(Stage),
}

/// The cheat and what it remembers.
pub(crate) struct Cheat {
    pub(crate) node: NodeName,
    behaviour: Behaviour,
    silent: bool,
    protocol: Option<Vec<u8>>,
    partial: Option<Vec<u8>>,
    vote_of_another: Option<Vec<u8>>,
}

impl Cluster {
    /// From now on this node is not what it seems; it only watches until it is told what to do.
    pub fn corrupt(&mut self, node: &NodeName) {
        self.cheat = Some(Cheat {
            node: node.clone(),
            behaviour: Behaviour::Watch,
            silent: false,
            protocol: None,
            partial: None,
            vote_of_another: None,
        });
    }

    /// Tells the cheat what to do.
    pub fn misbehave(&mut self, behaviour: Behaviour) {
        if let Some(cheat) = &mut self.cheat {
            (cheat.behaviour, cheat.silent) = (behaviour, false);
        }
    }
}

impl Cheat {
    /// Whether it votes for whatever it is asked to.
    pub(crate) fn votes_for_all(&self) -> bool {
        self.behaviour == Behaviour::VoteForAll
    }

    /// Whether it starts anew where it should finish.
    pub(crate) fn starts_anew(&self) -> bool {
        self.behaviour == Behaviour::StartAnew
    }

    /// Something comes to the cheat.
    pub(crate) fn receives(&mut self, body: &Body) {
        if let Body::Session { bytes, .. } = body
            && let Some(Message::Statement(vote)) = read(bytes)
        {
            self.vote_of_another.get_or_insert(vote);
        }
    }

    /// What really leaves.
    pub(crate) fn send(&mut self, cluster: &Cluster, to: &NodeName, body: Body) -> Vec<Body> {
        let Body::Session { key, bytes } = body else { return vec![body] };
        let message = read(&bytes).expect("the correct node inside sends correct messages");
        if self.behaviour == Behaviour::Watch {
            self.remember(&message);
        }
        let out = self.change(cluster, to, message, bytes);
        out.into_iter().map(|bytes| Body::Session { key, bytes }).collect()
    }

    fn remember(&mut self, message: &Message) {
        match message {
            Message::Protocol { bytes, .. } => self.protocol = Some(bytes.clone()),
            Message::Partial(bytes) => self.partial = Some(bytes.clone()),
            Message::Hello { .. } | Message::Statement(_) | Message::Abort(_) | Message::Votes(_) => {}
        }
    }

    fn change(&mut self, cluster: &Cluster, to: &NodeName, message: Message, plain: Vec<u8>) -> Vec<Vec<u8>> {
        use Behaviour as B;
        if let B::SilentAt(stage) = self.behaviour {
            self.silent |= stage_of(&message).is_none_or(|at| at >= stage);
            return if self.silent { Vec::new() } else { vec![plain] };
        }
        if let B::SilentInRound(round) = self.behaviour {
            self.silent |= round_of(&message).is_none_or(|at| at >= round);
            return if self.silent { Vec::new() } else { vec![plain] };
        }
        let word = match self.behaviour {
            B::AbortAt(stage) if stage_of(&message) == Some(stage) => Some("SESSION_ABORTED"),
            B::BabbleAt(stage) if stage_of(&message) == Some(stage) => Some("I had to go"),
            _ => None,
        };
        if let Some(word) = word {
            return vec![write(&Message::Abort(word.into()))];
        }
        let changed = match (self.behaviour, message) {
            (B::EquivocateHello, Message::Hello { mut nonce, about }) => {
                nonce[0] ^= to.as_str().bytes().last().unwrap_or(1);
                Message::Hello { nonce, about }
            }
            (B::WrongAbout, Message::Hello { nonce, mut about }) => {
                about[0] ^= 1;
                Message::Hello { nonce, about }
            }
            (B::FlipEcho, Message::Protocol { mut echo, bytes }) => {
                echo[0] ^= 1;
                Message::Protocol { echo, bytes }
            }
            (B::Malformed, Message::Protocol { .. }) => return vec![vec![VERSION, 0xff, 0xff, 0xff]],
            (B::Oversized, Message::Protocol { echo, mut bytes }) => {
                bytes.resize(tally_mpc::MESSAGE_MAX_BYTES + 1, 0);
                Message::Protocol { echo, bytes }
            }
            (B::FlipProtocol, Message::Protocol { echo, mut bytes }) => {
                let at = bytes.len() - 1;
                bytes[at] ^= 1;
                Message::Protocol { echo, bytes }
            }
            (B::HelloForVote, Message::Statement(_)) => Message::Hello { nonce: [1; 32], about: [2; 32] },
            (B::PartialForHello, Message::Hello { .. }) => Message::Partial(vec![1, 2, 3]),
            (B::PartialForHello, _) => return Vec::new(),
            (B::Twice, _) => return vec![plain.clone(), plain],
            (B::Flood, Message::Hello { .. }) => {
                return vec![write(&Message::Partial(vec![0; 9])); 5];
            }
            (B::Replay, Message::Protocol { echo, .. }) => {
                Message::Protocol { echo, bytes: self.protocol.clone().expect("an earlier session") }
            }
            (B::FlipPartial, Message::Partial(mut bytes)) => {
                let at = bytes.len() - 32;
                bytes[at] ^= 1;
                Message::Partial(bytes)
            }
            (B::PartialOfAnother, Message::Partial(_)) => {
                Message::Partial(self.partial.clone().expect("an earlier session"))
            }
            (_, Message::Statement(vote)) => Message::Statement(self.vote(cluster, vote)),
            _ => return vec![plain],
        };
        vec![write(&changed)]
    }

    fn vote(&self, cluster: &Cluster, plain: Vec<u8>) -> Vec<u8> {
        use Behaviour as B;
        let live = cluster.nodes[&self.node].live.as_ref().expect("a cheat that votes is up");
        let statement = Statement::decode(plain.as_slice()).expect("an honest vote");
        let payload = statement.signed.as_ref().expect("an honest vote").payload.clone();
        let vote = VoteBody::from_bytes(&payload).expect("an honest vote");
        let elsewhere = Digest::of(b"something else");
        let other = match self.behaviour {
            B::VoteDigest => VoteBody { digest: elsewhere, ..vote },
            B::VoteAttempt => VoteBody { attempt: Attempt(vote.attempt.0 + 1), ..vote },
            B::VoteSigners => {
                let mut signers = vote.signers.clone();
                let absent = (1..).map(node_name).find(|n| !signers.contains(n)).expect("another name");
                let at = signers.iter().position(|n| *n != self.node).expect("another member");
                signers[at] = absent;
                VoteBody { signers, ..vote }
            }
            B::VoteBundle => VoteBody { bundle: elsewhere, ..vote },
            B::VoteNonce => VoteBody { nonce_binding: elsewhere, ..vote },
            B::VoteOfAnother => return self.vote_of_another.clone().expect("an earlier session"),
            B::VoteForgedBoot => {
                let cluster = live.boot.cluster.clone();
                let forged = Uncertified::new(cluster, self.node.clone(), Incarnation(99), &[66; 32]);
                let not_the_token = SigningKey::ed25519(&[67; 32]);
                let signature = not_the_token.sign(&forged.to_sign());
                let forged = forged.certified(not_the_token.verifying_key().to_string(), signature);
                return vote.sign(forged.key(), forged.cert()).encode_to_vec();
            }
            B::VoteOtherType => {
                let kind = format!("{VOTE_TYPE}; not");
                return Statement::sign(&kind, payload, live.boot.key(), live.boot.cert()).encode_to_vec();
            }
            _ => return plain,
        };
        other.sign(live.boot.key(), live.boot.cert()).encode_to_vec()
    }
}

/// Which round of the threshold protocol a message is of, 0 before it; none after it.
pub(crate) fn round_of(message: &Message) -> Option<u8> {
    match message {
        Message::Hello { .. } => Some(0),
        // Version and round begin every message of `tally-mpc`.
        Message::Protocol { bytes, .. } => bytes.get(1).copied(),
        Message::Statement(_) | Message::Votes(_) | Message::Partial(_) | Message::Abort(_) => None,
    }
}

fn stage_of(message: &Message) -> Option<Stage> {
    match message {
        Message::Hello { .. } => Some(Stage::Hello),
        Message::Protocol { .. } => Some(Stage::Offline),
        Message::Statement(_) | Message::Votes(_) => Some(Stage::Vote),
        Message::Partial(_) => Some(Stage::Combine),
        Message::Abort(_) => None,
    }
}
