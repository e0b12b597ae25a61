//! What a row and a fingerprint are bound to.

use crate::pan::Pan;
use tally_domain::SecretBytes;
use tally_domain::digest::{Digest, TaggedHash};
use tally_domain::token::{DataKeyNumber, Token, TokenDomain};

/// Separates the inputs of blind-index keys from anything else that such a key could be made to authenticate.
const INDEX_TAG: &str = "tally/v1/blind-index";

/// The AAD of a token's row: a row that is under another token, domain or key version does not open.
pub fn row_aad(domain: &TokenDomain, token: &Token, key: DataKeyNumber) -> Digest {
    of_domain("tally/v1/token-row", domain).field(token.as_str().as_bytes()).number(u64::from(key.0)).finish()
}

/// The AAD of a domain's data key under its KEK.
pub fn data_key_aad(domain: &TokenDomain, key: DataKeyNumber) -> Digest {
    of_domain("tally/v1/token-data-key", domain).number(u64::from(key.0)).finish()
}

/// What the blind-index key authenticates: tag, tenant, domain and the bare digits, each behind its length as eight
/// big-endian bytes, so that no two of them give the same bytes. It holds the card number, and is wiped like one.
pub fn index_input(domain: &TokenDomain, pan: &Pan) -> SecretBytes {
    let fields =
        [INDEX_TAG.as_bytes(), domain.tenant.as_str().as_bytes(), domain.name.as_str().as_bytes(), pan.expose()];
    // Made at its full size: a vector that grew would leave a copy behind.
    let mut bytes = Vec::with_capacity(fields.iter().map(|field| 8 + field.len()).sum());
    for field in fields {
        bytes.extend_from_slice(&(field.len() as u64).to_be_bytes());
        bytes.extend_from_slice(field);
    }
    SecretBytes::new(bytes)
}

/// Starts a hash about a domain.
pub(crate) fn of_domain(tag: &str, domain: &TokenDomain) -> TaggedHash {
    TaggedHash::new(tag).field(domain.tenant.as_str().as_bytes()).field(domain.name.as_str().as_bytes())
}
