use crate::harness::{context, key_2_of_3, make_key, party, rng, start_keygen};
use tally_domain::{Attempt, Digest, Epoch, PartyIndex, Scheme, SecretBytes, Threshold};
use tally_mpc::fault::Misuse;
use tally_mpc::{Fault, KeyShare, Keygen, Protocol};

const ALL: [Scheme; 3] = [Scheme::EcdsaSecp256k1, Scheme::Ed25519, Scheme::Taproot];

#[test]
fn s_4_1_shares_match_their_record_and_no_other() {
    for scheme in ALL {
        let key = key_2_of_3(scheme);
        for (p, share) in &key.shares {
            assert!(share.matches(&key.record, *p));
            assert_eq!((share.party(), share.scheme(), share.threshold()), (*p, scheme, key.record.threshold));
            assert_eq!(share.public_key(), key.record.public_key);
        }
        let share = &key.shares[&party(1)];
        assert!(!share.matches(&key.record, party(2)));
        let mut other = key.record.clone();
        other.public_shares.swap(0, 1);
        assert!(!share.matches(&other, party(1)));
        let mut other = key.record.clone();
        other.threshold = Threshold::new(3, 3).unwrap();
        assert!(!share.matches(&other, party(1)));
    }
    let ecdsa = key_2_of_3(Scheme::EcdsaSecp256k1);
    let mut other = ecdsa.record.clone();
    other.chain_code = Digest([0; 32]);
    assert!(!ecdsa.shares[&party(1)].matches(&other, party(1)));
}

#[test]
fn shares_survive_bytes_and_garbled_bytes_are_refused() {
    for scheme in ALL {
        let key = key_2_of_3(scheme);
        let bytes = key.shares[&party(2)].to_bytes().unwrap();
        let again = KeyShare::from_bytes(&bytes).unwrap();
        assert!(again.matches(&key.record, party(2)));
        assert!(again.to_bytes().unwrap().expose() == bytes.expose());
        let garble = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut copy = bytes.expose().to_vec();
            change(&mut copy);
            KeyShare::from_bytes(&SecretBytes::new(copy)).err()
        };
        let bad = Some(Fault::Caller { what: Misuse::BadShare });
        assert_eq!(garble(&|b| b[0] = 2), bad, "version");
        assert_eq!(garble(&|b| b[1] = 1 + b[1] % 3), bad, "the next scheme");
        assert_eq!(garble(&|b| b[1] = 1 + (b[1] + 1) % 3), bad, "the one after that");
        assert_eq!(garble(&|b| b[2] = 3), bad, "another party's index");
        assert_eq!(garble(&|b| b.push(0)), bad, "trailing byte");
        assert_eq!(garble(&|b| b.truncate(b.len() - 1)), bad, "cut");
        assert_eq!(garble(&|b| b.clear()), bad, "empty");
        // Version, scheme, party, t, n, length, then the public key.
        assert_eq!(garble(&|b| b[9] ^= 1), bad, "public key");
    }
}

#[test]
fn three_of_five_keys_in_many_orders_of_delivery() {
    for (seed, scheme) in (0..16).map(|seed| (seed, if seed % 4 == 0 { Scheme::Taproot } else { Scheme::Ed25519 })) {
        let key = make_key(scheme, 3, 5, seed);
        assert!(key.shares.iter().all(|(p, share)| share.matches(&key.record, *p)));
    }
}

#[test]
fn keys_of_two_sessions_differ_in_everything() {
    let (a, b) = (make_key(Scheme::Ed25519, 2, 3, 1).record, make_key(Scheme::Ed25519, 2, 3, 2).record);
    assert_ne!(a.public_key, b.public_key);
    assert_ne!(a.chain_code, b.chain_code);
    assert_ne!(a.transcript, b.transcript);
}

#[test]
fn rounds_and_missing_parties_are_reported() {
    let threshold = Threshold::new(2, 3).unwrap();
    let (mut machines, queue) = start_keygen(Scheme::Ed25519, threshold, 5);
    let machine = machines.get_mut(&party(1)).unwrap();
    assert_eq!((machine.round(), machine.missing()), (1, vec![party(2), party(3)]));
    let letter = queue.iter().find(|l| l.from == party(3) && l.to == party(1)).unwrap();
    machine.message(letter.from, &letter.bytes, &mut rng(0)).unwrap();
    assert_eq!((machine.round(), machine.missing()), (1, vec![party(2)]));
    let letter = queue.iter().find(|l| l.from == party(2) && l.to == party(1)).unwrap();
    machine.message(letter.from, &letter.bytes, &mut rng(0)).unwrap();
    assert_eq!((machine.round(), machine.missing()), (2, vec![party(2), party(3)]));
}

#[test]
fn a_node_outside_the_key_cannot_begin() {
    let threshold = Threshold::new(2, 3).unwrap();
    let parties: Vec<PartyIndex> = threshold.parties().collect();
    let session = context(Protocol::Keygen, Scheme::Ed25519, threshold, &parties, 1).id();
    let fault = Keygen::start(Scheme::Ed25519, threshold, party(4), session, &mut rng(1)).err();
    assert_eq!(fault, Some(Fault::Caller { what: Misuse::NotASigner }));
}

#[test]
fn s_3_19_every_part_of_the_context_changes_the_session_id() {
    let threshold = Threshold::new(2, 3).unwrap();
    let parties = [party(1), party(2)];
    let base = context(Protocol::Sign, Scheme::Ed25519, threshold, &parties, 1);
    let mut ids = std::collections::BTreeSet::from([base.id()]);
    let changes: [&dyn Fn(&mut tally_mpc::SessionContext); 15] = [
        &|c| c.protocol = Protocol::Keygen,
        &|c| c.scheme = Scheme::EcdsaSecp256k1,
        &|c| c.cluster = tally_domain::ClusterId::parse("other").unwrap(),
        &|c| c.key = tally_domain::KeyName::parse("cold").unwrap(),
        &|c| c.epoch = Epoch(2),
        &|c| c.threshold = Threshold::new(3, 3).unwrap(),
        &|c| c.parties[0].0 = party(3),
        &|c| c.parties[0].1 = crate::harness::node(party(9)),
        &|c| c.tenant = tally_domain::Tenant::parse("else").unwrap(),
        &|c| c.request.0[0] ^= 1,
        &|c| c.attempt = Attempt(2),
        &|c| c.digest.0[0] ^= 1,
        &|c| c.path = tally_domain::DerivationPath::parse("m/0").unwrap(),
        &|c| c.bundle.0[0] ^= 1,
        &|c| c.nonces.get_mut(&party(2)).unwrap()[0] ^= 1,
    ];
    for change in changes {
        let mut context = base.clone();
        change(&mut context);
        ids.insert(context.id());
    }
    assert_eq!(ids.len(), changes.len() + 1);
}
