//! Versions of a KEK: what they are, what becomes of them, and what a client asks to become of them.

use crate::ids::NodeName;
use crate::intent::{BadIntent, decode_canonical};
use crate::ports::hsm::{KekId, KeyCheckValue};
use crate::time::UnixMillis;
use prost::Message as _;
use std::fmt;

/// Shortest wait between the wish to destroy a version and its end: a day, in which somebody notices. Drills and tests
/// configure less.
pub const DESTROY_DELAY_MIN_MS: u64 = 24 * 3_600 * 1_000;

/// Longest wait, as in cloud key services: what nobody misses for a month nobody will.
pub const DESTROY_DELAY_MAX_MS: u64 = 30 * DESTROY_DELAY_MIN_MS;

/// Most versions of one KEK: a rotation a day for ten years; all of them are in a node's memory.
pub const KEK_VERSIONS_MAX: u32 = 4_096;

/// Which version of a KEK, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KekNumber(pub u32);

impl KekNumber {
    /// The version that a KEK is made with.
    pub const FIRST: Self = Self(1);

    /// The one after this.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for KekNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// One version: a key of its own on its home's token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KekVersion {
    /// Which.
    pub number: KekNumber,
    /// Its key on the token.
    pub id: KekId,
    /// Tells whether a token holds that very key.
    pub check_value: KeyCheckValue,
    /// What it does.
    pub state: KekState,
    /// When it was made.
    pub made_at: UnixMillis,
}

/// What a version does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KekState {
    /// Unwraps, and wraps if it is the newest of these.
    Enabled,
    /// Neither, until it is enabled again.
    Disabled,
    /// Neither; it will be destroyed.
    PendingDestruction {
        /// At this moment, or soon after.
        at: UnixMillis,
    },
    /// Neither; its key is being destroyed, and there is no way back.
    Destroying,
    /// Its key is gone, and what it wrapped with it.
    Destroyed,
}

/// What becomes of a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KekEvent {
    /// Switched off.
    Disabled,
    /// Switched on again.
    Enabled,
    /// To be destroyed.
    DestructionScheduled {
        /// When.
        at: UnixMillis,
    },
    /// Not to be destroyed; left disabled.
    DestructionCancelled,
    /// Its time has come.
    Destroying,
    /// Its key is gone from every token.
    Destroyed,
    /// The standby token was given its key, and shows the same check value.
    Replicated,
}

impl KekState {
    /// The name in answers and commands.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Enabled => "enabled",
            Self::Disabled => "disabled",
            Self::PendingDestruction { .. } => "pending-destruction",
            Self::Destroying => "destroying",
            Self::Destroyed => "destroyed",
        }
    }

    /// The state after an event, if the event can happen in this one.
    pub fn after(self, event: KekEvent) -> Option<Self> {
        match (self, event) {
            (Self::Enabled, KekEvent::Disabled) => Some(Self::Disabled),
            (Self::Disabled, KekEvent::Enabled) => Some(Self::Enabled),
            (Self::Enabled | Self::Disabled, KekEvent::DestructionScheduled { at }) => {
                Some(Self::PendingDestruction { at })
            }
            (Self::PendingDestruction { .. }, KekEvent::DestructionCancelled) => Some(Self::Disabled),
            (Self::PendingDestruction { .. }, KekEvent::Destroying) => Some(Self::Destroying),
            (Self::Destroying, KekEvent::Destroyed) => Some(Self::Destroyed),
            (Self::Enabled | Self::Disabled | Self::PendingDestruction { .. }, KekEvent::Replicated) => Some(self),
            _ => None,
        }
    }
}

impl KekEvent {
    /// The name in logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Disabled => "disabled",
            Self::Enabled => "enabled",
            Self::DestructionScheduled { .. } => "destruction-scheduled",
            Self::DestructionCancelled => "destruction-cancelled",
            Self::Destroying => "destroying",
            Self::Destroyed => "destroyed",
            Self::Replicated => "replicated",
        }
    }
}

/// What a client asks for: the content of an intent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KekSpec {
    /// Make a KEK in the HSM of this node.
    Create {
        /// That node.
        home: NodeName,
    },
    /// Change one that exists.
    Change(KekChange),
}

/// What is to become of a KEK.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KekChange {
    /// Make a new version, which wraps from then on.
    Rotate,
    /// Switch a version off.
    Disable(KekNumber),
    /// Switch it on again.
    Enable(KekNumber),
    /// Destroy it after so many seconds.
    Destroy(KekNumber, u32),
    /// Do not destroy it.
    Cancel(KekNumber),
    /// Give it to the standby token.
    Replicate(KekNumber),
}

impl KekChange {
    /// The name in policy and commands.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rotate => "rotate",
            Self::Disable(_) => "disable",
            Self::Enable(_) => "enable",
            Self::Destroy(..) => "destroy",
            Self::Cancel(_) => "cancel",
            Self::Replicate(_) => "replicate",
        }
    }

    /// The version that it is about; a rotation makes a new one.
    pub fn version(self) -> Option<KekNumber> {
        match self {
            Self::Rotate => None,
            Self::Disable(n) | Self::Enable(n) | Self::Destroy(n, _) | Self::Cancel(n) | Self::Replicate(n) => Some(n),
        }
    }

    /// How long a version that is to be destroyed is left.
    pub fn delay_ms(self) -> Option<u64> {
        match self {
            Self::Destroy(_, seconds) => Some(u64::from(seconds) * 1_000),
            Self::Rotate | Self::Disable(_) | Self::Enable(_) | Self::Cancel(_) | Self::Replicate(_) => None,
        }
    }
}

/// Words of `KekSpecBody.change`.
const CREATE: u32 = 1;
const ROTATE: u32 = 2;
const DISABLE: u32 = 3;
const ENABLE: u32 = 4;
const DESTROY: u32 = 5;
const CANCEL: u32 = 6;
const REPLICATE: u32 = 7;

/// [`KekSpec`] as protobuf; field numbers are those of `KekSpecBody` in `proto/`.
#[derive(Clone, PartialEq, prost::Message)]
struct Body {
    #[prost(uint32, tag = "1")]
    change: u32,
    #[prost(uint32, tag = "2")]
    version: u32,
    #[prost(uint32, tag = "3")]
    delay_s: u32,
    #[prost(string, tag = "4")]
    home: String,
}

impl KekSpec {
    /// The canonical bytes that go into an intent's content.
    pub fn to_bytes(&self) -> Vec<u8> {
        let none = Body::default();
        let body = match self {
            Self::Create { home } => Body { change: CREATE, home: home.as_str().into(), ..none },
            Self::Change(change) => match *change {
                KekChange::Rotate => Body { change: ROTATE, ..none },
                KekChange::Disable(n) => Body { change: DISABLE, version: n.0, ..none },
                KekChange::Enable(n) => Body { change: ENABLE, version: n.0, ..none },
                KekChange::Destroy(n, delay_s) => Body { change: DESTROY, version: n.0, delay_s, ..none },
                KekChange::Cancel(n) => Body { change: CANCEL, version: n.0, ..none },
                KekChange::Replicate(n) => Body { change: REPLICATE, version: n.0, ..none },
            },
        };
        body.encode_to_vec()
    }

    /// Reads an intent's content.
    ///
    /// # Errors
    /// [`BadIntent`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BadIntent> {
        let b: Body = decode_canonical(bytes)?;
        let field = |field| BadIntent::Field { field };
        let version = || if b.version == 0 { Err(field("version")) } else { Ok(KekNumber(b.version)) };
        let spec = match b.change {
            CREATE => Self::Create { home: NodeName::parse(&b.home).map_err(|_| field("home"))? },
            ROTATE => Self::Change(KekChange::Rotate),
            DISABLE => Self::Change(KekChange::Disable(version()?)),
            ENABLE => Self::Change(KekChange::Enable(version()?)),
            DESTROY => Self::Change(KekChange::Destroy(version()?, b.delay_s)),
            CANCEL => Self::Change(KekChange::Cancel(version()?)),
            REPLICATE => Self::Change(KekChange::Replicate(version()?)),
            _ => return Err(field("change")),
        };
        // Whatever a change has no use for must not be there.
        if spec.to_bytes() == bytes { Ok(spec) } else { Err(BadIntent::NotCanonical) }
    }
}
