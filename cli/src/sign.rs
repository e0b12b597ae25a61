//! `tally sign`: asks for a signature and shows it only after verifying it.

use crate::foreign::{self, Verified};
use crate::input;
use crate::intents::Kept;
use crate::output::{Shown, field};
use crate::profile::ProfileArg;
use crate::{evm_tx, output::Usage};
use alloy_primitives::keccak256;
use serde_json::{Value, json};
use std::path::PathBuf;
use tally_chains::chain_of;
use tally_client::{Order, SealedIntent, Signed};
use tally_domain::{ContentKind, DerivationPath, Digest, KeyName, RequestId};

/// `tally sign NAME --evm-tx FILE | --typed-data FILE | --personal-message FILE | --message FILE | --payment FILE | --raw-digest HEX`
#[derive(Debug, clap::Args)]
pub struct Sign {
    /// The key.
    key: KeyName,
    #[command(flatten)]
    content: Content,
    /// A child of the key, such as m/0/7.
    #[arg(long, value_parser = input::path, default_value = "m")]
    path: DerivationPath,
    /// Names the request: 32 hex digits. The same id sends the very same signed bytes again while this profile's intents/
    /// directory keeps them, until a day after they expire; with other content it is refused. Without it, a fresh one.
    #[arg(long, value_parser = input::request_id, value_name = "HEX32")]
    request_id: Option<RequestId>,
    /// How long persons may take to approve it: such as 30m or 8h, at most 24h. More than ten minutes are refused where nobody
    /// must.
    #[arg(long, value_parser = input::span, value_name = "SPAN")]
    valid_for: Option<u64>,
    /// For people: goes into every log.
    #[arg(long, default_value = "")]
    note: String,
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub struct Content {
    /// An unsigned EVM transaction (EIP-1559, EIP-2930, or a legacy one with EIP-155): hex of its payload, or JSON. `-` is
    /// standard input.
    #[arg(long, value_name = "FILE")]
    evm_tx: Option<PathBuf>,
    /// Typed data (EIP-712): the JSON that wallets are given. With a key for transactions. `-` is standard input.
    #[arg(long, value_name = "FILE")]
    typed_data: Option<PathBuf>,
    /// A message for EVM wallets, signed under the prefix of EIP-191, also by a key in an HSM. `-` is standard input.
    #[arg(long, value_name = "FILE")]
    personal_message: Option<PathBuf>,
    /// A message, signed byte for byte; by a threshold key for ECDSA under the prefix of EIP-191, by one for Taproot as the
    /// hash that BIP-340 tags, with the tag tally/message. `-` is standard input.
    #[arg(long, value_name = "FILE")]
    message: Option<PathBuf>,
    /// A digest of something that nobody will look at: 64 hex digits. Only with a key in an HSM or for Taproot whose purpose
    /// is raw. For a Taproot output that commits to scripts their Merkle root follows (BIP-341), another 64.
    #[arg(long, value_parser = raw_digest, value_name = "HEX")]
    raw_digest: Option<RawDigest>,
    /// A file of bank payments (ISO 20022 pain.001), signed byte for byte. `-` is standard input.
    #[arg(long, value_name = "FILE")]
    payment: Option<PathBuf>,
}

impl Content {
    /// What it asks for.
    pub fn order(&self, key: KeyName) -> anyhow::Result<Order> {
        if let Some(file) = &self.evm_tx {
            let payload = evm_tx::parse(&input::read(file)?)?;
            return Ok(Order::sign_evm(key, &payload.chain, payload.bytes));
        }
        if let Some(file) = &self.typed_data {
            let json = input::read(file)?;
            let chain = chain_of(ContentKind::TypedData, &json).map_err(|e| Usage(e.to_string()))?;
            return Ok(Order::sign_typed_data(key, &chain, json));
        }
        Ok(match (&self.personal_message, &self.message, &self.payment, &self.raw_digest) {
            (Some(file), ..) => Order::sign_personal_message(key, input::read(file)?),
            (_, Some(file), ..) => Order::sign_message(key, input::read(file)?),
            (_, _, Some(file), _) => Order::sign_payment(key, input::read(file)?),
            (_, _, _, Some(RawDigest { digest, merkle_root: None })) => Order::sign_raw(key, digest.0),
            (_, _, _, Some(RawDigest { digest, merkle_root: Some(root) })) => {
                Order::sign_raw_for_scripts(key, digest.0, root.0)
            }
            (None, None, None, None) => return Err(Usage("give one thing to sign".into()).into()),
        })
    }
}

impl Sign {
    /// Runs it.
    pub async fn run(self, profile: &ProfileArg) -> anyhow::Result<Shown> {
        let order = self.content.order(self.key)?;
        let order = self.valid_for.into_iter().fold(order, Order::valid_for);
        let (client, kept) = (profile.client()?, Kept::beside(profile.path()?));
        let asked = kept.seal(&client, order.path(self.path).note(&self.note), self.request_id)?;
        let signed = kept.settle(&asked, client.sign(&asked.intent).await)?;
        let intent = asked.intent;
        let verified = foreign::verify(intent.intent(), &signed)?;
        Ok(shown(&intent, &signed, &verified))
    }
}

fn shown(intent: &SealedIntent, signed: &Signed, verified: &Verified) -> Shown {
    let mut lines = vec![
        format!("PERMITTED by rule {}", signed.rule),
        field("request", intent.request_id()),
        match &signed.home {
            Some(home) => field("signer", format!("HSM of {home}")),
            None => field("signers", signed.certificate.votes.len()),
        },
        field("public key", hex::encode(&signed.public_key)),
        field("signature", hex::encode(&signed.signature)),
    ];
    let mut document = to_json(signed);
    if let Value::Object(members) = &mut document {
        members.insert("verdict".into(), "permitted".into());
        members.insert("request_id".into(), intent.request_id().to_string().into());
        members.insert("signer_address".into(), json!(verified.sender));
    }
    lines.extend(verified.sender.as_ref().map(|sender| field("sender", sender)));
    if !signed.signed_payload.is_empty() {
        lines.push(field("tx hash", keccak256(&signed.signed_payload)));
        lines.push(field("raw transaction", format!("0x{}", hex::encode(&signed.signed_payload))));
    }
    Shown::done(lines.join("\n"), document)
}

/// A signature as a JSON object.
pub fn to_json(signed: &Signed) -> Value {
    let raw = (!signed.signed_payload.is_empty()).then(|| format!("0x{}", hex::encode(&signed.signed_payload)));
    json!({
        "rule": signed.rule,
        "signer_count": if signed.home.is_some() { 1 } else { signed.certificate.votes.len() },
        "home": signed.home.as_ref().map(|home| home.as_str()),
        "public_key": hex::encode(&signed.public_key),
        "signature": hex::encode(&signed.signature),
        "recovery_id": signed.recovery_id,
        "signed_bytes": hex::encode(&signed.signed_bytes),
        "transaction_hash": raw.is_some().then(|| keccak256(&signed.signed_payload).to_string()),
        "raw_transaction": raw,
    })
}

/// What `--raw-digest` says.
#[derive(Debug, Clone, Copy)]
struct RawDigest {
    digest: Digest,
    merkle_root: Option<Digest>,
}

fn raw_digest(text: &str) -> Result<RawDigest, String> {
    let wrong = || "a digest is 64 hex digits; with a Merkle root after it 128".to_owned();
    let bytes = hex::decode(text).map_err(|_| wrong())?;
    let (digest, root) = bytes.split_at_checked(32).ok_or_else(wrong)?;
    let digest = Digest::from_slice(digest).ok_or_else(wrong)?;
    let merkle_root = if root.is_empty() { None } else { Some(Digest::from_slice(root).ok_or_else(wrong)?) };
    Ok(RawDigest { digest, merkle_root })
}
