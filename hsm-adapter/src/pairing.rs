//! Two tokens become a pair: both get one transfer key, which neither gives out.
//!
//! It is born on the primary as a key of one session, leaves it under an RSA key of the standby and under one of the
//! primary's own, and is unwrapped on both for good. The RSA keys, and the key as it was born, end with their sessions.

use crate::config::{Config, Role, configuration};
use crate::desk::{Desk, Office, Try};
use crate::fault::Fault;
use crate::hsm::{CONNECT_MAX, FIRST_DESK, log_in, within};
use crate::keys::Key;
use crate::probe::capabilities;
use crate::token::LoggedIn;
use crate::turn::Turn;
use std::sync::Arc;
use std::time::Duration;
use tally_domain::dsse::VerifyingKey;
use tally_domain::ports::hsm::HsmError;

/// Longest time to pair two tokens: each looks for the primes of an RSA key.
pub const PAIR_MAX: Duration = Duration::from_secs(60);

/// Makes the identity keys of both tokens if they have none, and a transfer key if neither has one; gives the public half
/// of the primary's identity key, which is the node's. Blocks.
///
/// The standby's identity key signs for nobody: it tells whether the token is there, as each token's does.
///
/// # Errors
/// [`HsmError`]; [`HsmError::Configuration`] when the tokens are one, or are parts of two pairs.
pub fn provision_pair(primary: Config, standby: Config) -> Result<VerifyingKey, HsmError> {
    within(PAIR_MAX, "pairing two tokens", move |turn| {
        let mut primary = End::open(Config { role: Role::Primary, ..primary }, turn)?;
        let mut standby = End::open(Config { role: Role::Standby, ..standby }, turn)?;
        must_differ(&primary.office, &standby.office)?;
        let paired = |end: &mut End| end.desk.run(turn, |desk, _| desk.is_paired());
        match (paired(&mut primary)?, paired(&mut standby)?) {
            (true, true) => {}
            (false, false) => give_birth(&mut primary.desk, &mut standby.desk, turn)?,
            (true, false) => return Err(half(&primary.office)),
            (false, true) => return Err(half(&standby.office)),
        }
        compare(&mut primary.desk, &mut standby.desk, turn)?;
        primary.desk.run(turn, |desk, _| desk.identity())
    })
}

/// Refuses two tokens that do not have one transfer key. Blocks.
pub fn must_be_a_pair(primary: &Arc<Office>, standby: &Arc<Office>) -> Result<(), HsmError> {
    let (primary, standby) = (Arc::clone(primary), Arc::clone(standby));
    within(CONNECT_MAX, "comparing two tokens", move |turn| {
        let (mut primary, mut standby) = (Desk::new(FIRST_DESK, primary), Desk::new(FIRST_DESK, standby));
        compare(&mut primary, &mut standby, turn)
    })
}

/// Refuses one token in two roles.
pub fn must_differ(primary: &Office, standby: &Office) -> Result<(), Fault> {
    let (one, other) = (primary.token, standby.token);
    if (&one.label, &one.serial, &one.manufacturer) == (&other.label, &other.serial, &other.manufacturer) {
        return Err(configuration(format!("`{}` is configured as primary and as standby", one.label)).into());
    }
    Ok(())
}

/// One of the two. Fields drop in order: the desk's session closes before the login ends.
struct End {
    desk: Desk,
    office: Arc<Office>,
    _login: LoggedIn,
}

impl End {
    fn open(config: Config, turn: &Turn) -> Result<Self, Fault> {
        let (office, login) = log_in(config, turn)?;
        let mut desk = Desk::new(FIRST_DESK, Arc::clone(&office));
        let seen = desk.run(turn, |desk, _| {
            desk.ensure_identity()?;
            capabilities(desk)
        })?;
        office.capabilities.get_or_init(|| seen);
        Ok(Self { desk, office, _login: login })
    }
}

fn give_birth(primary: &mut Desk, standby: &mut Desk, turn: &Turn) -> Result<(), Fault> {
    let to_standby = standby.run(turn, |desk, _| desk.transport())?;
    let to_primary = primary.run(turn, |desk, _| desk.transport())?;
    let moduli = [to_standby.modulus.as_slice(), &to_primary.modulus];
    let [for_standby, for_primary] = primary.run(turn, |desk, _| desk.born_transfer_key(moduli))?;
    standby.run(turn, |desk, _| desk.take_transfer_key(&to_standby, &for_standby))?;
    let kept = primary.run(turn, |desk, _| desk.take_transfer_key(&to_primary, &for_primary));
    if kept.is_err() {
        // Half a pair would be in the way of the next try.
        standby.run(turn, |desk, _| desk.destroy(Key::Transfer, Try::Again))?;
    }
    kept
}

fn compare(primary: &mut Desk, standby: &mut Desk, turn: &Turn) -> Result<(), Fault> {
    let proof = primary.run(turn, |desk, _| desk.transfer_proof())?;
    standby.run(turn, |desk, _| desk.must_open(&proof))
}

/// Whichever of the two is the right one, nothing is destroyed here that KEKs may be waiting under.
fn half(with: &Office) -> Fault {
    let label = &with.token.label;
    let what = format!(
        "only the token `{label}` has a transfer key: it was paired with another token, or pairing was cut short. Remove \
         its key `tally-transfer` and pair again; KEKs that were not given to a standby by then cannot be any more"
    );
    configuration(what).into()
}
