//! A node's own PKCS#11 token behind [`tally_domain::ports::hsm::Hsm`].
//!
//! Does: finds the token by label and serial, logs in once, signs with the node's identity key, makes sealing keys that
//! never leave the token, seals and opens under them, makes signing keys for clients and signs with them, makes KEKs and
//! wraps under them what the token draws or a client brings, and answers in time or says that it did not. Survives lost
//! sessions, hanging calls, errors and wrong answers of the module; finds back to a token that has come back.
//! Does not: hold any key in software, fall back to one, unload a module, finalize one while anybody is inside (it
//! crashes), or try a refused PIN again. Whether a client's signature verifies is for the caller to check, who has the
//! record of the key.
//!
//! Two tokens of one node ([`TokenPair`]) hold the same KEKs: made on the primary, carried to the standby under a key that
//! both got by [`provision_pair`] and neither gives out. The standby wraps while the primary does not; nothing else fails over.
//!
//! How: [`Pkcs11Hsm`] gives each operation to a pool of worker threads, each at a desk with a session of its own
//! (`pool`, `desk`). All that waits, waits until the operation is due and no longer (`turn`, `gate`). An error is
//! classed by its code and the function that gave it (`fault`): a lost session is replaced and the operation begun again, a
//! broken device counts (`health`, `breaker`). What differs between tokens is data (`profile`, `profiles/*.toml`); what all must
//! compute alike is tested before anything is offered (`selftest`). IVs are counted (`iv`).
//!
//! A module is best kept in a process of its own: [`RemoteHsm`] is the port on the node's side (`remote`), [`serve()`] the
//! life of the process, `hsmd`, on the other, with a [`Pkcs11Hsm`] as it is; `wire` is what passes between them. A process that crashes,
//! hangs or is stopped is killed and replaced. [`doctor`] examines a token before a node is given it.
//!
//! What is odd about the modules, all of it measured: SoftHSM 2.6.1 fails now and then when objects are found while
//! others are made, so finding, making and destroying exclude everything else here; it answers a wrong tag with
//! `CKR_GENERAL_ERROR`, so a probe decides whether the data or the token is bad (S-4.2); a logged-out session finds
//! nothing instead of failing, so "nothing" is believed only while logged in and while the identity key is found; it
//! applies the attributes of a key that it unwraps one by one, so that `CKA_MODIFIABLE = false` comes last; and it finds no
//! token that was made after it was initialized. Kryoptic answers a curve that it does not have with
//! `CKR_GENERAL_ERROR`, so which keys a token makes is tried when it is connected to (`schemes`). Both go on with the
//! parent's sessions in a forked child, which is refused here (`home`).
//!
//! `cryptoki` logs an error for each mechanism that it has no name for; programs should filter its log target.

mod breaker;
mod config;
mod desk;
pub mod doctor;
mod fault;
mod gate;
mod health;
mod home;
mod hsm;
mod iv;
mod keys;
mod module;
mod pair;
mod pairing;
mod pin;
mod pool;
mod probe;
mod profile;
mod remote;
mod resident;
mod schemes;
mod seal;
mod selftest;
mod serve;
mod spy;
mod token;
mod turn;
mod wire;

#[cfg(feature = "testing")]
pub mod testing;

pub use config::{Config, Mode, Role, WORKERS_MAX};
pub use hsm::{Pkcs11Hsm, provision};
pub use pair::TokenPair;
pub use pairing::provision_pair;
pub use pin::{PinSource, read_pin_file};
pub use profile::Profile;
pub use remote::{RemoteConfig, RemoteHsm, beside_this_program, provision_pair_remote, provision_remote};
pub use serve::serve;
