//! What tests ask for, and how they check what they get.

use super::cluster::{USDC, VENDOR};
use tally_chains::{Eip1559, eip1559_unsigned, erc20_transfer_input, parse_evm_address};
use tally_client::{Client, ClientError, KeyBacking, Order, Signed};
use tally_domain::facts::Amount;
use tally_domain::{HsmKeySpec, HsmScheme, KeyName, KeySpec, NodeName, PublicKey, Purpose, Reason, Scheme, Threshold};

pub fn key(name: &str) -> KeyName {
    KeyName::parse(name).unwrap()
}

pub fn amount(n: u128) -> Amount {
    let mut bytes = [0; 32];
    bytes[16..].copy_from_slice(&n.to_be_bytes());
    Amount(bytes)
}

/// An unsigned EIP-1559 transaction of USDC to the vendor, in millionths.
pub fn usdc(chain_id: u64, nonce: u64, micro: u128) -> Vec<u8> {
    call(chain_id, nonce, erc20_transfer_input(parse_evm_address(VENDOR).unwrap(), amount(micro)))
}

/// A call of the USDC contract.
pub fn call(chain_id: u64, nonce: u64, input: Vec<u8>) -> Vec<u8> {
    eip1559_unsigned(&Eip1559 {
        chain_id,
        nonce,
        max_priority_fee_per_gas: 1_000_000_000,
        max_fee_per_gas: 30_000_000_000,
        gas_limit: 60_000,
        to: Some(parse_evm_address(USDC).unwrap()),
        value: amount(0),
        input,
    })
}

pub fn pay(nonce: u64, whole_usdc: u128) -> Order {
    Order::sign_evm(key("hot"), "eip155:1", usdc(1, nonce, whole_usdc * 1_000_000))
}

pub fn say(text: &str) -> Order {
    Order::sign_message(key("fast"), text.as_bytes().to_vec())
}

/// `fast`: Ed25519, 2 of 3, for messages.
pub async fn create_fast(client: &Client) -> Vec<u8> {
    create(client, "fast", Scheme::Ed25519, Purpose::Message).await
}

/// `hot`: ECDSA, 2 of 3, for transactions.
pub async fn create_hot(client: &Client) -> Vec<u8> {
    create(client, "hot", Scheme::EcdsaSecp256k1, Purpose::Transaction).await
}

/// What a busy machine makes of three nodes that start: one does not answer in time. A client asks again, with the same intent.
const AWAY: [Reason; 2] = [Reason::Participants, Reason::Deadline];
const CREATE_AGAIN_MAX: usize = 3;

/// A key in shares, 2 of 3.
pub async fn create(client: &Client, name: &str, scheme: Scheme, purpose: Purpose) -> Vec<u8> {
    let spec = KeySpec { scheme, threshold: Threshold::new(2, 3).unwrap(), purpose };
    let intent = client.seal(Order::create_key(key(name), spec)).unwrap();
    for _ in 0..CREATE_AGAIN_MAX {
        match client.create_key(&intent).await {
            Err(error) if error.refused().is_some_and(|r| AWAY.contains(&r.reason)) => {}
            done => return done.unwrap().key.public_key,
        }
    }
    client.create_key(&intent).await.unwrap().key.public_key
}

/// Creates a key in the HSM of a node, by asking `client`.
pub async fn create_hsm(client: &Client, name: &str, spec: &HsmKeySpec) -> Result<PublicKey, ClientError> {
    let intent = client.seal(Order::create_hsm_key(key(name), spec)).unwrap();
    let created = client.create_key(&intent).await?.key;
    let KeyBacking::Hsm { public_key, home } = created.backing else { panic!("not in an HSM") };
    assert_eq!((home, created.state.as_str()), (spec.home.clone(), "active"));
    Ok(public_key)
}

/// A key for the HSM of the node at an index.
pub fn in_hsm_of(node: usize, scheme: HsmScheme, purpose: Purpose) -> HsmKeySpec {
    HsmKeySpec { scheme, purpose, home: NodeName::parse(&format!("node-{}", node + 1)).unwrap() }
}

pub async fn sign(client: &Client, order: Order) -> Result<Signed, ClientError> {
    client.sign(&client.seal(order).unwrap()).await
}

/// The reason of a refusal; anything else fails the test.
pub fn reason<T: std::fmt::Debug>(outcome: Result<T, ClientError>) -> Reason {
    let error = outcome.expect_err("this must be refused");
    error.refused().unwrap_or_else(|| panic!("not a typed refusal: {error:?}")).reason
}

/// Ed25519 by a library that has not signed.
pub fn verified_ed25519(public_key: &[u8], message: &[u8], signature: &[u8]) {
    let key = aws_lc_rs::signature::UnparsedPublicKey::new(&aws_lc_rs::signature::ED25519, public_key);
    key.verify(message, signature).expect("the signature must verify with another library");
}

/// The public key that libsecp256k1 recovers, compressed.
pub fn recovered(signed: &Signed) -> Vec<u8> {
    use secp256k1::ecdsa::{RecoverableSignature, RecoveryId};
    let id = RecoveryId::try_from(i32::from(signed.recovery_id)).unwrap();
    let signature = RecoverableSignature::from_compact(&signed.signature, id).unwrap();
    let digest = secp256k1::Message::from_digest(signed.signed_bytes.as_slice().try_into().unwrap());
    signature.recover(digest).unwrap().serialize().to_vec()
}
