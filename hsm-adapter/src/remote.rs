//! The port on a token whose module runs in a process of its own (`hsmd`), so that a module that crashes or hangs takes
//! nothing with it.

mod child;
mod keeper;
mod link;
mod partner;
mod vault;

use crate::config::{Config, Mode, Role, configuration};
use crate::health::Operation;
use crate::hsm::CONNECT_MAX;
use crate::pin::PinSource;
use crate::profile::Profile;
use crate::wire::{Ask, Bytes, Carried, Chosen, Hello, Opening};
use keeper::Keeper;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;
use tally_domain::dsse::VerifyingKey;
use tally_domain::ports::Pending;
use tally_domain::ports::hsm::{
    DataKey, Hsm, HsmError, HsmStatus, KekId, KekMade, KeyCheckValue, ObjectId, Seal, SealingKeyId,
};
use tally_domain::{HsmScheme, PublicKey, SecretBytes};

pub use child::beside_this_program;
pub use partner::{compare_pair_remote, provision_pair_remote};

/// How much later than the process itself the node says that an operation is late: as long as an answer may be on its way.
/// The process answers first, and knows whether the operation had been started.
const GRACE: Duration = Duration::from_millis(50);

/// Which token, and how its process is started. Holds no PIN: the process reads it.
#[derive(Debug, Clone)]
pub struct RemoteConfig {
    /// The program `hsmd`, of the same version as this one.
    pub program: PathBuf,
    /// What the module needs in its environment.
    pub env: BTreeMap<String, PathBuf>,
    /// The PKCS#11 library.
    pub module: PathBuf,
    /// The token's label.
    pub token_label: String,
    /// The token's serial number. May be left out only where a single token has the label.
    pub token_serial: Option<String>,
    /// Where the user PIN comes from.
    pub pin: PinSource,
    /// Sessions that work at the same time.
    pub workers: u32,
    /// How long one operation may take, waiting in the queue included.
    pub deadline: Duration,
    /// What the token is to its node.
    pub role: Role,
    /// Whether what is only for looking into a module may be used.
    pub mode: Mode,
    /// What the operator says of the token, in place of what is known of its kind.
    pub profile: Option<Profile>,
    /// A filter for what the process logs to this one's standard error.
    pub log_level: String,
    /// Whether the log is for machines.
    pub log_json: bool,
}

/// A node's token behind a process of its own. Dropping it lets the process end, or ends it.
pub struct RemoteHsm {
    keeper: Keeper,
    deadline: Duration,
    identity: VerifyingKey,
}

/// Makes the identity key if the token has none; gives its public half. Blocks.
///
/// # Errors
/// [`HsmError`].
pub fn provision_remote(config: &RemoteConfig) -> Result<VerifyingKey, HsmError> {
    Config::check_limits(config.workers, config.deadline)?;
    keeper::once(config, Opening::Provision(config.chosen(config.role)), CONNECT_MAX)
}

impl RemoteHsm {
    /// Starts the process, which connects as [`crate::Pkcs11Hsm::connect`] does, and keeps one running from then on. Blocks.
    ///
    /// # Errors
    /// [`HsmError`], as connecting in this process would give.
    pub fn connect(config: RemoteConfig) -> Result<Self, HsmError> {
        Config::check_limits(config.workers, config.deadline)?;
        config.pin.must_be_readable_again()?;
        let deadline = config.deadline;
        let (keeper, identity) = Keeper::start(config)?;
        Ok(Self { keeper, deadline, identity })
    }

    fn ask<T: Carried>(&self, operation: Operation, ask: &Ask<'_>) -> Pending<Result<T, HsmError>> {
        match self.keeper.link() {
            Ok(link) => link.call(operation.name(), operation.time(self.deadline) + GRACE, ask),
            Err(down) => Box::pin(std::future::ready(Err(down))),
        }
    }
}

impl RemoteConfig {
    fn hello(&self, opening: Opening) -> Hello {
        let version = env!("CARGO_PKG_VERSION").into();
        Hello { version, opening, log_level: self.log_level.clone(), log_json: self.log_json }
    }

    fn chosen(&self, role: Role) -> Chosen {
        Chosen {
            module: self.module.clone(),
            token_label: self.token_label.clone(),
            token_serial: self.token_serial.clone(),
            pin: self.pin.clone(),
            workers: self.workers,
            deadline_ms: u64::try_from(self.deadline.as_millis()).unwrap_or(u64::MAX),
            role,
            mode: self.mode,
            profile: self.profile.clone(),
        }
    }
}

impl Hsm for RemoteHsm {
    fn identity(&self) -> VerifyingKey {
        self.identity.clone()
    }

    fn sign_identity(&self, message: Vec<u8>) -> Pending<Result<Vec<u8>, HsmError>> {
        self.ask(Operation::Sign, &Ask::SignIdentity { message: Bytes(&message) })
    }

    fn create_sealing_key(&self, id: SealingKeyId) -> Pending<Result<(), HsmError>> {
        self.ask(Operation::MakeKey, &Ask::CreateSealingKey { id: id.0 })
    }

    fn seal(&self, id: SealingKeyId, aad: Vec<u8>, plaintext: SecretBytes) -> Pending<Result<Vec<u8>, HsmError>> {
        let plaintext = Bytes(plaintext.expose());
        self.ask(Operation::Seal, &Ask::Seal { id: id.0, aad: Bytes(&aad), plaintext })
    }

    fn open(&self, id: SealingKeyId, aad: Vec<u8>, sealed: Vec<u8>) -> Pending<Result<SecretBytes, HsmError>> {
        self.ask(Operation::Open, &Ask::Open { id: id.0, aad: Bytes(&aad), sealed: Bytes(&sealed) })
    }

    fn destroy_sealing_key(&self, id: SealingKeyId) -> Pending<Result<(), HsmError>> {
        self.ask(Operation::DestroyKey, &Ask::DestroySealingKey { id: id.0 })
    }

    fn create_signing_key(&self, id: ObjectId, scheme: HsmScheme) -> Pending<Result<PublicKey, HsmError>> {
        self.ask(Operation::MakePair, &Ask::CreateSigningKey { id: id.0, scheme: scheme.number() })
    }

    fn sign(&self, id: ObjectId, scheme: HsmScheme, to_sign: Vec<u8>) -> Pending<Result<Vec<u8>, HsmError>> {
        let (scheme, to_sign) = (scheme.number(), Bytes(&to_sign));
        self.ask(Operation::Sign, &Ask::Sign { id: id.0, scheme, to_sign })
    }

    fn create_kek(&self, id: KekId) -> Pending<Result<KekMade, HsmError>> {
        self.ask(Operation::MakeKek, &Ask::CreateKek { id: id.0 })
    }

    fn replicate_kek(&self, id: KekId, transfer: Vec<u8>) -> Pending<Result<KeyCheckValue, HsmError>> {
        self.ask(Operation::MakeKek, &Ask::ReplicateKek { id: id.0, transfer: Bytes(&transfer) })
    }

    fn generate_data_key(&self, bytes: usize, under: Seal) -> Pending<Result<DataKey, HsmError>> {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.ask(Operation::MakeDataKey, &Ask::GenerateDataKey { bytes, under: (&under).into() })
    }

    fn wrap(&self, under: Seal, plaintext: SecretBytes) -> Pending<Result<Vec<u8>, HsmError>> {
        self.ask(Operation::Wrap, &Ask::Wrap { under: (&under).into(), plaintext: Bytes(plaintext.expose()) })
    }

    fn unwrap(&self, under: Seal, sealed: Vec<u8>) -> Pending<Result<SecretBytes, HsmError>> {
        self.ask(Operation::Unwrap, &Ask::Unwrap { under: (&under).into(), sealed: Bytes(&sealed) })
    }

    fn rewrap(&self, from: Seal, sealed: Vec<u8>, to: Seal) -> Pending<Result<Vec<u8>, HsmError>> {
        let ask = Ask::Rewrap { from: (&from).into(), sealed: Bytes(&sealed), to: (&to).into() };
        self.ask(Operation::Rewrap, &ask)
    }

    fn destroy_kek(&self, id: KekId) -> Pending<Result<(), HsmError>> {
        self.ask(Operation::DestroyKek, &Ask::DestroyKek { id: id.0 })
    }

    fn status(&self) -> Pending<HsmStatus> {
        let told = self.ask::<HsmStatus>(Operation::Check, &Ask::Status);
        let standing = self.keeper.standing();
        Box::pin(async move { standing.show(told.await) })
    }
}

/// A request that no frame can carry.
fn too_long() -> HsmError {
    configuration(format!("more than {} bytes cannot be given to the token", crate::wire::FRAME_MAX_BYTES))
}
