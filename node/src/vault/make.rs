//! New keys of token domains, made on every token that the node has. One that was made and not written down has wrapped
//! nothing, and nobody knows its id.

use super::Loaded;
use crate::node::{Node, fresh_rng};
use crate::reply;
use rand::Rng as _;
use tally_domain::ports::hsm::{HsmError, IndexKeyId, KekId, Seal, VaultKey};
use tally_domain::ports::store::tokens::{DomainKek, KekKind, NewDomain, WrappedKey};
use tally_domain::token::DataKeyNumber;
use tally_domain::{KekNumber, KeyName, Reason, Refusal, UnixMillis};
use tally_tokenization::bind::data_key_aad;
use tally_tokenization::spec::{Checked, Keeping, Mode};

/// Bytes of a data key: AES-256.
const DATA_KEY_BYTES: usize = 32;

/// How often the token is asked for one key, when it is not known whether it has made one.
const TOKEN_TRIES_MAX: u32 = 3;

/// A domain with its first keys.
///
/// # Errors
/// `HSM`.
pub async fn first_keys(node: &Node, checked: &Checked, name: &KeyName, at: UnixMillis) -> Result<NewDomain, Refusal> {
    let spec = checked.spec();
    let index_key = new_index_key(node).await?;
    let data_key = match spec.keeping {
        Keeping::OneWay => None,
        Keeping::Reversible { mode, .. } => {
            let kek = draw_kek(node, mode).await?;
            let aad = data_key_aad(&spec.domain, DataKeyNumber(1)).0.to_vec();
            Some((kek, wrapped(node, kek, aad, name, KekNumber::FIRST).await?))
        }
    };
    Ok(NewDomain {
        domain: spec.domain.clone(),
        record: spec.to_bytes(),
        home: spec.home.clone(),
        reuse: spec.reuse,
        data_key,
        index_key: index_key.0,
        at,
    })
}

/// A data key of the next number, under a KEK of the domain.
///
/// # Errors
/// `HSM`.
pub async fn new_data_key(
    node: &Node,
    loaded: &Loaded,
    kek: DomainKek,
    version: KekNumber,
) -> Result<WrappedKey, Refusal> {
    let next = loaded.data_keys.last().map_or(1, |last| last.number.0.saturating_add(1));
    let aad = data_key_aad(&loaded.domain, DataKeyNumber(next)).0.to_vec();
    wrapped(node, kek, aad, &loaded.name()?, version).await
}

/// A KEK for domains of a mode.
///
/// # Errors
/// `HSM`.
pub async fn draw_kek(node: &Node, mode: Mode) -> Result<DomainKek, Refusal> {
    let mut error = HsmError::Busy;
    for _ in 0..TOKEN_TRIES_MAX {
        let object = KekId(drawn());
        let (kind, made) = match mode {
            Mode::Hybrid => (KekKind::Sealing, sealing_kek(node, object).await),
            Mode::Strict => (KekKind::Wrapping, vault_key(node, VaultKey::Wrapping(object)).await),
        };
        match made {
            Ok(()) => return Ok(DomainKek { object, kind }),
            Err(Unmade::Primary(late @ HsmError::Deadline { .. })) => error = late,
            Err(other) => return Err(other.into()),
        }
    }
    Err(reply::of_hsm(&error))
}

/// A blind-index key.
///
/// # Errors
/// `HSM`.
pub async fn new_index_key(node: &Node) -> Result<IndexKeyId, Refusal> {
    let mut error = HsmError::Busy;
    for _ in 0..TOKEN_TRIES_MAX {
        let id = IndexKeyId(drawn());
        match vault_key(node, VaultKey::Index(id)).await {
            Ok(()) => return Ok(id),
            Err(Unmade::Primary(late @ HsmError::Deadline { .. })) => error = late,
            Err(other) => return Err(other.into()),
        }
    }
    Err(reply::of_hsm(&error))
}

/// Why there is no new key.
enum Unmade {
    /// The token that makes keys does not.
    Primary(HsmError),
    /// The other one does not take it.
    Standby(HsmError),
}

impl From<Unmade> for Refusal {
    fn from(unmade: Unmade) -> Self {
        match unmade {
            Unmade::Primary(error) => reply::of_hsm(&error),
            Unmade::Standby(error) => {
                tracing::error!(%error, "the standby token does not take a key of a token domain");
                Reason::HsmStandby.into()
            }
        }
    }
}

/// A KEK that encrypts, on every token of the node or on none: with a key that only the primary has, the domain would end
/// with the primary, and nobody would know before.
async fn sealing_kek(node: &Node, id: KekId) -> Result<(), Unmade> {
    let made = node.hsm.create_kek(id).await.map_err(Unmade::Primary)?;
    let Some(transfer) = made.transfer else { return Ok(()) };
    let why = match node.hsm.replicate_kek(id, transfer).await {
        Ok(check_value) if check_value == made.check_value => return Ok(()),
        Ok(_) => HsmError::Integrity,
        Err(error) => error,
    };
    undo(node.hsm.destroy_kek(id).await);
    Err(Unmade::Standby(why))
}

/// The same for a key that serves a domain alone.
async fn vault_key(node: &Node, key: VaultKey) -> Result<(), Unmade> {
    let made = node.hsm.create_vault_key(key).await.map_err(Unmade::Primary)?;
    let Some(transfer) = made else { return Ok(()) };
    let Err(why) = node.hsm.replicate_vault_key(key, transfer).await else { return Ok(()) };
    undo(node.hsm.destroy_vault_key(key).await);
    Err(Unmade::Standby(why))
}

/// The standby may not answer this either. What is left has wrapped nothing, and nobody knows its id.
fn undo(destroyed: Result<(), HsmError>) {
    if let Err(error) = destroyed {
        tracing::warn!(%error, "a key that is not used may be left on a token");
    }
}

async fn wrapped(
    node: &Node,
    kek: DomainKek,
    aad: Vec<u8>,
    name: &KeyName,
    kek_version: KekNumber,
) -> Result<WrappedKey, Refusal> {
    let made = match kek.kind {
        KekKind::Sealing => {
            let under = Seal { kek: kek.object, aad };
            node.hsm.generate_data_key(DATA_KEY_BYTES, under).await.map(|key| key.sealed)
        }
        KekKind::Wrapping => node.hsm.create_strict_key(kek.object).await,
    };
    let wrapped = made.map_err(|e| reply::of_hsm(&e))?;
    Ok(WrappedKey { kek: name.clone(), kek_version, wrapped })
}

fn drawn() -> [u8; 16] {
    let mut id = [0; 16];
    fresh_rng().fill_bytes(&mut id);
    id
}
