//! Card numbers, the tokens that stand for them, and the domains in which they do: the rules, without a vault.
//!
//! Does: reads card numbers and knows their brands; draws tokens of each format and says how many there are; checks what a
//! domain may be; says what becomes of tokens, key versions and rotations; binds a row to its place; counts who asks for
//! how many neighbouring card numbers; takes card numbers out of bytes that are about to be logged, and finds them in text that
//! is kept as it is.
//! Does not: store, encrypt, compute a fingerprint, decide who may do what, draw randomness or read a clock. There is no
//! type, field or parameter for a card verification value (PCI DSS 3.3.1: it is never stored after authorization).

pub mod bind;
pub mod brand;
pub mod call;
pub mod change;
pub mod format;
pub mod guard;
pub mod keys;
pub mod life;
pub mod luhn;
pub mod pan;
pub mod plain;
pub mod rotation;
pub mod scrub;
pub mod spec;

pub use call::{Call, TokenCall};
pub use change::{DomainChange, RotatedKey};
pub use format::Format;
pub use pan::Pan;
pub use spec::DomainSpec;
