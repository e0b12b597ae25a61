//! Short texts and keys that people, files and other programs write: each has one spelling, or one meaning.

use crate::target::Verdict;
use crate::world;
use alloy_primitives::Address;
use std::fmt::Display;
use std::time::Duration;
use tally_chains::parse_evm_address;
use tally_domain::dsse::VerifyingKey;
use tally_domain::spki::low_s;
use tally_domain::time::parse_span;
use tally_domain::token::{Bin, Last4};
use tally_domain::{
    Account, Agent, Backing, ClientId, ClusterId, Currency, DerivationPath, DomainName, HsmScheme, KeyName, LimitId,
    NodeName, PersonName, PublicKey, Purpose, Reason, RequestId, Scheme, Scope, Subject, Tenant,
};
use tally_node::testing::deadline;

pub const WORDS: &[&str] = &[
    "m/",
    "/0",
    "/2147483647",
    "'",
    "0x",
    "ed25519:",
    "p256:",
    "00",
    "ff",
    "-",
    ".",
    "_",
    "CH93",
    "COBADEFF",
    "USD",
    "h",
    "d",
    "99999999",
    "+",
    " ",
    "\u{0}",
    "é",
    "tok_",
];

type Reader = fn(&str) -> Option<String>;

/// Each with what writes it again.
const READERS: [(&str, Reader); 25] = [
    ("path", |t| shown(DerivationPath::parse(t))),
    ("tenant", |t| shown(Tenant::parse(t))),
    ("client", |t| shown(ClientId::parse(t))),
    ("node", |t| shown(NodeName::parse(t))),
    ("key", |t| shown(KeyName::parse(t))),
    ("cluster", |t| shown(ClusterId::parse(t))),
    ("token domain", |t| shown(DomainName::parse(t))),
    ("subject", |t| shown(Subject::parse(t))),
    ("person", |t| shown(PersonName::parse(t))),
    ("limit", |t| shown(LimitId::parse(t))),
    ("request", |t| {
        RequestId::from_hex(t).filter(|id| hex::encode(id.0).eq_ignore_ascii_case(t)).map(|_| t.to_owned())
    }),
    ("verifying key", |t| shown(VerifyingKey::parse(t))),
    ("scheme", |t| shown(Scheme::parse(t))),
    ("hsm scheme", |t| shown(HsmScheme::parse(t))),
    ("backing", |t| shown(Backing::parse(t))),
    ("purpose", |t| shown(Purpose::parse(t))),
    ("reason", |t| Reason::parse(t).map(|reason| reason.as_str().to_owned())),
    ("scope", |t| Scope::from_text(t).map(|scope| scope.to_text())),
    ("account", |t| Account::parse(t).map(|account| account.to_string())),
    ("currency", |t| Currency::parse(t).map(|currency| currency.to_string())),
    ("bin", |t| Bin::parse(t).map(|bin| bin.as_str().to_owned())),
    ("last digits", |t| Last4::parse(t).map(|last| last.as_str().to_owned())),
    ("bic", |t| Agent::bic(t).map(|agent| agent.to_string())),
    ("span", |t| parse_span(t).map(|seconds| spelled(t, Duration::from_secs(seconds.into())))),
    ("deadline", |t| deadline(t).map(|time| spelled(t, time))),
];

fn shown<T: Display, E>(read: Result<T, E>) -> Option<String> {
    read.ok().map(|value| value.to_string())
}

/// A time has many spellings: it is what its digits say in its unit.
fn spelled(text: &str, time: Duration) -> String {
    let (digits, unit) = text.split_at(text.len() - 1);
    let unit = match unit {
        "d" => Duration::from_secs(86_400),
        "h" | "H" => Duration::from_secs(3_600),
        "M" => Duration::from_secs(60),
        // Minutes of people, and milliseconds of gRPC.
        "m" if time.subsec_nanos() == 0 && time.as_secs().is_multiple_of(60) => return text.to_owned(),
        "m" => Duration::from_millis(1),
        "s" | "S" => Duration::from_secs(1),
        "u" => Duration::from_micros(1),
        _ => Duration::from_nanos(1),
    };
    assert_eq!(Some(time), unit.checked_mul(digits.parse().unwrap()), "{text}");
    text.to_owned()
}

/// The first byte says as what the rest is read; beyond the words, keys and addresses.
pub fn word(bytes: &[u8]) -> Verdict {
    let Some((which, bytes)) = bytes.split_first() else { return Verdict::said("nothing") };
    let Some((name, read)) = READERS.get(usize::from(*which)) else { return key(*which, bytes) };
    let Ok(text) = std::str::from_utf8(bytes) else { return Verdict::said("no text") };
    match read(text) {
        Some(again) => {
            assert_eq!(again, text, "{name}: another spelling");
            Verdict::Read((*name).into())
        }
        None => Verdict::Refused((*name).into()),
    }
}

/// The number of the first reader of bytes.
const KEYS: u8 = 100;

fn key(which: u8, bytes: &[u8]) -> Verdict {
    match which {
        KEYS => {
            let read = PublicKey::from_spki(bytes);
            if let Ok(key) = &read {
                assert_eq!(key.to_spki(), bytes, "a second encoding of a key");
                // No signature that anybody could make up verifies.
                for signature in [[0; 64].as_slice(), &[1; 64], &[0; 384], &bytes[..bytes.len().min(64)]] {
                    assert!(key.verify(&[7; 32], signature).is_err(), "a made-up signature verifies");
                }
            }
            Verdict::of(read, |key| format!("{} key", key.scheme()))
        }
        101 => {
            let read = PublicKey::from_threshold(bytes);
            if let Ok(key) = &read {
                let same = key.secp256k1_compressed().unwrap_or_else(|| bytes.to_vec());
                assert_eq!(same, bytes, "a second encoding of a key");
                assert_eq!(PublicKey::from_spki(&key.to_spki()).as_ref(), Ok(key));
            }
            Verdict::of(read, |key| format!("{} point", key.scheme()))
        }
        102 => {
            let read = [HsmScheme::EcdsaP256, HsmScheme::EcdsaSecp256k1].map(|scheme| (scheme, low_s(scheme, bytes)));
            for (scheme, low) in &read {
                if let Ok(low) = low {
                    assert_eq!(low_s(*scheme, low).as_ref(), Ok(low), "lower than the lower one");
                    assert_eq!(low[..32], bytes[..32], "another r");
                }
            }
            match &read[1].1 {
                Ok(low) => Verdict::Read(format!("low: {}", low == bytes)),
                Err(error) => Verdict::refused(error),
            }
        }
        103 => {
            let Ok(text) = std::str::from_utf8(bytes) else { return Verdict::said("no text") };
            let read = parse_evm_address(text);
            if let Ok(address) = &read {
                assert_eq!(format!("0x{}", hex::encode(address)), text.to_ascii_lowercase(), "another address");
                assert_eq!(parse_evm_address(&Address::from(*address).to_checksum(None)).as_ref(), Ok(address));
            }
            Verdict::of(read, |_| "address".into())
        }
        _ => Verdict::said("none of them"),
    }
}

pub fn words() -> Vec<Vec<u8>> {
    let id = "07".repeat(16);
    let key = world::client().verifying_key().to_string();
    let texts = [
        "m/0/7",
        "acme",
        "payouts",
        "node-1",
        "hot",
        "test",
        "cards",
        "c-1",
        "alice",
        "a-day",
        &id,
        &key,
        "ecdsa-secp256k1",
        "ed25519",
        "threshold",
        "message",
        "POLICY_DENIED",
        "hot",
        "CH9300762011623852957",
        "USD",
        "41111111",
        "1111",
        "COBADEFF",
        "24h",
        "250m",
    ];
    let texts = texts.iter().zip(0..).map(|(text, which)| [&[which], text.as_bytes()].concat());
    let Ok(VerifyingKey::Ed25519(ed25519)) = VerifyingKey::parse(&key) else { panic!("an Ed25519 key") };
    let ed25519 = PublicKey::from_key(HsmScheme::Ed25519, ed25519.as_bytes()).unwrap();
    // The generator of secp256k1 (SEC 2, 2.4.1).
    let generator = hex::decode("0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798").unwrap();
    let secp256k1 = PublicKey::from_threshold(&generator).unwrap();
    let address = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8";
    let keys = [
        (KEYS, ed25519.to_spki()),
        (KEYS, secp256k1.to_spki()),
        (101, generator),
        (102, [[1; 32], [2; 32]].concat()),
        (103, address.as_bytes().to_vec()),
    ];
    texts.chain(keys.into_iter().map(|(which, bytes)| [&[which], bytes.as_slice()].concat())).collect()
}
