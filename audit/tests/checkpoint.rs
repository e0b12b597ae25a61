//! Notes and checkpoints against what Go's sumdb and the public Go checksum database signed.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs, reason = "tests fail loudly")]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tally_audit::note::{self, BadNote, NOTE_MAX_BYTES};
use tally_audit::{Checkpoint, Frontier, checkpoint};
use tally_domain::dsse::{SigningKey, VerifyingKey};
use tally_domain::{ClusterId, NodeName};

/// From golang.org/x/mod/sumdb/note: `PRIVATE+KEY+PeterNeumann+c74f20a3+...`, its public half, and a note that it signed.
const GO_PRIVATE: &str = "AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz";
const GO_PUBLIC: &str = "ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
const GO_NOTE: &str = "If you think cryptography is the answer to your problem,\n\
    then you don't know what your problem is.\n\n\
    — PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";

/// A tree head of the Go checksum database; its key is `sum.golang.org+033de0ae+Ac4z...`, which every Go toolchain has.
const SUMDB_PUBLIC: &str = "Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8";
const SUMDB_NOTE: &str = "go.sum database tree\n65209736\n5+uGFjx6xBZG8ip1+wi77v+grwbhhukIrxEUS8PXvRo=\n\n\
    — sum.golang.org Az3grnbssgK7ubgFX36gVETtNv0U23qxyAhAMai2QUfeGa3nB/akvkMdlUErfcZz7l/R3cVtYspg3dxXABkGZZKdsQ8=\n";

/// The 32 bytes behind the type byte of a Go note key.
fn go_key(base64: &str) -> [u8; 32] {
    let bytes = STANDARD.decode(base64).unwrap();
    assert_eq!(bytes[0], 1);
    bytes[1..].try_into().unwrap()
}

fn go_public(base64: &str) -> VerifyingKey {
    VerifyingKey::ed25519(&go_key(base64)).unwrap()
}

#[test]
fn go_notes_open_and_are_reproduced_to_the_byte() {
    let key = SigningKey::ed25519(&go_key(GO_PRIVATE));
    assert_eq!(key.verifying_key(), go_public(GO_PUBLIC));
    assert_eq!(hex::encode(note::key_id("PeterNeumann", &key.verifying_key())), "c74f20a3");
    let text = note::open(GO_NOTE, "PeterNeumann", &key.verifying_key()).unwrap();
    assert!(text.starts_with("If you") && text.ends_with("is.\n"));
    let again = note::assemble(text, "PeterNeumann", &key.verifying_key(), &key.sign(text.as_bytes()));
    assert_eq!(again, GO_NOTE);
}

#[test]
fn a_published_tree_head_opens_as_a_checkpoint() {
    let key = go_public(SUMDB_PUBLIC);
    let open = |origin: &str, name: &str| Checkpoint::open(SUMDB_NOTE, origin, name, &key);
    let c = open("go.sum database tree", "sum.golang.org").unwrap();
    assert_eq!(c.size, 65_209_736);
    assert_eq!(STANDARD.encode(c.root.0), "5+uGFjx6xBZG8ip1+wi77v+grwbhhukIrxEUS8PXvRo=");
    assert!(SUMDB_NOTE.as_bytes().starts_with(&c.unsigned_note()));
    assert_eq!(open("another tree", "sum.golang.org"), Err(BadNote::OtherLog));
    assert_eq!(open("go.sum database tree", "sum.golang.com"), Err(BadNote::OtherKey));
    let changed = SUMDB_NOTE.replace("65209736", "65209737");
    let found = Checkpoint::open(&changed, "go.sum database tree", "sum.golang.org", &key);
    assert_eq!(found, Err(BadNote::Signature));
}

#[test]
fn our_checkpoints_open_under_the_identity_key_only() {
    let (cluster, node) = (ClusterId::parse("prod").unwrap(), NodeName::parse("node-1").unwrap());
    let name = checkpoint::origin(&cluster, &node);
    assert_eq!(name, "tally/prod/node/node-1");
    for key in [SigningKey::ed25519(&[4; 32]), SigningKey::p256(&[5; 32]).unwrap()] {
        let c = Checkpoint::of(&cluster, &node, &Frontier::new());
        let signed = c.with_signature(&name, &key.verifying_key(), &key.sign(&c.unsigned_note()));
        assert_eq!(Checkpoint::open(&signed, &name, &name, &key.verifying_key()).unwrap(), c);
        let other = SigningKey::ed25519(&[6; 32]).verifying_key();
        assert_eq!(Checkpoint::open(&signed, &name, &name, &other), Err(BadNote::OtherKey));
    }
}

#[test]
fn other_spellings_are_refused_though_signed() {
    let key = SigningKey::ed25519(&[4; 32]);
    let root = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";
    let open = |text: &str| {
        let signed = note::assemble(text, "log", &key.verifying_key(), &key.sign(text.as_bytes()));
        Checkpoint::open(&signed, "log", "log", &key.verifying_key())
    };
    assert_eq!(open(&format!("log\n7\n{root}\n")).unwrap().size, 7);
    for text in [
        format!("log\n07\n{root}\n"),
        format!("log\n+7\n{root}\n"),
        format!("log\n-7\n{root}\n"),
        format!("log\n7 \n{root}\n"),
        format!("log\n7\n{root}\nextension\n"),
        format!("log\n18446744073709551616\n{root}\n"),
        format!("log\n7\n{}\n", root.trim_end_matches('=')),
        "log\n7\nAAAA\n".into(),
        "log\n7\n".into(),
        "log\n".into(),
    ] {
        assert_eq!(open(&text), Err(BadNote::Checkpoint), "{text:?}");
    }
}

#[test]
fn notes_of_another_form_are_refused() {
    let key = go_public(GO_PUBLIC);
    let open = |n: &str| note::open(n, "PeterNeumann", &key).unwrap_err();
    let (_, line) = GO_NOTE.rsplit_once("\n\n").unwrap();
    assert_eq!(open(""), BadNote::Form);
    assert_eq!(open(GO_NOTE.trim_end()), BadNote::Form);
    assert_eq!(open(&format!("{GO_NOTE}{line}")), BadNote::Form);
    assert_eq!(open(&GO_NOTE.replace('—', "-")), BadNote::Form);
    assert_eq!(open(&GO_NOTE.replace("problem,\n", "problem,\r\n")), BadNote::Form);
    assert_eq!(open(&GO_NOTE.replace("nAM=", "nAN=")), BadNote::Form);
    assert_eq!(open(&format!("{}{GO_NOTE}", "x".repeat(NOTE_MAX_BYTES))), BadNote::Oversized);
}
