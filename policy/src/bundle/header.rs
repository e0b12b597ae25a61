//! What a bundle says of itself, the one encoding of a whole bundle, and the digest that names it.

use super::reading::{self, Source};
use super::spans::{self, DAY_MS, HOUR_MS};
use super::{BUNDLE, Files};
use crate::error::{BundleError, Problem};
use prost::Message as _;
use tally_domain::dsse::{Envelope, content_digest};
use tally_domain::{ClusterId, Digest, UnixMillis};

/// DSSE payload type of a bundle.
pub const BUNDLE_TYPE: &str = "application/vnd.tally.bundle.v1+protobuf";

/// Longest validity (S-2.4): admins who have lost control of a bundle wait no longer than this for it to end.
pub const VALIDITY_MAX_MS: u64 = 30 * DAY_MS;

/// How long a loosening waits where the bundle does not say (S-2.3).
pub const LOOSENING_DELAY_DEFAULT_MS: u64 = 24 * HOUR_MS;

/// Shortest wait of a loosening: less, and no operator would see it in time to veto.
pub const LOOSENING_DELAY_MIN_MS: u64 = HOUR_MS;

/// How far a bundle's number may be above that of the one before it: each veto, and each proposal that another overtakes,
/// uses up one, and a slip of the pen must not use up all.
pub const VERSION_STEP_MAX: u64 = 16;

/// The only layout of a body that this version reads.
pub(super) const FORMAT: u32 = 1;

/// What a bundle says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The cluster it is for.
    pub cluster: ClusterId,
    /// Its number, higher than that of the bundle before it: numbers of bundles that were vetoed are left out.
    pub version: u64,
    /// Digest of the bundle before it; none for the first.
    pub previous: Option<Digest>,
    /// When it may be used; none for a bundle that was loaded from a directory, which only development does.
    pub validity: Option<Validity>,
    /// How long a bundle that loosens this one waits.
    pub loosening_delay_ms: u64,
}

/// From when to when a bundle may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// Not before.
    pub not_before: UnixMillis,
    /// Not from this moment on.
    pub not_after: UnixMillis,
}

/// A bundle as protobuf. No map and no float, and files sorted by path: it has one encoding.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Body {
    #[prost(uint32, tag = "1")]
    pub(super) format: u32,
    #[prost(string, tag = "2")]
    pub(super) cluster: String,
    #[prost(uint64, tag = "3")]
    pub(super) version: u64,
    #[prost(bytes = "vec", tag = "4")]
    pub(super) previous: Vec<u8>,
    #[prost(uint64, tag = "5")]
    pub(super) not_before_ms: u64,
    #[prost(uint64, tag = "6")]
    pub(super) not_after_ms: u64,
    #[prost(uint64, tag = "7")]
    pub(super) loosening_delay_ms: u64,
    #[prost(message, repeated, tag = "8")]
    pub(super) files: Vec<FileBody>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct FileBody {
    #[prost(string, tag = "1")]
    pub(super) path: String,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) content: Vec<u8>,
}

/// What `bundle.toml` says.
pub(super) struct Stated {
    pub(super) version: u64,
    pub(super) loosening_delay_ms: u64,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct BundleToml {
    version: toml::Spanned<u64>,
    loosening_delay: Option<toml::Spanned<String>>,
}

impl Stated {
    pub(super) fn load(text: &str) -> Result<Self, BundleError> {
        let file: BundleToml = reading::toml(BUNDLE, text)?;
        let source = Source { file: BUNDLE, text };
        let version = *file.version.get_ref();
        if version == 0 {
            let problem = Problem::Value { what: "version", given: "0".into(), want: "a whole number from 1" };
            return Err(source.error(&file.version, problem));
        }
        let range = LOOSENING_DELAY_MIN_MS..=VALIDITY_MAX_MS;
        let loosening_delay_ms = match &file.loosening_delay {
            Some(delay) => spans::read(&source, delay, "loosening delay", range, "1h to 30d")?,
            None => LOOSENING_DELAY_DEFAULT_MS,
        };
        Ok(Self { version, loosening_delay_ms })
    }
}

impl Header {
    /// The unsigned envelope of a bundle with these files.
    pub(super) fn pack(&self, files: &Files) -> Envelope {
        let file = |(path, content): (&String, &Vec<u8>)| FileBody { path: path.clone(), content: content.clone() };
        let body = Body {
            format: FORMAT,
            cluster: self.cluster.as_str().into(),
            version: self.version,
            previous: self.previous.map(|d| d.0.to_vec()).unwrap_or_default(),
            not_before_ms: self.validity.map_or(0, |v| v.not_before.0),
            not_after_ms: self.validity.map_or(0, |v| v.not_after.0),
            loosening_delay_ms: self.loosening_delay_ms,
            files: files.iter().map(file).collect(),
        };
        Envelope { payload: body.encode_to_vec(), payload_type: BUNDLE_TYPE.into(), signatures: Vec::new() }
    }

    /// Names the bundle with these files: over everything it says of itself, every path and every byte.
    pub(super) fn digest(&self, files: &Files) -> Digest {
        content_digest(&self.pack(files))
    }
}
