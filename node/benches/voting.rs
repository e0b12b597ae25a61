//! What the votes of voters outside S cost, until the leader has verified as many as it needs, beside a floor from the same
//! run: one peer echo, one grouped fsync, an admission for each voter on as many cores as there are, and the verification of
//! each vote that is needed.
//!
//! `cargo bench -p tally-node --bench voting`
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    dead_code,
    missing_docs,
    reason = "a measuring program, run by hand"
)]

#[path = "../tests/e2e/harness"]
mod harness {
    pub mod certs;
    pub mod cluster;
    pub mod orders;
    pub mod people;
    pub mod raw;
}
#[path = "../tests/e2e/limits_votes.rs"]
mod limits_votes;

use futures_util::StreamExt as _;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;
use harness::cluster::{Cluster, Makeup};
use harness::orders::{create_fast, say};
use limits_votes::Asker;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tally_client::SealedIntent;
use tally_domain::boot::Statement;
use tally_domain::claim::Claimant;
use tally_domain::ports::store::{Step, Store as _, Write};
use tally_domain::vote::VOTE_TYPE;
use tally_domain::{Charge, RequestId, Tenant};
use tally_policy::{Decision, DecisionRequest, PolicyAction, decide};
use tally_proto::v1;
use tally_store::SqliteStore;

/// Rounds; what is measured takes turns, so that what else the machine does is shared.
const ROUNDS: u32 = 300;

/// A line that is not filled.
const LONG: u128 = 1_000_000;

/// Voters outside S, of five: the third signer and the witnesses.
const VOTERS: [usize; 3] = [2, 3, 4];

/// How many of them must agree: four of five, two of whom sign.
const NEEDED: usize = 2;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(measure());
}

async fn measure() {
    let limits = "[[limit]]\nid = \"fast-hour\"\nkey = \"fast\"\naction = \"sign_message\"\ncount = 3\nper = \"1h\"\n";
    let limits = limits.replace("count = 3", &format!("count = {LONG}"));
    let mut cluster = Cluster::prepare_as(Makeup { signers: 3, witnesses: 2, limits: Some(&limits) });
    (0..cluster.nodes.len()).for_each(|i| cluster.launch(i, &[]));
    cluster.all_serving().await;
    let client = cluster.client("payouts-1");
    create_fast(&client).await;
    let askers = join_all(VOTERS.map(|voter| Asker::new(&cluster, 0, voter))).await;
    let store = SqliteStore::open(&cluster.dir.path().join("floor.db")).unwrap();
    let cores = std::thread::available_parallelism().unwrap().get();

    let mut times: BTreeMap<&str, Vec<Duration>> = BTreeMap::new();
    for round in 0..ROUNDS {
        let mut note = |what, began: Instant| times.entry(what).or_default().push(began.elapsed());
        let began = Instant::now();
        askers[0].peer.clone().fetch_freezes(v1::FetchFreezesRequest { skip: 0 }).await.unwrap();
        note("one peer echo", began);

        let intent = client.seal(say(&format!("request {round}"))).unwrap();
        let body = askers[0]
            .body(&intent, Some(limits_votes::claims(&Charge { max: LONG, ..limits_votes::charge() }, round.into())));
        // A leader passes on what the client has signed and what it votes for itself.
        let request = askers[0].request(&intent, body.to_bytes());
        let began = Instant::now();
        let mut answers: FuturesUnordered<_> = askers.iter().map(|asker| asker.ask(request.clone())).collect();
        let mut votes = Vec::new();
        while let Some(answer) = answers.next().await {
            let vote = answer.unwrap().vote.expect("the line is free");
            verify(&askers[0], &vote);
            votes.push(vote);
            // As the leader does: it goes on with the last vote that it needs, and hears of the others later.
            if votes.len() == NEEDED {
                note("the round", began);
            }
        }
        let vote = &votes[0];

        let began = Instant::now();
        admit(&askers[0], &intent);
        note("one admission", began);
        let began = Instant::now();
        verify(&askers[0], vote);
        note("one verification", began);

        let by = Claimant { tenant: Tenant::parse("acme").unwrap(), request: RequestId(rand::random()) };
        let step = Step { writes: vec![Write::Claim { by, claims: body.claims.unwrap() }], leaves: vec![vec![0; 900]] };
        let began = Instant::now();
        store.commit(step).await.unwrap();
        note("one grouped fsync", began);
    }
    let mut p50 = |what| {
        let times = times.get_mut(what).unwrap();
        times.sort_unstable();
        let [half, most] = [times.len() / 2, times.len() * 99 / 100].map(|i| times[i].as_secs_f64() * 1_000.0);
        println!("{what:<20} p50 {half:.3} ms, p99 {most:.3} ms");
        half
    };
    let (echo, fsync) = (p50("one peer echo"), p50("one grouped fsync"));
    let (admission, verification) = (p50("one admission"), p50("one verification"));
    let waves = VOTERS.len() as f64 / cores as f64;
    let floor = echo + fsync + waves * admission + NEEDED as f64 * verification;
    let round = p50("the round");
    println!("floor {floor:.3} ms on {cores} cores; the round is {:.2} times that", round / floor);
    let each = floor + (VOTERS.len() - NEEDED) as f64 * verification;
    println!("with the verification of every voter's vote {each:.3} ms, {:.2} times that", round / each);
}

/// What a node does before it votes: the client's signature, its own reading of the content, policy.
fn admit(asker: &Asker<'_>, intent: &SealedIntent) {
    let subject = asker.subject(intent);
    let intent = subject.intent();
    let action = PolicyAction::Sign(subject.facts());
    let request = DecisionRequest { client: &intent.client, key: &intent.key, action };
    let decision = decide(&asker.bundle, &request, limits_votes::now());
    assert!(matches!(decision, Decision::Permit { .. }), "{decision:?}");
}

/// What a leader does with a vote.
fn verify(asker: &Asker<'_>, vote: &v1::Statement) {
    let vote: Statement = prost::Message::decode(prost::Message::encode_to_vec(vote).as_slice()).unwrap();
    vote.open(VOTE_TYPE, asker.bundle.roster()).unwrap();
}
