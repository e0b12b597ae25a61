//! What clients read of what nodes answer: a node may be the one that lies.

use crate::sessions;
use crate::target::Verdict;
use crate::world::{self, NOW};
use prost::Message;
use tally_client::testing::{ANSWERS, Answered, comes_back, status, status_details};
use tally_client::{ClientError, Exit};
use tally_domain::Reason;
use tally_proto::v1;

pub const WORDS: &[&str] =
    &["node-1", "acme", "hot", "all", "key", "signer", "threshold", "hsm", "aes-256", "tok_a", "tally"];

/// What is shown of an answer, at most, for each byte of it: names of fields come to it, and what takes more is a bomb.
const SHOWN_PER_BYTE: usize = 400;

/// Longest pause that a client makes for a node: what it may ask for, and half of that.
const PAUSE_MAX_MS: u128 = 15_000;

/// The first byte says which answer the rest is.
pub fn answer(bytes: &[u8]) -> Verdict {
    let Some((which, bytes)) = bytes.split_first() else { return Verdict::said("nothing") };
    let Some((name, read)) = ANSWERS.get(usize::from(*which)) else { return Verdict::said("none of them") };
    match read(bytes) {
        Answered::NoMessage => Verdict::said("not protobuf"),
        Answered::BadField(field) => Verdict::Refused(format!("{name} {field}")),
        Answered::Read(shown) => {
            let Answered::Read(again) = read(bytes) else { panic!("read once") };
            assert_eq!(shown, again, "two readings");
            assert!(shown.len() <= (bytes.len() + 16) * SHOWN_PER_BYTE, "{} bytes of {}", shown.len(), bytes.len());
            Verdict::Read((*name).into())
        }
    }
}

/// The first byte is a status code, the rest its details. A denial is not tried again, and no pause is endless.
pub fn refusal(bytes: &[u8]) -> Verdict {
    let Some((code, details)) = bytes.split_first() else { return Verdict::said("nothing") };
    let error = status((*code % 17).into(), details);
    assert!(!error.to_string().is_empty());
    let pause = comes_back(&error);
    assert!(pause.is_none_or(|pause| pause.as_millis() <= PAUSE_MAX_MS), "{pause:?}");
    assert!(error.exit() != Exit::Denied || !error.is_transient(), "a denial is tried again");
    match &error {
        ClientError::Refused(refused) => {
            assert!(Reason::parse(refused.reason.as_str()) == Some(refused.reason));
            Verdict::Read(format!("{:?} {}", refused.reason, pause.is_some()))
        }
        ClientError::UnknownReason { .. } => Verdict::Read("unknown".into()),
        other => Verdict::Refused(format!("{}", other.exit().code())),
    }
}

pub fn refusals() -> Vec<Vec<u8>> {
    let words = [("POLICY_DENIED", 7, None), ("OVERLOADED", 8, Some(2)), ("NOT_A_WORD_YET", 9, Some(u64::MAX))];
    words.map(|(word, code, seconds)| [vec![code], status_details(word, seconds)].concat()).into()
}

fn digest() -> Vec<u8> {
    vec![7; 32]
}

fn key() -> v1::Key {
    v1::Key {
        name: "hot".into(),
        backing: "threshold".into(),
        scheme: "ed25519".into(),
        purpose: "message".into(),
        state: "active".into(),
        t: 2,
        n: 2,
        epoch: 1,
        participants: vec!["node-1".into(), "node-2".into()],
        public_key: digest(),
        chain_code: digest(),
        ..Default::default()
    }
}

fn request() -> v1::Request {
    v1::Request {
        tenant: "acme".into(),
        request_id: vec![7; 16],
        client: "payouts".into(),
        key: "hot".into(),
        action: "sign".into(),
        intent_digest: digest(),
        state: v1::RequestState::Refused.into(),
        reason: "POLICY_DENIED".into(),
        ..Default::default()
    }
}

fn pending() -> v1::PendingRequest {
    let key = world::client().verifying_key().to_string();
    let said = v1::PersonSaid { person: "alice".into(), verdict: "approved".into(), at_ms: NOW.0, key };
    v1::PendingRequest {
        node: "node-1".into(),
        tenant: "acme".into(),
        request_id: vec![7; 16],
        client: "payouts".into(),
        key: "hot".into(),
        intent_digest: digest(),
        bundle_digest: digest(),
        summary_digest: digest(),
        owner: "node-2".into(),
        said: vec![said],
        ..Default::default()
    }
}

fn told() -> Option<v1::Told> {
    Some(v1::Told { acknowledged: vec!["node-1".into()], waiting: vec!["node-2".into()] })
}

fn proposal() -> v1::Proposal {
    v1::Proposal {
        version: 2,
        digest: digest(),
        previous: digest(),
        vetoed_by: vec!["node-1".into()],
        ..Default::default()
    }
}

fn frozen() -> v1::FreezeResponse {
    let name = Some(v1::FreezeName { node: "node-1".into(), id: vec![5; 16] });
    let freeze = v1::Freeze { scope: "all".into(), name, intent_digest: digest(), ..Default::default() };
    v1::FreezeResponse { freeze: Some(freeze), told: told(), ..Default::default() }
}

fn charge() -> v1::LimitCharge {
    v1::LimitCharge {
        limit: "a-day".into(),
        amount: "5".into(),
        max: "10".into(),
        taken: Some("3".into()),
        left: Some("7".into()),
        ..Default::default()
    }
}

fn judgement() -> v1::Judgement {
    v1::Judgement { version: 2, bundle: digest(), approvers: vec!["alice".into()], ..Default::default() }
}

fn limits() -> v1::GetLimitsResponse {
    let units = |n: u128| n.to_be_bytes().to_vec();
    let taken = [(0, 5), (3, 9)].map(|(from, to)| v1::Taken { from: units(from), to: units(to), free_at_ms: NOW.0 });
    let line = v1::LimitLine { line: digest(), taken: taken.to_vec(), ..Default::default() };
    let limit = v1::Limit {
        id: "a-day".into(),
        max: units(10),
        window_ms: 60_000,
        counts: Some(v1::limit::Counts::Count(Default::default())),
        lines: vec![line],
        ..Default::default()
    };
    v1::GetLimitsResponse { node: "node-1".into(), bundle_digest: digest(), limits: vec![limit], ..Default::default() }
}

fn node() -> v1::GetStatusResponse {
    let peer = v1::Peer { node: "node-2".into(), role: "signer".into(), ..Default::default() };
    v1::GetStatusResponse {
        cluster: "test".into(),
        node: "node-1".into(),
        role: "signer".into(),
        bundle_digest: digest(),
        hsm: Some(v1::HsmStatus { standby: Some(Box::default()), ..Default::default() }),
        quorum: Some(v1::Quorum::default()),
        peers: vec![peer],
        ..Default::default()
    }
}

fn kek() -> v1::Kek {
    let version = v1::KekVersion { number: 1, id: vec![1; 16], ..Default::default() };
    v1::Kek { name: "vault".into(), home: "node-1".into(), versions: vec![version], ..Default::default() }
}

/// One of each, behind the number of its reader.
pub fn answers() -> Vec<Vec<u8>> {
    let home = || "node-1".to_owned();
    let decided =
        v1::Decided { bundle: digest(), again: Some(judgement()), limits: vec![charge()], ..Default::default() };
    let token = v1::TokenInfo { token: "tok_a".into(), ..Default::default() };
    let all: Vec<(&str, Vec<u8>)> = vec![
        ("signed", sessions::results().remove(0)),
        ("key", key().encode_to_vec()),
        ("request", request().encode_to_vec()),
        ("page", v1::ListRequestsResponse { requests: vec![request()], ..Default::default() }.encode_to_vec()),
        ("pending", pending().encode_to_vec()),
        (
            "proposed",
            v1::ProposeResponse { proposal: Some(proposal()), told: told(), ..Default::default() }.encode_to_vec(),
        ),
        ("vetoed", v1::VetoResponse { proposal: Some(proposal()), told: told(), ..Default::default() }.encode_to_vec()),
        ("history", v1::HistoryResponse { proposals: vec![proposal()] }.encode_to_vec()),
        ("frozen", frozen().encode_to_vec()),
        ("unfrozen", v1::UnfreezeResponse { told: told(), ..Default::default() }.encode_to_vec()),
        ("judgement", judgement().encode_to_vec()),
        ("explained", v1::ExplainResponse { decisions: vec![decided], ..Default::default() }.encode_to_vec()),
        (
            "replayed",
            v1::ReplayChange { tenant: "acme".into(), request_id: vec![7; 16], ..Default::default() }.encode_to_vec(),
        ),
        ("limits", limits().encode_to_vec()),
        ("node", node().encode_to_vec()),
        ("policy", v1::GetActiveResponse { digest: digest(), ..Default::default() }.encode_to_vec()),
        ("domain", v1::TokenDomain { name: "cards".into(), home: home(), ..Default::default() }.encode_to_vec()),
        ("token", v1::GetTokenResponse { token: Some(token), home: home(), ..Default::default() }.encode_to_vec()),
        (
            "tokenized",
            v1::TokenizeResponse { token: "tok_a".into(), home: home(), ..Default::default() }.encode_to_vec(),
        ),
        (
            "found",
            v1::SearchResponse { tokens: vec!["tok_a".into()], home: home(), ..Default::default() }.encode_to_vec(),
        ),
        (
            "data key",
            v1::GenerateDataKeyResponse { wrapped: vec![1; 60], version: 1, home: home(), ..Default::default() }
                .encode_to_vec(),
        ),
        (
            "unwrapped",
            v1::UnwrapResponse { plaintext: vec![1; 32], version: 1, home: home(), ..Default::default() }
                .encode_to_vec(),
        ),
        ("kek", kek().encode_to_vec()),
    ];
    let numbered = |(name, bytes): (&str, Vec<u8>)| {
        let which = ANSWERS.iter().position(|(known, _)| *known == name).unwrap();
        [&[which as u8], bytes.as_slice()].concat()
    };
    all.into_iter().map(numbered).collect()
}
