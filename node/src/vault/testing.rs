//! Rows of hybrid domains with a data key that is given, for those who try what is no row.

use super::rows;
use aws_lc_rs::aead::{AES_256_GCM, LessSafeKey, UnboundKey};
use tally_domain::ports::store::tokens::Sealed;
use tally_domain::token::{DataKeyNumber, Token, TokenDomain};
use tally_tokenization::Pan;
use tally_tokenization::bind::row_aad;

/// The one version of the data key.
const KEY: DataKeyNumber = DataKeyNumber(1);

fn cipher(key: [u8; 32]) -> Option<LessSafeKey> {
    UnboundKey::new(&AES_256_GCM, &key).ok().map(LessSafeKey::new)
}

/// What is kept of a card number beside its token.
pub fn sealed(key: [u8; 32], domain: &TokenDomain, token: &Token, pan: &Pan) -> Option<Sealed> {
    let seal = rows::sealed(&cipher(key)?, &row_aad(domain, token, KEY).0, pan).ok()?;
    Some(Sealed { key: KEY, iv: seal.iv, ciphertext: seal.ciphertext })
}

/// The card number again.
pub fn opened(key: [u8; 32], domain: &TokenDomain, token: &Token, sealed: &Sealed) -> Option<Pan> {
    let plain = rows::opened(&cipher(key)?, &row_aad(domain, token, sealed.key).0, sealed)?;
    Pan::parse(plain.expose()).ok()
}
