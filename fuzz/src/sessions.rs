//! Sessions of nodes: what an honest member makes of what the other one sends, from the greeting to the result; and what is
//! told of them afterwards, as results and as logs.

use crate::cast::{Cast, Kind, Out, SESSIONS, Session};
use crate::target::Verdict;
use prost::Message as _;
use std::collections::VecDeque;
use std::sync::LazyLock;
use tally_audit::export::{encode_entries, parse_entries};
use tally_audit::verify::{FINDINGS_MAX, verify_log};
use tally_domain::dsse::VerifyingKey;
use tally_domain::ports::store::Write;
use tally_domain::{NodeName, Reason};
use tally_mpc::Fault;
use tally_signer::keygen_session::Created;
use tally_signer::result::{SignResult, check};
use tally_signer::session::{Failure, Trouble};

/// Most messages that are given to one session: more than any has, and what comes early.
const MESSAGES_MAX: usize = 16;

/// What one member sends in a session, at most: a share of a vote for each of its messages would be more.
const SENT_MAX_BYTES: usize = 64 * 1024;

static CAST: LazyLock<Cast> = LazyLock::new(Cast::new);

/// What a session ends with.
pub enum Done {
    /// A signature.
    Signed(Box<SignResult>),
    /// A key.
    Made(Box<Created>),
}

/// The first byte says which session; behind it messages, each behind its length in two bytes.
pub fn session(bytes: &[u8]) -> Verdict {
    let Some((which, mut rest)) = bytes.split_first() else { return Verdict::said("nothing") };
    let Some(kind) = SESSIONS.get(usize::from(*which)) else { return Verdict::said("no session") };
    let (cast, peer) = (&*CAST, Cast::node(2));
    let (mut session, first) = Session::start(cast, *kind, &Cast::node(1));
    let (mut sent, mut taken) = (first.iter().map(Vec::len).sum::<usize>(), 0);
    while let Some(([high, low], behind)) = rest.split_first_chunk::<2>() {
        if taken == MESSAGES_MAX {
            break;
        }
        let length = usize::from(u16::from_be_bytes([*high, *low])).min(behind.len());
        let (message, behind) = behind.split_at(length);
        (rest, taken) = (behind, taken + 1);
        let mut out = Out::default();
        match session.message(cast, &peer, message, &mut out) {
            Ok(Some(done)) => return finished(cast, &done),
            Ok(None) => {}
            Err(trouble) => return ended(session, &trouble, &peer),
        }
        sent += out.sent.iter().map(Vec::len).sum::<usize>();
        assert!(sent <= SENT_MAX_BYTES, "{sent} bytes are sent for {taken} messages");
    }
    Verdict::Read(format!("{kind:?} waits: {}", session.stage()))
}

/// What a member ends with holds elsewhere.
fn finished(cast: &Cast, done: &Done) -> Verdict {
    match done {
        Done::Signed(result) => {
            holds(cast, result);
            let told = check(&result.encode_to_vec(), &cast.subject(), cast.bundle.roster());
            assert_eq!(told.as_ref(), Ok(&**result), "what this node would tell, others would not believe");
            Verdict::Read("signed".into())
        }
        Done::Made(created) => {
            let record = created.certificate.open(cast.bundle.roster());
            assert_eq!(record.as_ref(), Ok(&created.record), "a key without its certificate");
            Verdict::Read("made".into())
        }
    }
}

/// The signature verifies over what the client asked for, and both have voted for it.
fn holds(cast: &Cast, result: &SignResult) {
    let content = &cast.subject().intent().content.clone();
    assert_eq!(&result.signed_bytes, content, "something else is signed");
    let key = VerifyingKey::ed25519(&result.public_key).unwrap();
    let signature = result.signature.as_ref().unwrap();
    assert!(key.verify(content, &signature.bytes).is_ok(), "a signature that does not verify");
    let vote = result.certificate.as_ref().unwrap().open_signers(cast.bundle.roster()).unwrap();
    assert_eq!(vote.signers, [Cast::node(1), Cast::node(2)]);
}

/// Nobody is blamed but the sender, and it is nobody's mistake here.
fn ended(session: Session, trouble: &Trouble, peer: &NodeName) -> Verdict {
    let ours = matches!(trouble, Trouble::Own(_) | Trouble::Crashed { .. } | Trouble::Silent { .. });
    assert!(!ours && !matches!(trouble, Trouble::Fault(Fault::Bug { .. } | Fault::Caller { .. })), "{trouble:?}");
    let Failure { step, refusal, culprits, missing } = session.fail(trouble);
    assert!(culprits.iter().chain(&missing).all(|blamed| blamed == peer), "{culprits:?} {missing:?}");
    let bans_another = |write: &Write| matches!(write, Write::Ban { peer: banned, .. } if banned != peer);
    assert!(!step.writes.iter().any(bans_another), "{step:?}");
    assert!(refusal.reason != Reason::Bug, "{refusal:?}");
    Verdict::refused(&format_args!("{trouble:?}"))
}

/// All that an honest member sends, in each session.
pub fn sessions() -> Vec<Vec<u8>> {
    let framed = |(which, kind)| {
        let mut bytes = vec![which];
        for message in dialogue(&CAST, kind).sent {
            bytes.extend(u16::try_from(message.len()).unwrap().to_be_bytes());
            bytes.extend(message);
        }
        bytes
    };
    (0..).zip(SESSIONS).map(framed).collect()
}

static RESULT: LazyLock<Vec<u8>> = LazyLock::new(|| match dialogue(&CAST, SESSIONS[0]).done {
    Done::Signed(result) => result.encode_to_vec(),
    Done::Made(_) => panic!("the first one signs"),
});

/// Reads what another node tells of a request that is done: the true result and no other is believed.
pub fn result(bytes: &[u8]) -> Verdict {
    let read = check(bytes, &CAST.subject(), CAST.bundle.roster());
    if let Ok(result) = &read {
        holds(&CAST, result);
        assert_eq!(bytes, *RESULT, "a second result of one request");
    }
    let word = match SignResult::decode(bytes) {
        Ok(result) => (result.certificate.map_or(9, |c| c.votes.len().min(3)), result.signature.is_some()),
        Err(_) => (9, false),
    };
    match read {
        Ok(_) => Verdict::Read("result".into()),
        Err(refusal) => Verdict::Refused(format!("{:?} {word:?}", refusal.reason)),
    }
}

pub fn results() -> Vec<Vec<u8>> {
    vec![RESULT.clone()]
}

/// What two honest members do, to the end.
pub struct Dialogue {
    /// What the second one sends.
    pub sent: Vec<Vec<u8>>,
    /// What the first one writes into its log.
    pub leaves: Vec<Vec<u8>>,
    /// What the first one has then.
    pub done: Done,
}

/// Plays both of them.
pub fn dialogue(cast: &Cast, kind: Kind) -> Dialogue {
    let names = [Cast::node(1), Cast::node(2)];
    let (mut letters, mut sessions) = (VecDeque::new(), Vec::new());
    for (from, name) in names.iter().enumerate() {
        let (session, first) = Session::start(cast, kind, name);
        sessions.push(session);
        letters.extend(first.into_iter().map(|bytes| (from, bytes)));
    }
    let (mut sent, mut leaves, mut mine) = (Vec::new(), Vec::new(), None);
    while let Some((from, bytes)) = letters.pop_front() {
        let (to, mut out) = (1 - from, Out::default());
        let done = sessions[to].message(cast, &names[from], &bytes, &mut out);
        let done = done.unwrap_or_else(|trouble| panic!("{kind:?}: {trouble:?}"));
        letters.extend(out.sent.into_iter().map(|bytes| (to, bytes)));
        if to == 0 {
            sent.push(bytes);
            leaves.extend(out.leaves);
            mine = mine.or(done);
        }
    }
    Dialogue { sent, leaves, done: mine.unwrap_or_else(|| panic!("{kind:?} has no end")) }
}

/// Reads a file of leaves as an auditor does: with the checkpoint of the honest node no other leaves pass; with one over these
/// very leaves a node that lies may pass, and what is told of it is what is there.
pub fn audited(bytes: &[u8]) -> Verdict {
    let Ok(leaves) = parse_entries(bytes) else { return Verdict::said("no leaves") };
    let (roster, node) = (CAST.bundle.roster(), Cast::node(1));
    let honest = verify_log(roster, &node, &leaves, &LOG.1);
    assert_eq!(honest.is_ok(), leaves == LOG.0, "leaves that the checkpoint is not over");
    let checkpoint = Cast::checkpoint(&leaves);
    let read = verify_log(roster, &node, &leaves, &checkpoint);
    assert_eq!(read, verify_log(roster, &node, &leaves, &checkpoint), "two readings");
    match read {
        Ok(report) => {
            assert_eq!((report.entries, &report.node), (leaves.len() as u64, &node));
            Verdict::Read(format!("{} permits, {} signatures", report.permits.len().min(3), report.signatures.min(3)))
        }
        Err(found) => {
            assert!(!found.is_empty() && found.len() <= FINDINGS_MAX);
            assert!(found.iter().all(|finding| !finding.to_string().is_empty()));
            Verdict::refused(&found[0].problem)
        }
    }
}

static LOG: LazyLock<(Vec<Vec<u8>>, String)> = LazyLock::new(|| {
    let leaves = CAST.log();
    let checkpoint = Cast::checkpoint(&leaves);
    (leaves, checkpoint)
});

/// A node's log from its first start to a signature, and the beginning of it.
pub fn logs() -> Vec<Vec<u8>> {
    [LOG.0.len(), LOG.0.len() / 2].map(|n| encode_entries(LOG.0[..n].iter().map(Vec::as_slice)).unwrap()).into()
}
