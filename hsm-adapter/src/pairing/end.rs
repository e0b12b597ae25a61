//! One of two tokens, with its module in this process.

use super::{Met, Partner};
use crate::config::Config;
use crate::desk::{Desk, Office, Proof, Transport, Try};
use crate::fault::Fault;
use crate::hsm::{FIRST_DESK, log_in};
use crate::keys::Key;
use crate::probe::capabilities;
use crate::token::LoggedIn;
use crate::turn::Turn;
use std::sync::Arc;
use tally_domain::ports::hsm::HsmError;

/// A session at the token. Fields drop in order: it closes before the login ends.
pub struct End {
    desk: Desk,
    turn: Turn,
    transport: Option<Transport>,
    _login: Option<LoggedIn>,
}

impl End {
    /// At a token that somebody else keeps logged in.
    pub fn at(office: Arc<Office>, turn: Turn) -> Self {
        Self { desk: Desk::new(FIRST_DESK, office), turn, transport: None, _login: None }
    }

    fn run<T>(&mut self, work: impl Fn(&Desk) -> Result<T, Fault>) -> Result<T, HsmError> {
        self.desk.run(&self.turn, |desk, _| work(desk)).map_err(|fault| fault.error)
    }

    /// Logs in, and makes the identity key if there is none.
    pub fn open(config: Config, turn: Turn) -> Result<(Self, Met), Fault> {
        let (office, login) = log_in(config, &turn)?;
        let mut end = Self { _login: Some(login), ..Self::at(Arc::clone(&office), turn) };
        let (seen, identity, is_paired) = end.desk.run(&turn, |desk, _| {
            desk.ensure_identity()?;
            Ok((capabilities(desk)?, desk.identity()?, desk.is_paired()?))
        })?;
        office.capabilities.get_or_init(|| seen);
        let met = Met {
            label: office.token.label.clone(),
            serial: office.token.serial.clone(),
            manufacturer: office.token.manufacturer.clone(),
            identity,
            is_paired,
        };
        Ok((end, met))
    }
}

impl Partner for End {
    fn transport(&mut self) -> Result<Vec<u8>, HsmError> {
        let made = self.run(Desk::transport)?;
        Ok(self.transport.insert(made).modulus.clone())
    }

    fn bear(&mut self, moduli: [&[u8]; 2]) -> Result<[Vec<u8>; 2], HsmError> {
        self.run(|desk| desk.born_transfer_key(moduli))
    }

    fn take(&mut self, wrapped: &[u8]) -> Result<(), HsmError> {
        let missing = || Fault::broken("C_UnwrapKey", "no RSA key to unwrap with").error;
        let transport = self.transport.take().ok_or_else(missing)?;
        self.run(|desk| desk.take_transfer_key(&transport, wrapped))
    }

    fn forget(&mut self) -> Result<(), HsmError> {
        self.run(|desk| desk.destroy(Key::Transfer, Try::Again))
    }

    fn prove(&mut self) -> Result<Proof, HsmError> {
        self.run(Desk::transfer_proof)
    }

    fn must_open(&mut self, proof: &Proof) -> Result<(), HsmError> {
        self.run(|desk| desk.must_open(proof))
    }
}
