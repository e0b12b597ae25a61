//! What nodes answer about keys that wrap other keys. Plaintexts are taken over, and are erased when dropped.

use super::BadField;
use tally_domain::wrap::{BLOB_MAX_BYTES, PLAINTEXT_MAX_BYTES};
use tally_domain::{KekNumber, KeyName, NodeName, SecretBytes, UnixMillis};
use tally_proto::v1;

/// What a KEK has wrapped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrapped {
    /// What opens again. Opaque, and no secret.
    pub blob: Vec<u8>,
    /// How it was done.
    pub by: WrappedBy,
}

/// Who has wrapped or opened something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrappedBy {
    /// The version that has.
    pub version: KekNumber,
    /// The rule that permitted it.
    pub rule: String,
    /// The node whose HSM did it.
    pub home: NodeName,
}

/// A data key, wrapped and perhaps shown.
pub struct DataKey {
    /// The key, wrapped.
    pub wrapped: Wrapped,
    /// The key, if it was asked for.
    pub plaintext: Option<SecretBytes>,
}

/// What was opened.
pub struct Unwrapped {
    /// It.
    pub plaintext: SecretBytes,
    /// How it was done.
    pub by: WrappedBy,
}

/// A KEK as one node tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KekInfo {
    /// Its name.
    pub name: KeyName,
    /// The node whose HSM holds it.
    pub home: NodeName,
    /// `pending`, `active`, or `frozen` while a freeze stops it.
    pub state: String,
    /// By number; only its home tells them.
    pub versions: Vec<KekVersionInfo>,
}

/// A version of a KEK.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KekVersionInfo {
    /// Which.
    pub number: KekNumber,
    /// `enabled`, `disabled`, `pending-destruction`, `destroying` or `destroyed`.
    pub state: String,
    /// Its key's id on the token.
    pub id: [u8; 16],
    /// Six hex digits.
    pub check_value: String,
    /// When it was made.
    pub made_at: UnixMillis,
    /// When it will be destroyed, if it will.
    pub destroy_at: Option<UnixMillis>,
    /// How many things it has wrapped.
    pub wraps: u64,
    /// Whether it can reach a standby token.
    pub replicable: bool,
}

/// A new KEK and the rule that permitted it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreatedKek {
    /// The KEK.
    pub kek: KekInfo,
    /// The rule.
    pub rule: String,
}

/// A version that was changed or made, and the rule that permitted it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangedKek {
    /// The version, as it was then.
    pub version: KekVersionInfo,
    /// The rule.
    pub rule: String,
}

pub(crate) fn data_key(r: v1::GenerateDataKeyResponse) -> Result<DataKey, BadField> {
    let plaintext = (!r.plaintext.is_empty()).then_some(SecretBytes::new(r.plaintext));
    Ok(DataKey { wrapped: parts(r.wrapped, r.version, r.rule, &r.home)?, plaintext })
}

pub(crate) fn wrapped(r: v1::WrapResponse) -> Result<Wrapped, BadField> {
    parts(r.wrapped, r.version, r.rule, &r.home)
}

pub(crate) fn rewrapped(r: v1::RewrapResponse) -> Result<Wrapped, BadField> {
    parts(r.wrapped, r.version, r.rule, &r.home)
}

pub(crate) fn unwrapped(r: v1::UnwrapResponse) -> Result<Unwrapped, BadField> {
    let plaintext = SecretBytes::new(r.plaintext);
    if !(1..=PLAINTEXT_MAX_BYTES).contains(&plaintext.len()) {
        return Err(BadField("plaintext"));
    }
    Ok(Unwrapped { plaintext, by: by(r.version, r.rule, &r.home)? })
}

fn parts(blob: Vec<u8>, version: u32, rule: String, home: &str) -> Result<Wrapped, BadField> {
    if !(1..=BLOB_MAX_BYTES).contains(&blob.len()) {
        return Err(BadField("wrapped"));
    }
    Ok(Wrapped { blob, by: by(version, rule, home)? })
}

fn by(version: u32, rule: String, home: &str) -> Result<WrappedBy, BadField> {
    let home = NodeName::parse(home).map_err(|_| BadField("home"))?;
    if version == 0 { Err(BadField("version")) } else { Ok(WrappedBy { version: KekNumber(version), rule, home }) }
}

pub(crate) fn kek(k: Option<v1::Kek>) -> Result<KekInfo, BadField> {
    let k = k.ok_or(BadField("kek"))?;
    Ok(KekInfo {
        name: KeyName::parse(&k.name).map_err(|_| BadField("kek.name"))?,
        home: NodeName::parse(&k.home).map_err(|_| BadField("kek.home"))?,
        state: k.state,
        versions: k.versions.into_iter().map(version).collect::<Result<_, _>>()?,
    })
}

pub(crate) fn created_kek(r: v1::CreateKekResponse) -> Result<CreatedKek, BadField> {
    Ok(CreatedKek { kek: kek(r.kek)?, rule: r.rule })
}

pub(crate) fn changed_kek(r: v1::ChangeKekResponse) -> Result<ChangedKek, BadField> {
    Ok(ChangedKek { version: version(r.version.ok_or(BadField("version"))?)?, rule: r.rule })
}

fn version(v: v1::KekVersion) -> Result<KekVersionInfo, BadField> {
    Ok(KekVersionInfo {
        number: KekNumber(v.number),
        state: v.state,
        id: v.id.as_slice().try_into().map_err(|_| BadField("version.id"))?,
        check_value: v.check_value,
        made_at: UnixMillis(v.made_at_ms),
        destroy_at: (v.destroy_at_ms != 0).then_some(UnixMillis(v.destroy_at_ms)),
        wraps: v.wraps,
        replicable: v.replicable,
    })
}
