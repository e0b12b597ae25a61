//! Keys below a key: of Ed25519, and outputs of keys for Taproot, with and without scripts.

use crate::harness::cluster::Cluster;
use crate::harness::orders::*;
use crate::main_job::logs_of;
use secp256k1::{SECP256K1, Scalar, XOnlyPublicKey, schnorr};
use sha2::{Digest as _, Sha256};
use tally_audit::verify::verify_together;
use tally_client::{Client, Order};
use tally_domain::{DerivationPath, Purpose, Reason, Scheme};

fn tagged(tag: &str, bytes: &[u8]) -> [u8; 32] {
    let tag = Sha256::digest(tag);
    Sha256::new().chain_update(tag).chain_update(tag).chain_update(bytes).finalize().into()
}

/// The output that libsecp256k1 makes of the child that a stock BIP-32 derives from the key's xpub.
async fn output(client: &Client, name: &str, steps: &[u32], merkle_root: &[u8]) -> XOnlyPublicKey {
    let xpub: bip32::XPub = client.key(&key(name)).await.unwrap().xpub().unwrap().parse().unwrap();
    let child = steps.iter().fold(xpub, |k, i| k.derive_child(bip32::ChildNumber(*i)).unwrap());
    let (internal, _) = secp256k1::PublicKey::from_slice(&child.to_bytes()).unwrap().x_only_public_key();
    let tweak = tagged("TapTweak", &[&internal.serialize()[..], merkle_root].concat());
    internal.add_tweak(SECP256K1, &Scalar::from_be_bytes(tweak).unwrap()).unwrap().0
}

/// Signs, and has libsecp256k1 verify that it is what the output's key signed.
async fn signs(client: &Client, order: Order, digest: [u8; 32], output: &XOnlyPublicKey) {
    let signed = sign(client, order).await.unwrap();
    assert_eq!(signed.public_key, output.serialize());
    let signature = schnorr::Signature::from_byte_array(signed.signature.try_into().unwrap());
    signature.verify(&digest, output).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn children_of_ed25519_and_outputs_of_taproot_keys_sign_and_the_logs_prove_it() {
    let mut cluster = Cluster::start().await;
    let client = cluster.client("payouts-1");
    let fast = create_fast(&client).await;
    let tap = create(&client, "tap", Scheme::Taproot, Purpose::Message).await;
    create(&client, "root", Scheme::Taproot, Purpose::Raw).await;
    let path = DerivationPath::parse("m/0/7").unwrap();

    let child = cluster.at(2).derive(&key("fast"), &path).await.unwrap().public_key;
    assert_ne!(child, fast);
    verified_ed25519(&child, b"hello", &sign(&client, say("hello").path(path.clone())).await.unwrap().signature);

    // Messages: under the tag, with the key's own output and a child's.
    let said = || Order::sign_message(key("tap"), b"hello".to_vec());
    let digest = tagged("tally/message", b"hello");
    let own = output(&client, "tap", &[], &[]).await;
    assert_eq!(tap, own.serialize());
    signs(&client, said(), digest, &own).await;
    let below = output(&client, "tap", &[0, 7], &[]).await;
    assert_eq!(cluster.at(1).derive(&key("tap"), &path).await.unwrap().public_key, below.serialize());
    signs(&client, said().path(path.clone()), digest, &below).await;

    // Digests of transactions, for an output that only the key spends and for one with scripts.
    let raw = || Order::sign_raw(key("root"), [7; 32]).path(path.clone());
    signs(&client, raw(), [7; 32], &output(&client, "root", &[0, 7], &[]).await).await;
    let scripts = output(&client, "root", &[0, 7], &[9; 32]).await;
    let for_scripts = || Order::sign_raw_for_scripts(key("root"), [7; 32], [9; 32]).path(path.clone());
    signs(&client, for_scripts(), [7; 32], &scripts).await;
    assert_eq!(reason(sign(&client, Order::sign_raw(key("root"), [0; 32])).await), Reason::ParameterRange);
    assert_eq!(reason(sign(&client, Order::sign_raw(key("tap"), [7; 32])).await), Reason::KeyPurpose);

    // From sealed shares.
    for i in 0..3 {
        cluster.kill(i);
        cluster.launch(i, &[]);
    }
    cluster.all_serving().await;
    signs(&cluster.client("payouts-1"), for_scripts(), [7; 32], &scripts).await;
    let bundle = tally_node::load_bundle(&cluster.dir.path().join("policy")).unwrap();
    let reports = verify_together(bundle.roster(), &logs_of(&cluster).await).unwrap();
    assert!(reports.iter().all(|r| (r.keys, r.signatures) == (3, 6)), "{reports:?}");
}
