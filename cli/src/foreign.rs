//! Signatures verified, and children of keys computed, by libraries that no node uses: libsecp256k1 and AWS-LC. The digest is computed here from what was
//! asked for, never taken from the answer.

use anyhow::{Context as _, bail, ensure};
use aws_lc_rs::digest::SHA256;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, RSA_PSS_2048_8192_SHA256, UnparsedPublicKey, VerificationAlgorithm,
};
use curve25519_dalek::edwards::{CompressedEdwardsY, EdwardsPoint};
use secp256k1::ecdsa::{RecoverableSignature, RecoveryId};
use secp256k1::{Message, SECP256K1, Scalar, XOnlyPublicKey, schnorr};
use sha2::{Digest as _, Sha256};
use tally_chains::{ToSign, decode, decode_hsm, evm_address};
use tally_client::Signed;
use tally_domain::spki::Parts;
use tally_domain::{ContentKind, Digest, HsmScheme, Intent, PublicKey, Scheme};

/// A compressed point of secp256k1; an Ed25519 public key has 32 bytes.
const SECP256K1_KEY_BYTES: usize = 33;

/// A signature over what the intent asks for, by the public key that was answered.
pub struct Verified {
    /// EIP-55 address that libsecp256k1 recovers from an ECDSA signature.
    pub sender: Option<String>,
}

/// Verifies what was answered to an intent.
pub fn verify(intent: &Intent, signed: &Signed) -> anyhow::Result<Verified> {
    if signed.home.is_some() {
        return verify_resident(intent, signed);
    }
    let decoded = |scheme| decode(intent.kind, scheme, &intent.chain, &intent.content).map(|decoded| decoded.to_sign);
    if signed.public_key.len() != SECP256K1_KEY_BYTES {
        // Both other schemes have keys of 32 bytes; no signature is good in both.
        let plain = decoded(Scheme::Ed25519).ok().and_then(|what| match what {
            ToSign::Message(message) => Some(message),
            ToSign::Digest(_) | ToSign::Output { .. } => None,
        });
        if plain.is_none_or(|message| ed25519(&signed.public_key, &message, &signed.signature).is_err()) {
            bip340(&signed.public_key, &decoded(Scheme::Taproot)?, &signed.signature)
                .context("nor does AWS-LC as one of Ed25519")?;
        }
        return Ok(Verified { sender: None });
    }
    match decoded(Scheme::EcdsaSecp256k1)? {
        ToSign::Digest(digest) => {
            let signer = recover(digest.0, &signed.signature, signed.recovery_id)?;
            ensure!(signer == signed.public_key, "the signature is by another key than the answer says");
            if intent.kind == ContentKind::EvmTransaction {
                check_transaction(&intent.content, signed)?;
            }
            Ok(Verified { sender: is_for_evm(intent.kind).then(|| evm_address(&signer)).transpose()? })
        }
        ToSign::Message(_) | ToSign::Output { .. } => bail!("the key's scheme does not sign that"),
    }
}

/// Verifies with libsecp256k1, under the output key.
fn bip340(output_key: &[u8], what: &ToSign, signature: &[u8]) -> anyhow::Result<()> {
    let (ToSign::Digest(digest) | ToSign::Output { digest, .. }) = what else { bail!("it is no digest") };
    let key = XOnlyPublicKey::from_byte_array(output_key.try_into().context("the public key is not 32 bytes")?);
    let signature = schnorr::Signature::from_byte_array(signature.try_into().context("the signature is not 64 bytes")?);
    let verified = signature.verify(&digest.0, &key.context("no point has the x of the public key")?);
    verified.context("libsecp256k1 does not verify the signature as one of BIP-340")
}

/// Whether contracts and people know the signer by its EVM address.
fn is_for_evm(kind: ContentKind) -> bool {
    matches!(kind, ContentKind::EvmTransaction | ContentKind::TypedData | ContentKind::PersonalMessage)
}

/// Verifies what a key in an HSM has signed.
fn verify_resident(intent: &Intent, signed: &Signed) -> anyhow::Result<Verified> {
    let key = PublicKey::from_spki(&signed.public_key).context("the answer's public key does not read")?;
    match (decode_hsm(intent.kind, key.scheme(), &intent.chain, &intent.content)?.to_sign, key.parts()) {
        (ToSign::Digest(digest), Parts::Point { .. }) if key.scheme() == HsmScheme::EcdsaSecp256k1 => {
            let signer = recover(digest.0, &signed.signature, signed.recovery_id)?;
            ensure!(Some(&signer) == key.secp256k1_compressed().as_ref(), "the signature is by another key");
            if !is_for_evm(intent.kind) {
                return Ok(Verified { sender: None });
            }
            if intent.kind == ContentKind::EvmTransaction {
                check_transaction(&intent.content, signed)?;
            }
            return Ok(Verified { sender: Some(evm_address(&signer)?) });
        }
        (ToSign::Digest(digest), Parts::Point { x, y }) => {
            by_aws_lc(&ECDSA_P256_SHA256_FIXED, &[&[4], &x[..], &y].concat(), digest, &signed.signature)?;
        }
        (ToSign::Digest(digest), Parts::Rsa { .. }) => {
            let key = signed.public_key.get(RSA_KEY_AT..).context("the RSA key is too short")?;
            by_aws_lc(&RSA_PSS_2048_8192_SHA256, key, digest, &signed.signature)?;
        }
        (ToSign::Message(message), Parts::Ed25519(key)) => ed25519(&key, &message, &signed.signature)?,
        _ => bail!("the key's scheme does not sign that"),
    }
    Ok(Verified { sender: None })
}

/// Where the `RSAPublicKey` begins in the SubjectPublicKeyInfo of an RSA key of 3072 bits.
const RSA_KEY_AT: usize = 24;

fn by_aws_lc(
    algorithm: &'static dyn VerificationAlgorithm,
    key: &[u8],
    digest: Digest,
    signature: &[u8],
) -> anyhow::Result<()> {
    let digest = aws_lc_rs::digest::Digest::import_less_safe(&digest.0, &SHA256).context("the digest is too short")?;
    let verified = UnparsedPublicKey::new(algorithm, key).verify_digest(&digest, signature);
    verified.ok().context("AWS-LC does not verify the signature")
}

/// The compressed public key that libsecp256k1 recovers.
pub fn recover(digest: [u8; 32], signature: &[u8], recovery_id: u8) -> anyhow::Result<Vec<u8>> {
    let id = RecoveryId::try_from(i32::from(recovery_id)).context("the recovery id is out of range")?;
    let signature = RecoverableSignature::from_compact(signature, id).context("libsecp256k1 refuses the signature")?;
    let key = SECP256K1.recover_ecdsa(Message::from_digest(digest), &signature);
    Ok(key.context("libsecp256k1 recovers no key from the signature")?.serialize().to_vec())
}

/// Verifies with AWS-LC.
pub fn ed25519(public_key: &[u8], message: &[u8], signature: &[u8]) -> anyhow::Result<()> {
    let key = aws_lc_rs::signature::UnparsedPublicKey::new(&aws_lc_rs::signature::ED25519, public_key);
    if key.verify(message, signature).is_err() {
        bail!("AWS-LC does not verify the Ed25519 signature");
    }
    Ok(())
}

/// The raw transaction must be the one that was asked for with this very signature in it.
fn check_transaction(content: &[u8], signed: &Signed) -> anyhow::Result<()> {
    let (r, s) = signed.signature.split_first_chunk::<32>().context("the signature is too short")?;
    let s = s.try_into().context("the signature is not 64 bytes")?;
    let expected = tally_chains::signed_transaction(content, *r, s, signed.recovery_id)?;
    ensure!(expected == signed.signed_payload, "the raw transaction is not the one that was asked for");
    Ok(())
}

/// The compressed public key that the `bip32` crate derives from an extended public key.
pub fn bip32_child(xpub: &str, steps: &[u32]) -> anyhow::Result<Vec<u8>> {
    use bip32::{ChildNumber, ExtendedPublicKey, secp256k1::ecdsa::VerifyingKey};
    let mut key: ExtendedPublicKey<VerifyingKey> = xpub.parse().context("the bip32 crate refuses the xpub")?;
    for step in steps {
        key = key.derive_child(ChildNumber::new(*step, false)?)?;
    }
    Ok(key.to_bytes().to_vec())
}

/// The output key that libsecp256k1 makes of that child, where it commits to no scripts (BIP-86).
pub fn taproot_child(xpub: &str, steps: &[u32]) -> anyhow::Result<Vec<u8>> {
    let child = secp256k1::PublicKey::from_slice(&bip32_child(xpub, steps)?)?;
    let (internal, _) = child.x_only_public_key();
    let tag = Sha256::digest("TapTweak");
    let tweak = Sha256::new().chain_update(tag).chain_update(tag).chain_update(internal.serialize()).finalize();
    let (output, _) = internal.add_tweak(SECP256K1, &Scalar::from_be_bytes(tweak.into())?)?;
    Ok(output.serialize().to_vec())
}

/// The child of an Ed25519 key: each step adds the left half of an HMAC-SHA512 over the parent and the index, as a scalar.
pub fn ed25519_child(public_key: &[u8], chain_code: [u8; 32], steps: &[u32]) -> anyhow::Result<Vec<u8>> {
    let mut key = CompressedEdwardsY::from_slice(public_key).context("the public key is not 32 bytes")?;
    let mut chain_code = chain_code;
    for step in steps {
        let data = [&key.as_bytes()[..], &step.to_be_bytes()].concat();
        let mac = aws_lc_rs::hmac::sign(&aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA512, &chain_code), &data);
        let (left, right) = mac.as_ref().split_first_chunk::<32>().context("the HMAC is too short")?;
        let tweak = EdwardsPoint::mul_base(&curve25519_dalek::Scalar::from_bytes_mod_order(*left));
        key = (key.decompress().context("the public key is no point")? + tweak).compress();
        chain_code = right.try_into().context("the HMAC is too short")?;
    }
    Ok(key.as_bytes().to_vec())
}
