//! Card numbers under data keys and index keys: in the token in strict domains, here in hybrid ones.

use super::{Loaded, index_id};
use crate::node::Node;
use crate::reply;
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use rand::Rng as _;
use std::collections::BTreeMap;
use tally_domain::ports::hsm::{PlainRow, ROWS_MAX, RowSeal, SealedRow, StrictKey};
use tally_domain::ports::store::tokens::{DataKeyRow, IndexKeyRow, Sealed, TokenRow, WrappedKey};
use tally_domain::token::{DataKeyNumber, Fingerprint, Token};
use tally_domain::{Reason, Refusal, SecretBytes};
use tally_tokenization::Pan;
use tally_tokenization::bind::{index_input, row_aad};
use tally_tokenization::spec::Mode;
use zeroize::Zeroizing;

/// Fingerprints of card numbers under one index key, in order.
///
/// # Errors
/// `HSM`.
pub async fn fingerprints(
    node: &Node,
    loaded: &Loaded,
    key: &IndexKeyRow,
    pans: &[&Pan],
) -> Result<Vec<Fingerprint>, Refusal> {
    let mut all = Vec::with_capacity(pans.len());
    for chunk in pans.chunks(ROWS_MAX) {
        let inputs = chunk.iter().map(|pan| index_input(&loaded.domain, pan)).collect();
        all.extend(node.hsm.fingerprints(index_id(key), inputs).await.map_err(|e| reply::of_hsm(&e))?);
    }
    if all.len() == pans.len() { Ok(all) } else { Err(Reason::Hsm.into()) }
}

/// Card numbers under the current data key, each bound to its token; nothing in a domain that keeps none.
///
/// # Errors
/// `HSM`, `TAMPERED`.
pub async fn seal(node: &Node, loaded: &Loaded, rows: &[(&Token, &Pan)]) -> Result<Vec<Option<Sealed>>, Refusal> {
    let (Some(mode), Some(key)) = (loaded.mode(), loaded.current_data_key()) else {
        return Ok(rows.iter().map(|_| None).collect());
    };
    let wrapped = key.wrapped.as_ref().ok_or(Reason::Tampered)?;
    let aad = |token: &Token| row_aad(&loaded.domain, token, key.number).0.to_vec();
    let mut all = Vec::with_capacity(rows.len());
    for chunk in rows.chunks(ROWS_MAX) {
        let seals = match mode {
            Mode::Strict => {
                let plain = |(token, pan): &(&Token, &Pan)| PlainRow {
                    aad: aad(token),
                    plaintext: SecretBytes::new(pan.expose().to_vec()),
                };
                let rows = chunk.iter().map(plain).collect();
                node.hsm.seal_rows(strict(loaded, wrapped)?, rows).await.map_err(|e| reply::of_hsm(&e))?
            }
            Mode::Hybrid => {
                let cipher = cipher(node, loaded, key.number, wrapped, chunk.len()).await?;
                chunk.iter().map(|(token, pan)| sealed(&cipher, &aad(token), pan)).collect::<Result<_, _>>()?
            }
        };
        if seals.len() != chunk.len() {
            return Err(Reason::Hsm.into());
        }
        all.extend(
            seals.into_iter().map(|RowSeal { iv, ciphertext }| Some(Sealed { key: key.number, iv, ciphertext })),
        );
    }
    Ok(all)
}

/// What became of a row that was to be opened.
pub enum Opened {
    /// Its card number.
    Pan(Pan),
    /// It keeps none.
    Nothing,
    /// It is not what was stored: changed, swapped, or restored from an older copy.
    Tampered,
    /// Its data key is not among those that were loaded.
    OtherKeys,
}

/// The card numbers of rows, in order.
///
/// # Errors
/// `HSM`.
pub async fn open(node: &Node, loaded: &Loaded, rows: &[TokenRow]) -> Result<Vec<Opened>, Refusal> {
    let mut all: Vec<Opened> = rows.iter().map(|_| Opened::Nothing).collect();
    let mut by_key: BTreeMap<DataKeyNumber, Vec<(usize, &TokenRow, &Sealed)>> = BTreeMap::new();
    for (at, row) in rows.iter().enumerate() {
        if let Some(sealed) = &row.sealed {
            by_key.entry(sealed.key).or_default().push((at, row, sealed));
        }
    }
    for (number, group) in by_key {
        for chunk in group.chunks(ROWS_MAX) {
            let opened = open_group(node, loaded, number, chunk).await?;
            for ((at, ..), opened) in chunk.iter().zip(opened) {
                if let Some(place) = all.get_mut(*at) {
                    *place = opened;
                }
            }
        }
    }
    Ok(all)
}

async fn open_group(
    node: &Node,
    loaded: &Loaded,
    number: DataKeyNumber,
    rows: &[(usize, &TokenRow, &Sealed)],
) -> Result<Vec<Opened>, Refusal> {
    let key = loaded.data_key(number).map(|DataKeyRow { wrapped, .. }| wrapped.as_ref());
    let (Some(Some(wrapped)), Some(mode)) = (key, loaded.mode()) else {
        return Ok(rows.iter().map(|_| Opened::OtherKeys).collect());
    };
    let aad = |token: &Token| row_aad(&loaded.domain, token, number).0.to_vec();
    let plain = match mode {
        Mode::Strict => {
            let sealed = |(_, row, sealed): &(usize, &TokenRow, &Sealed)| SealedRow {
                aad: aad(&row.token),
                seal: RowSeal { iv: sealed.iv, ciphertext: sealed.ciphertext.clone() },
            };
            let rows = rows.iter().map(sealed).collect();
            node.hsm.open_rows(strict(loaded, wrapped)?, rows).await.map_err(|e| reply::of_hsm(&e))?
        }
        Mode::Hybrid => {
            let cipher = cipher(node, loaded, number, wrapped, rows.len()).await?;
            rows.iter().map(|(_, row, sealed)| opened(&cipher, &aad(&row.token), sealed)).collect()
        }
    };
    let read = |plain: Option<SecretBytes>| match plain.and_then(|plain| Pan::parse(plain.expose()).ok()) {
        Some(pan) => Opened::Pan(pan),
        None => Opened::Tampered,
    };
    Ok(plain.into_iter().map(read).collect())
}

fn strict(loaded: &Loaded, wrapped: &WrappedKey) -> Result<StrictKey, Refusal> {
    let kek = loaded.keks.iter().find(|kek| kek.number == wrapped.kek_version).ok_or(Reason::Tampered)?;
    Ok(StrictKey { kek: kek.kek.object, wrapped: wrapped.wrapped.clone() })
}

async fn cipher(
    node: &Node,
    loaded: &Loaded,
    number: DataKeyNumber,
    wrapped: &WrappedKey,
    uses: usize,
) -> Result<LessSafeKey, Refusal> {
    let key = node.vaults.keys.get(node, loaded, number, wrapped, uses as u64).await?;
    // Its key schedule is made for this one use, and wiped when it is dropped.
    let key = UnboundKey::new(&AES_256_GCM, key.expose()).map_err(|_| Reason::Bug)?;
    Ok(LessSafeKey::new(key))
}

/// Random IVs: a data key makes at most 2^31 of them, which is half of what NIST SP 800-38D allows.
pub(super) fn sealed(cipher: &LessSafeKey, aad: &[u8], pan: &Pan) -> Result<RowSeal, Refusal> {
    let mut iv = [0; 12];
    rand::rng().fill_bytes(&mut iv);
    let mut ciphertext = pan.expose().to_vec();
    let nonce = Nonce::assume_unique_for_key(iv);
    match cipher.seal_in_place_append_tag(nonce, Aad::from(aad), &mut ciphertext) {
        Ok(()) => Ok(RowSeal { iv, ciphertext }),
        Err(_) => {
            drop(Zeroizing::new(ciphertext));
            Err(Reason::Bug.into())
        }
    }
}

pub(super) fn opened(cipher: &LessSafeKey, aad: &[u8], sealed: &Sealed) -> Option<SecretBytes> {
    let mut bytes = Zeroizing::new(sealed.ciphertext.clone());
    let nonce = Nonce::assume_unique_for_key(sealed.iv);
    let plain = cipher.open_in_place(nonce, Aad::from(aad), &mut bytes).ok()?;
    Some(SecretBytes::new(plain.to_vec()))
}
