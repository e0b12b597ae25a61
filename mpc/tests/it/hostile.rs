//! Party 1 does not follow the protocol; what the others make of it.

use crate::harness::{Key, Letter, Machine, Signer, key_2_of_3, party, rng, run, start_keygen};
use std::collections::BTreeMap;
use tally_domain::{PartyIndex, Scheme, Threshold};
use tally_mpc::fault::{BadMessage, Cheat, Disagreement, Misuse};
use tally_mpc::{Fault, HEADER_BYTES, MESSAGE_MAX_BYTES, Offline, Progress};

const ALL: [Scheme; 3] = [Scheme::EcdsaSecp256k1, Scheme::Ed25519, Scheme::Taproot];

fn from_1(letter: &Letter, round: u8) -> bool {
    letter.from == party(1) && letter.round() == round
}

/// Faults of a key generation of two of `n`.
fn keygen(scheme: Scheme, n: u32, tamper: impl FnMut(&mut Letter)) -> BTreeMap<PartyIndex, Fault> {
    let (machines, queue) = start_keygen(scheme, Threshold::new(2, n).unwrap(), 31);
    run(machines, queue, 5, tamper).into_iter().filter_map(|(p, r)| Some((p, r.err()?))).collect()
}

/// Faults of signers 1 and 2 in the offline part.
fn offline(key: &Key, tamper: impl FnMut(&mut Letter)) -> BTreeMap<PartyIndex, Fault> {
    let (machines, queue) = key.start_offline(&key.signers(&[1, 2]), 41);
    run(machines, queue, 6, tamper).into_iter().filter_map(|(p, r)| Some((p, r.err()?))).collect()
}

#[test]
fn s_3_24_an_equivocator_in_key_generation_is_seen_by_all_and_blamed_by_none() {
    // The last bytes of FROST's round 1 are entropy, the first of DKLs23's round 2 a commitment.
    for (scheme, round, seen) in [(Scheme::Ed25519, 1, 2), (Scheme::Taproot, 1, 2), (Scheme::EcdsaSecp256k1, 2, 3)] {
        let faults = keygen(scheme, 3, |letter| {
            if from_1(letter, round) && letter.to == party(2) {
                match scheme {
                    Scheme::Ed25519 | Scheme::Taproot => letter.flip_back(1),
                    Scheme::EcdsaSecp256k1 => letter.flip(0),
                }
            }
        });
        let mismatch = Fault::Mismatch { round: seen, what: Disagreement::Broadcast };
        assert_eq!(faults.get(&party(2)), Some(&mismatch), "{scheme}");
        assert_eq!(faults.get(&party(3)), Some(&mismatch), "{scheme}");
        assert!(faults.values().all(|fault| fault.bans().is_none()));
    }
}

#[test]
fn s_3_14_bad_proofs_openings_and_shares_in_key_generation_name_the_cheater() {
    let check = |scheme, round, tamper: &dyn Fn(&mut Letter), what| {
        let faults = keygen(scheme, 2, |letter| {
            if from_1(letter, round) {
                tamper(letter);
            }
        });
        let fault = Fault::Malicious { culprit: party(1), round, what };
        assert_eq!(faults.get(&party(2)), Some(&fault), "{scheme} round {round}");
        assert_eq!(fault.bans(), Some(party(1)));
    };
    // z of the Schnorr proof lies before the 32 bytes of entropy.
    check(Scheme::Ed25519, 1, &|l| l.flip_back(64), Cheat::Proof);
    check(Scheme::Ed25519, 2, &|l| l.flip_back(32), Cheat::SecretShare);
    // Scalars of secp256k1 are big-endian: their lowest byte is the last.
    check(Scheme::Taproot, 1, &|l| l.flip_back(33), Cheat::Proof);
    check(Scheme::Taproot, 2, &|l| l.flip_back(1), Cheat::SecretShare);
    // The seed of the base OT is last.
    check(Scheme::EcdsaSecp256k1, 3, &|l| l.flip_back(1), Cheat::Multiplication);
    // After the echo, the point (length and 33 bytes), a length, and the first random commitment: its parity.
    check(Scheme::EcdsaSecp256k1, 3, &|l| l.flip(32 + 34 + 1 + 1), Cheat::Proof);
}

#[test]
fn s_3_15_flipped_bits_in_ot_data_ban_their_sender() {
    let key = key_2_of_3(Scheme::EcdsaSecp256k1);
    // Round 1: parties, binding, commitment, nonce, length, then the matrix u. Round 2: tau starts before byte 300.
    for (round, at) in [(1, 2 + 3 * 32 + 3 + 500), (2, 5000)] {
        let faults = offline(&key, |letter| {
            if from_1(letter, round) {
                letter.flip(at);
            }
        });
        let fault = Fault::Malicious { culprit: party(1), round, what: Cheat::Multiplication };
        assert_eq!(faults.get(&party(2)), Some(&fault));
        assert_eq!(fault.bans(), Some(party(1)));
    }
}

#[test]
fn s_3_14_another_binding_is_a_mismatch_and_another_commitment_a_bad_opening() {
    let key = key_2_of_3(Scheme::EcdsaSecp256k1);
    let flip_round_1 = |at: usize| {
        offline(&key, |letter| {
            if from_1(letter, 1) {
                letter.flip(at);
            }
        })
    };
    let mismatch = Fault::Mismatch { round: 1, what: Disagreement::Session };
    assert_eq!(flip_round_1(2).get(&party(2)), Some(&mismatch));
    let opening = Fault::Malicious { culprit: party(1), round: 2, what: Cheat::Opening };
    assert_eq!(flip_round_1(2 + 32).get(&party(2)), Some(&opening));
}

#[test]
fn s_3_20_a_party_that_lies_about_its_index_is_refused() {
    let lie = |letter: &mut Letter, at: usize| letter.bytes[HEADER_BYTES + at] = 3;
    let other_party = |round| Fault::Violation { culprit: party(1), round, what: BadMessage::OtherParty };
    let key = key_2_of_3(Scheme::EcdsaSecp256k1);
    // Sender, then receiver, first in the messages of both offline rounds.
    for (round, at) in [(1, 0), (1, 1), (2, 0), (2, 1)] {
        let faults = offline(&key, |letter| {
            if from_1(letter, round) {
                lie(letter, at);
            }
        });
        assert_eq!(faults.get(&party(2)), Some(&other_party(round)), "round {round}, byte {at}");
    }
    // Key generation, round 2: after the two commitments.
    let faults = keygen(Scheme::EcdsaSecp256k1, 2, |letter| {
        if from_1(letter, 2) && letter.to == party(2) {
            lie(letter, 64);
        }
    });
    assert_eq!(faults.get(&party(2)), Some(&other_party(2)));
}

/// What signer 2 makes of one message in round 1 that signer 1 has changed.
fn second_opinion(key: &Key, change: impl FnOnce(&mut Vec<u8>)) -> Option<Fault> {
    let (mut machines, queue) = key.start_offline(&key.signers(&[1, 2]), 51);
    let mut bytes = queue.into_iter().find(|l| l.from == party(1)).unwrap().bytes;
    change(&mut bytes);
    machines.get_mut(&party(2)).unwrap().message(party(1), &bytes).err()
}

#[test]
fn s_3_21_malformed_oversized_and_misaddressed_messages_end_the_session_without_a_ban() {
    for scheme in ALL {
        let key = key_2_of_3(scheme);
        let violation = |what| Some(Fault::Violation { culprit: party(1), round: 1, what });
        assert_eq!(second_opinion(&key, |b| b.push(0)), violation(BadMessage::Malformed), "trailing");
        assert_eq!(second_opinion(&key, |b| b.truncate(b.len() - 1)), violation(BadMessage::Malformed), "cut");
        assert_eq!(second_opinion(&key, |b| b.truncate(HEADER_BYTES)), violation(BadMessage::Malformed), "no body");
        assert_eq!(second_opinion(&key, |b| b.truncate(10)), violation(BadMessage::Malformed), "half a header");
        assert_eq!(second_opinion(&key, Vec::clear), violation(BadMessage::Malformed), "empty");
        assert_eq!(second_opinion(&key, |b| b.resize(MESSAGE_MAX_BYTES, 0)), violation(BadMessage::Oversized));
        assert_eq!(second_opinion(&key, |b| b[0] = 9), violation(BadMessage::Version));
        assert_eq!(second_opinion(&key, |b| b[1] = 0), violation(BadMessage::OutOfTurn));
        assert_eq!(second_opinion(&key, |b| b[1] = 3), violation(BadMessage::OutOfTurn));
        assert_eq!(second_opinion(&key, |b| b[2] ^= 1), violation(BadMessage::OtherSession));
        assert!(violation(BadMessage::Oversized).unwrap().bans().is_none());
    }
}

#[test]
fn s_3_10_identity_and_torsion_commitments_are_refused() {
    let key = key_2_of_3(Scheme::Ed25519);
    let malformed = Some(Fault::Violation { culprit: party(1), round: 1, what: BadMessage::Malformed });
    let mut identity = [0; 32];
    identity[0] = 1;
    let mut order_two = [0xFF; 32];
    (order_two[0], order_two[31]) = (0xEC, 0x7F);
    for bad in [identity, order_two, [0; 32], [0xFF; 32]] {
        assert_eq!(second_opinion(&key, |b| b[HEADER_BYTES..][..32].copy_from_slice(&bad)), malformed);
        assert_eq!(second_opinion(&key, |b| b[HEADER_BYTES + 32..].copy_from_slice(&bad)), malformed);
    }
}

#[test]
fn s_3_10_commitments_that_are_no_points_are_refused() {
    let key = key_2_of_3(Scheme::Taproot);
    let malformed = Some(Fault::Violation { culprit: party(1), round: 1, what: BadMessage::Malformed });
    let mut off_the_curve = [5; 33];
    off_the_curve[0] = 2;
    for bad in [[0; 33], [4; 33], [0xFF; 33], off_the_curve] {
        assert_eq!(second_opinion(&key, |b| b[HEADER_BYTES..][..33].copy_from_slice(&bad)), malformed);
        assert_eq!(second_opinion(&key, |b| b[HEADER_BYTES + 33..].copy_from_slice(&bad)), malformed);
    }
}

#[test]
fn s_3_21_a_longer_polynomial_is_refused() {
    for scheme in [Scheme::Ed25519, Scheme::Taproot] {
        let (_, five) = start_keygen(scheme, Threshold::new(3, 3).unwrap(), 31);
        let longer = five.into_iter().find(|l| from_1(l, 1) && l.to == party(2)).unwrap().bytes;
        let faults = keygen(scheme, 2, |letter| {
            if from_1(letter, 1) && letter.to == party(2) {
                letter.bytes.truncate(HEADER_BYTES);
                letter.bytes.extend_from_slice(&longer[HEADER_BYTES..]);
            }
        });
        let malformed = Fault::Violation { culprit: party(1), round: 1, what: BadMessage::Malformed };
        assert_eq!(faults.get(&party(2)), Some(&malformed));
    }
}

#[test]
fn s_3_22_outsiders_and_other_shares_do_not_disturb_a_session() {
    let key = key_2_of_3(Scheme::Ed25519);
    let (mut machines, queue) = key.start_offline(&key.signers(&[1, 2]), 61);
    let letter = queue.into_iter().find(|l| l.from == party(1)).unwrap();
    let Signer(machine, share) = machines.get_mut(&party(2)).unwrap();
    for outsider in [party(3), party(2), party(16)] {
        let fault = machine.message(share, outsider, &letter.bytes, &mut rng(1)).err();
        assert_eq!(fault, Some(Fault::Caller { what: Misuse::NotAMember(outsider) }));
    }
    let fault = machine.message(&key.shares[&party(1)], party(1), &letter.bytes, &mut rng(1)).err();
    assert_eq!(fault, Some(Fault::Caller { what: Misuse::OtherKey }));
    assert!(matches!(machine.message(share, party(1), &letter.bytes, &mut rng(1)), Ok(Progress::Done(..))));
    let fault = machine.message(share, party(1), &letter.bytes, &mut rng(1)).err();
    assert_eq!(fault, Some(Fault::Caller { what: Misuse::Ended }));
    assert!(machine.missing().is_empty());
}

#[test]
fn s_3_20_a_message_passed_off_as_another_partys_is_refused() {
    let (mut machines, queue) = start_keygen(Scheme::Ed25519, Threshold::new(2, 3).unwrap(), 71);
    let letter = queue.iter().find(|l| l.from == party(1) && l.to == party(2)).unwrap();
    let fault = machines.get_mut(&party(2)).unwrap().message(party(3), &letter.bytes, &mut rng(1)).err();
    assert_eq!(fault, Some(Fault::Violation { culprit: party(3), round: 1, what: BadMessage::OtherSession }));
    // So is one that party 1 was sent itself.
    let letter = queue.iter().find(|l| l.from == party(1) && l.to == party(3)).unwrap();
    let (mut machines, _) = start_keygen(Scheme::Ed25519, Threshold::new(2, 3).unwrap(), 71);
    let fault = machines.get_mut(&party(2)).unwrap().message(party(1), &letter.bytes, &mut rng(1)).err();
    assert_eq!(fault, Some(Fault::Violation { culprit: party(1), round: 1, what: BadMessage::OtherSession }));
}

#[test]
fn duplicates_and_repeats_of_finished_rounds_end_the_session() {
    let threshold = Threshold::new(2, 3).unwrap();
    let (mut machines, queue) = start_keygen(Scheme::Ed25519, threshold, 81);
    let machine = machines.get_mut(&party(2)).unwrap();
    let mut to_2 = queue.iter().filter(|l| l.to == party(2));
    let (first, second) = (to_2.next().unwrap(), to_2.next().unwrap());
    machine.message(first.from, &first.bytes, &mut rng(1)).unwrap();
    let fault = machine.message(first.from, &first.bytes, &mut rng(1)).err();
    assert_eq!(fault, Some(Fault::Violation { culprit: first.from, round: 1, what: BadMessage::Duplicate }));
    // A failed machine stays failed, with nothing in it.
    let fault = machine.message(second.from, &second.bytes, &mut rng(1)).err();
    assert_eq!((fault, machine.missing()), (Some(Fault::Caller { what: Misuse::Ended }), vec![]));

    let (mut machines, queue) = start_keygen(Scheme::Ed25519, threshold, 82);
    let machine = machines.get_mut(&party(2)).unwrap();
    for letter in queue.iter().filter(|l| l.to == party(2)) {
        machine.message(letter.from, &letter.bytes, &mut rng(1)).unwrap();
    }
    assert_eq!(machine.round(), 2);
    let old = queue.iter().find(|l| l.to == party(2)).unwrap();
    let fault = machine.message(old.from, &old.bytes, &mut rng(1)).err();
    assert_eq!(fault, Some(Fault::Violation { culprit: old.from, round: 2, what: BadMessage::OutOfTurn }));
}

#[test]
fn a_second_early_message_is_a_duplicate() {
    let threshold = Threshold::new(2, 3).unwrap();
    let (mut machines, queue) = start_keygen(Scheme::Ed25519, threshold, 83);
    // Party 1 hears everyone and goes on to round 2, while party 2 has heard nobody.
    let mut early = Vec::new();
    for letter in queue.iter().filter(|l| l.to == party(1)) {
        let progress = Machine::message(machines.get_mut(&party(1)).unwrap(), letter.from, &letter.bytes).unwrap();
        if let Progress::Wait(outgoing) = progress {
            early.extend(outgoing);
        }
    }
    let early = early.into_iter().find(|o| o.to == party(2)).unwrap();
    let machine = machines.get_mut(&party(2)).unwrap();
    machine.message(party(1), &early.bytes, &mut rng(1)).unwrap();
    assert_eq!((machine.round(), machine.missing()), (1, vec![party(1), party(3)]));
    let fault = machine.message(party(1), &early.bytes, &mut rng(1)).err();
    assert_eq!(fault, Some(Fault::Violation { culprit: party(1), round: 1, what: BadMessage::Duplicate }));
}

#[test]
fn s_3_17_signers_of_two_sessions_never_come_to_a_check() {
    for scheme in ALL {
        let key = key_2_of_3(scheme);
        let signers = key.signers(&[1, 2]);
        let (_, ours) = key.start_offline(&signers, 91);
        let (mut theirs, _) = key.start_offline(&signers, 92);
        let letter = ours.iter().find(|l| l.from == party(1)).unwrap();
        let fault = theirs.get_mut(&party(2)).unwrap().message(party(1), &letter.bytes).err();
        assert_eq!(fault, Some(Fault::Violation { culprit: party(1), round: 1, what: BadMessage::OtherSession }));
    }
}

#[test]
fn only_signers_of_the_set_begin() {
    let key = key_2_of_3(Scheme::Ed25519);
    let signers = key.signers(&[1, 2]);
    let session = key.session(&signers, 1);
    let fault = Offline::start(&key.shares[&party(3)], &signers, session, &mut rng(1)).err();
    assert_eq!(fault, Some(Fault::Caller { what: Misuse::NotASigner }));
    let three = tally_domain::SignerSet::new(Threshold::new(3, 3).unwrap(), &[party(1), party(2), party(3)]).unwrap();
    let fault = Offline::start(&key.shares[&party(3)], &three, session, &mut rng(1)).err();
    assert_eq!(fault, Some(Fault::Caller { what: Misuse::OtherKey }));
}
