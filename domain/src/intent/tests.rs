//! Tests of the codec.

use super::*;
use crate::dsse::SigningKey;

fn sample() -> Intent {
    Intent {
        request_id: RequestId([3; 16]),
        tenant: Tenant::parse("acme").unwrap(),
        client: ClientId::parse("payouts-1").unwrap(),
        action: Action::Sign,
        key: KeyName::parse("hot").unwrap(),
        path: DerivationPath::parse("m/0/7").unwrap(),
        kind: ContentKind::EvmTransaction,
        chain: "eip155:1".into(),
        content: vec![2, 0xc0],
        purpose: Purpose::Transaction,
        not_before: UnixMillis(1),
        expires_at: UnixMillis(2),
        min_bundle_version: 1,
        note: "invoice 7".into(),
        cluster: ClusterId::parse("prod").unwrap(),
    }
}

#[test]
fn s_2_0_every_flipped_byte_of_a_signed_intent_is_refused() {
    let key = SigningKey::ed25519(&[1; 32]);
    let good = key.seal(PAYLOAD_TYPE, sample().to_bytes());
    assert_eq!(Intent::open(&good, &key.verifying_key()).unwrap(), sample());
    let bytes = good.encode_to_vec();
    let hint = good.signatures[0].key_id.clone();
    for i in 0..bytes.len() {
        for bit in 0..8 {
            let mut bad = bytes.clone();
            bad[i] ^= 1 << bit;
            let Ok(e) = Envelope::decode(bad.as_slice()) else { continue };
            // The key id is a hint outside the signature; flipping it changes nothing that is believed.
            if e.payload == good.payload
                && e.payload_type == good.payload_type
                && e.signatures.first().is_some_and(|s| s.key_id != hint && s.signature == good.signatures[0].signature)
            {
                continue;
            }
            assert!(Intent::open(&e, &key.verifying_key()).is_err(), "byte {i} bit {bit}");
        }
    }
}

#[test]
fn unknown_fields_and_other_encodings_are_refused_though_signed() {
    let key = SigningKey::ed25519(&[1; 32]);
    let mut unknown = sample().to_bytes();
    unknown.extend_from_slice(&[0x98, 0x06, 0x01]); // field 99, varint 1
    let mut reordered = sample().to_bytes()[18..].to_vec();
    reordered.extend_from_slice(&sample().to_bytes()[..18]);
    for payload in [unknown, reordered, vec![0xff], vec![]] {
        let e = key.seal(PAYLOAD_TYPE, payload);
        assert!(Intent::open(&e, &key.verifying_key()).is_err());
    }
}

#[test]
fn oversized_envelopes_are_refused_before_the_signature_is_checked() {
    let key = SigningKey::ed25519(&[1; 32]);
    let mut big = sample();
    big.content = vec![0; ENVELOPE_MAX_BYTES];
    let e = key.seal(PAYLOAD_TYPE, big.to_bytes());
    assert_eq!(Intent::open(&e, &key.verifying_key()), Err(BadIntent::Oversized));
}

#[test]
fn digest_of_the_intent_is_the_digest_of_its_envelope() {
    let key = SigningKey::ed25519(&[1; 32]);
    let e = key.seal(PAYLOAD_TYPE, sample().to_bytes());
    assert_eq!(dsse::content_digest(&e), sample().digest());
}

#[test]
fn key_spec_reads_back_and_refuses_impossible_thresholds() {
    let spec = KeySpec { scheme: Scheme::Ed25519, threshold: Threshold::new(2, 3).unwrap(), purpose: Purpose::Message };
    assert_eq!(KeySpec::from_bytes(&spec.to_bytes()).unwrap(), spec);
    let bad = SpecBody { scheme: 1, t: 1, n: 3, purpose: 1 }.encode_to_vec();
    assert_eq!(KeySpec::from_bytes(&bad), Err(BadIntent::Field { field: "threshold" }));
    let with = |scheme: Scheme, purpose: Purpose| {
        KeySpec::from_bytes(
            &SpecBody { scheme: scheme.number(), t: 2, n: 3, purpose: purpose.number() }.encode_to_vec(),
        )
    };
    for scheme in [Scheme::EcdsaSecp256k1, Scheme::Ed25519] {
        assert_eq!(with(scheme, Purpose::Raw), Err(BadIntent::Field { field: "purpose" }));
    }
    assert!(with(Scheme::Taproot, Purpose::Raw).is_ok());
    assert_eq!(with(Scheme::Taproot, Purpose::Wrap), Err(BadIntent::Field { field: "purpose" }));
}
