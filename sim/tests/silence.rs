//! A member that falls silent, in each round of each protocol: the others say who and where, and it is nobody's fault; what
//! is asked next gets its answer, from other signers or when the member is back.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail loudly"
)]

use prost::Message as _;
use std::collections::BTreeSet;
use tally_domain::dsse::Envelope;
use tally_domain::{NodeName, Reason, Scheme};
use tally_signer::result::SignResult;
use tally_sim::byzantine::Stage;
use tally_sim::{Behaviour, Cluster, Faults, Genesis, Silence};

/// Rounds of key generation: DKLs23 has phases 1 to 3 with messages, FROST two.
const MAKING: [(Scheme, u8); 3] = [(Scheme::EcdsaSecp256k1, 3), (Scheme::Ed25519, 2), (Scheme::Taproot, 2)];

/// Rounds before anything is signed: two of a DKLs23 presignature, one of FROST commitments.
const OFFLINE: [(Scheme, u8); 3] = [(Scheme::EcdsaSecp256k1, 2), (Scheme::Ed25519, 1), (Scheme::Taproot, 1)];

fn silence_in_making(scheme: Scheme, round: Option<u8>, stage: &str, seed: u64) {
    let what = format!("{scheme} from round {round:?}, seed {seed}");
    let node = NodeName::parse(&format!("node-{}", 1 + seed % 3)).unwrap();
    let (told, genesis) = Genesis::after(Silence { node: node.clone(), round }, scheme, 2, 3, seed);
    assert_eq!(told.len(), 2, "{what}: both others wait for it");
    for (at, told) in &told {
        assert_eq!(told.refusal.reason, Reason::Signers, "{what} at {at}");
        let facts = &told.refusal.metadata;
        let fact = |name: &str| facts.iter().find(|(key, _)| *key == name).map(|(_, value)| value.to_string());
        assert_eq!((fact("node").as_deref(), fact("round").as_deref()), (Some(node.as_str()), Some(stage)), "{what}");
        assert_eq!((&told.missing, &told.culprits), (&vec![node.clone()], &vec![]), "{what} at {at}");
    }
    // The key signs: it is whole, whoever had said what before.
    let request = request(&genesis, 2);
    let mut cluster = Cluster::new(&genesis, seed, Faults::NONE);
    let call = cluster.call(&genesis.world.names[0], &request);
    cluster.run();
    assert!(cluster.answer(call).is_some_and(Result::is_ok), "{what}: {:?}", cluster.answer(call));
}

#[test]
fn a_node_that_falls_silent_while_a_key_is_made_is_named_and_the_key_is_made_when_it_is_back() {
    for (scheme, rounds) in MAKING {
        silence_in_making(scheme, Some(0), "hello", 0);
        for round in 1..=rounds {
            silence_in_making(scheme, Some(round), "keygen", u64::from(round));
        }
        silence_in_making(scheme, None, "certify", 4);
    }
}

/// Odd ones are for a child of the key.
fn request(genesis: &Genesis, id: u8) -> Envelope {
    match genesis.created.record.scheme {
        Scheme::Ed25519 | Scheme::Taproot => genesis.world.note(id, "text"),
        Scheme::EcdsaSecp256k1 => genesis.world.payout(id, u32::from(id % 2)),
    }
}

/// Who has signed.
fn signers(genesis: &Genesis, result: &[u8]) -> BTreeSet<NodeName> {
    let certificate = SignResult::decode(result).unwrap().certificate.unwrap();
    certificate.voters(genesis.world.bundle.roster())
}

fn silence_in_signing(genesis: &Genesis, behaviour: Behaviour, stage: &str, id: u8) {
    let what = format!("{} {behaviour:?}, request {id}", genesis.created.record.scheme);
    let [leader, cheat, other] = genesis.world.names.as_slice() else { panic!("three nodes") };
    let without = BTreeSet::from([leader.clone(), other.clone()]);
    let mut cluster = Cluster::new(genesis, u64::from(id), Faults::NONE);
    cluster.corrupt(cheat);
    cluster.misbehave(behaviour);
    let requests = [request(genesis, id), request(genesis, id + 2)];
    let call = cluster.call(leader, &requests[0]);
    cluster.run();
    let failures: Vec<_> = cluster.history.failures.iter().filter(|f| f.node == *leader).cloned().collect();
    assert!(!failures.is_empty(), "{what}: nobody noticed");
    for failure in &failures {
        assert_eq!(failure.refusal.reason, Reason::Signers, "{what}: {failure:?}");
        assert!(
            failure.trouble.contains("Silent") && failure.trouble.contains(&format!("stage: \"{stage}\"")),
            "{what}"
        );
        assert_eq!((&failure.missing, &failure.culprits), (&vec![cheat.clone()], &vec![]), "{what}");
    }
    let result = cluster.answer(call).unwrap().as_ref().unwrap_or_else(|refusal| panic!("{what}: {refusal:?}"));
    // What both have released is a signature: nobody begins anew, and who is asked for it has it.
    let both = BTreeSet::from([leader.clone(), cheat.clone()]);
    assert_eq!(signers(genesis, result), if stage == "combine" { both } else { without.clone() }, "{what}");
    // It stays silent, and the next request does not need it.
    cluster.misbehave(Behaviour::SilentAt(Stage::Hello));
    let call = cluster.call(leader, &requests[1]);
    cluster.run();
    let result = cluster.answer(call).unwrap().as_ref().unwrap_or_else(|refusal| panic!("{what}: {refusal:?}"));
    assert_eq!(signers(genesis, result), without, "{what}");

    // It is back, and the first request has its one result.
    cluster.misbehave(Behaviour::Watch);
    cluster.settle(&requests, None);
    cluster.verify(genesis, &requests, |_| true);
    let broken = &cluster.history.violations;
    assert!(broken.is_empty(), "{what}:\n{}", broken.join("\n"));
}

#[test]
fn a_signer_that_falls_silent_is_named_and_others_sign() {
    for (scheme, rounds) in OFFLINE {
        let genesis = Genesis::new(scheme, 2, 3, 9);
        // The key itself, and a child of it.
        for id in [2, 3] {
            silence_in_signing(&genesis, Behaviour::SilentAt(Stage::Hello), "hello", id);
            for round in 1..=rounds {
                silence_in_signing(&genesis, Behaviour::SilentInRound(round), "offline", id);
            }
            silence_in_signing(&genesis, Behaviour::SilentAt(Stage::Vote), "vote", id);
            silence_in_signing(&genesis, Behaviour::SilentAt(Stage::Combine), "combine", id);
        }
    }
}
