//! Signed bundles: one DSSE envelope, signed by m of n policy admins, each chained to the one before it (S-2.3, S-2.4).

use super::header::{BUNDLE_TYPE, Body, FORMAT, Header, VALIDITY_MAX_MS, VERSION_STEP_MAX, Validity};
use super::{Admins, BUNDLE_MAX_BYTES, Bundle, FILES_MAX, Files, content};
use crate::error::{BundleError, OpenError};
use prost::Message as _;
use std::collections::BTreeSet;
use tally_domain::dsse::{Envelope, Signature, SigningKey, content_digest, pae};
use tally_domain::time::CLOCK_TOLERANCE_MS;
use tally_domain::{ClusterId, Digest, UnixMillis};

/// Most bytes that an envelope adds to its files: names, lengths and signatures.
const FRAME_MAX_BYTES: usize = 64 * 1024;

/// Largest signed bundle.
pub const SIGNED_BUNDLE_MAX_BYTES: usize = BUNDLE_MAX_BYTES + FRAME_MAX_BYTES;

/// Why a bundle is believed.
#[derive(Clone, Copy)]
pub enum Trust<'a> {
    /// The first of a cluster: its digest is in the node's configuration, and its own admins have signed it.
    Pinned(Digest),
    /// The one after this, whose admins have signed it.
    After(&'a Bundle),
    /// The same, for which a quorum of nodes has voted since: its time was theirs to check, and may be over by now.
    Voted(&'a Bundle),
    /// This node has opened it before and kept its digest where nobody else writes. Signatures and time are not checked
    /// again: an expired bundle is still what the next one follows, and decides nothing.
    Reopened(Digest),
}

/// A bundle in its envelope. Says nothing about who signed it until it is opened.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct SignedBundle {
    envelope: Envelope,
    header: Header,
}

impl SignedBundle {
    /// Packs files that load as a bundle. `previous` is the bundle that this one follows.
    ///
    /// # Errors
    /// [`OpenError::Content`] for files that are no bundle, and what [`SignedBundle::open`] would find wrong with the
    /// chain and the validity, so that no admin signs what no node takes.
    pub fn pack(files: &Files, previous: Option<&Bundle>, validity: Validity) -> Result<Self, OpenError> {
        let loaded = Bundle::load(files)?;
        let header =
            Header { previous: previous.map(Bundle::digest), validity: Some(validity), ..loaded.header().clone() };
        check_validity(&header)?;
        let packed = Self { envelope: header.pack(files), header };
        if let Some(previous) = previous {
            check_follows(&packed.header, packed.digest(), previous)?;
        }
        Ok(packed)
    }

    /// Reads an envelope, signed or not. Its one encoding is accepted and no other.
    ///
    /// # Errors
    /// [`OpenError`]; no signature is checked.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, OpenError> {
        if bytes.len() > SIGNED_BUNDLE_MAX_BYTES {
            return Err(OpenError::Oversized { limit: SIGNED_BUNDLE_MAX_BYTES });
        }
        let envelope = Envelope::decode(bytes).map_err(|_| OpenError::NotCanonical)?;
        if envelope.encode_to_vec() != bytes || envelope.payload_type != BUNDLE_TYPE {
            return Err(OpenError::NotCanonical);
        }
        let header = header(&body(&envelope.payload)?)?;
        Ok(Self { envelope, header })
    }

    /// The envelope as bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.envelope.encode_to_vec()
    }

    /// Names the bundle, whoever has signed it.
    pub fn digest(&self) -> Digest {
        content_digest(&self.envelope)
    }

    /// What it says of itself.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Its files, for showing and comparing.
    ///
    /// # Errors
    /// [`OpenError::NotCanonical`] when two have one path.
    pub fn files(&self) -> Result<Files, OpenError> {
        files(body(&self.envelope.payload)?)
    }

    /// The names of those of `admins` that have signed.
    ///
    /// # Errors
    /// [`OpenError::Signature`] when a signature is by nobody of them or does not verify.
    pub fn signers(&self, admins: &Admins) -> Result<BTreeSet<String>, OpenError> {
        let signed = pae(&self.envelope.payload_type, &self.envelope.payload);
        let name = |s: &Signature| {
            let wrong = || OpenError::Signature { key: s.key_id.clone() };
            // The hint must be the key's own text, so that not one byte of a signed bundle is free.
            let (name, key) = admins.by_key(&s.key_id).ok_or_else(wrong)?;
            key.verify(&signed, &s.signature).map_err(|_| wrong())?;
            Ok(name.to_owned())
        };
        self.envelope.signatures.iter().map(name).collect()
    }

    /// Adds one admin's signature. A second one by the same key changes nothing.
    pub fn sign(&mut self, key: &SigningKey) {
        let key_id = key.verifying_key().to_string();
        if self.envelope.signatures.iter().any(|s| s.key_id == key_id) {
            return;
        }
        let signature = key.sign(&pae(&self.envelope.payload_type, &self.envelope.payload));
        self.envelope.signatures.push(Signature { key_id, signature });
    }

    /// Checks who signed it, that it follows, and that it may be used now; then loads it.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(&self, trust: Trust<'_>, now: UnixMillis) -> Result<Bundle, OpenError> {
        match trust {
            Trust::Pinned(digest) => {
                self.is(digest)?;
                let bundle = self.load()?;
                check_quorum(self, bundle.admins())?;
                bundle.check_time(now)?;
                Ok(bundle)
            }
            Trust::After(previous) => {
                let bundle = self.after(previous)?;
                bundle.check_time(now)?;
                Ok(bundle)
            }
            Trust::Voted(previous) => self.after(previous),
            Trust::Reopened(digest) => {
                self.is(digest)?;
                self.load()
            }
        }
    }

    fn after(&self, previous: &Bundle) -> Result<Bundle, OpenError> {
        check_quorum(self, previous.admins())?;
        check_follows(&self.header, self.digest(), previous)?;
        self.load()
    }

    fn is(&self, digest: Digest) -> Result<(), OpenError> {
        if self.digest() == digest {
            return Ok(());
        }
        Err(OpenError::OtherDigest { expected: digest, found: self.digest() })
    }

    fn load(&self) -> Result<Bundle, OpenError> {
        check_validity(&self.header)?;
        let files = self.files()?;
        content::load(&files, Some(self.header.clone())).map_err(OpenError::Content)
    }
}

impl Bundle {
    /// Whether it may be used at this moment; a bundle from a directory always may.
    ///
    /// # Errors
    /// [`OpenError::NotYetValid`], [`OpenError::Expired`].
    pub fn check_time(&self, now: UnixMillis) -> Result<(), OpenError> {
        let Some(Validity { not_before, not_after }) = self.header().validity else { return Ok(()) };
        if now.plus(CLOCK_TOLERANCE_MS) < not_before {
            return Err(OpenError::NotYetValid { not_before });
        }
        if now >= not_after.plus(CLOCK_TOLERANCE_MS) {
            return Err(OpenError::Expired { not_after });
        }
        Ok(())
    }
}

impl From<BundleError> for OpenError {
    fn from(e: BundleError) -> Self {
        Self::Content(e)
    }
}

/// Reads a body strictly. A layout of a later version is said to be one, rather than malformed.
fn body(payload: &[u8]) -> Result<Body, OpenError> {
    let body = Body::decode(payload).map_err(|_| OpenError::NotCanonical)?;
    if body.format != FORMAT {
        return Err(OpenError::UnknownFormat { found: body.format, known: FORMAT });
    }
    let sorted = body.files.is_sorted_by(|a, b| a.path < b.path);
    if !sorted || body.files.len() > FILES_MAX || body.encode_to_vec() != payload {
        return Err(OpenError::NotCanonical);
    }
    Ok(body)
}

fn header(body: &Body) -> Result<Header, OpenError> {
    let previous = match body.previous.as_slice() {
        [] => None,
        bytes => Some(Digest::from_slice(bytes).ok_or(OpenError::NotCanonical)?),
    };
    let validity = Validity { not_before: UnixMillis(body.not_before_ms), not_after: UnixMillis(body.not_after_ms) };
    Ok(Header {
        cluster: ClusterId::parse(&body.cluster).map_err(|_| OpenError::NotCanonical)?,
        version: body.version,
        previous,
        validity: Some(validity),
        loosening_delay_ms: body.loosening_delay_ms,
    })
}

fn files(body: Body) -> Result<Files, OpenError> {
    let count = body.files.len();
    let files: Files = body.files.into_iter().map(|f| (f.path, f.content)).collect();
    if files.len() == count { Ok(files) } else { Err(OpenError::NotCanonical) }
}

fn check_validity(header: &Header) -> Result<(), OpenError> {
    let Some(Validity { not_before, not_after }) = header.validity else { return Ok(()) };
    match not_after.0.checked_sub(not_before.0) {
        Some(1..=VALIDITY_MAX_MS) => Ok(()),
        span => Err(OpenError::Validity { ms: span.unwrap_or_default(), most_ms: VALIDITY_MAX_MS }),
    }
}

fn check_quorum(signed: &SignedBundle, admins: &Admins) -> Result<(), OpenError> {
    let have = signed.signers(admins)?.len();
    match admins.needed() {
        Some(need) if have >= need => Ok(()),
        Some(need) => Err(OpenError::TooFewSignatures { have, need }),
        None => Err(OpenError::NoAdmins),
    }
}

fn check_follows(header: &Header, digest: Digest, previous: &Bundle) -> Result<(), OpenError> {
    let (version, before) = (header.version, previous.version());
    if header.cluster != previous.header().cluster {
        return Err(OpenError::OtherCluster {
            expected: previous.header().cluster.clone(),
            found: header.cluster.clone(),
        });
    }
    if version < before {
        return Err(OpenError::Downgraded { version, active: before });
    }
    if version == before {
        let same = digest == previous.digest();
        return Err(if same { OpenError::Known } else { OpenError::Forked { version, active: previous.digest() } });
    }
    if version - before > VERSION_STEP_MAX || header.previous != Some(previous.digest()) {
        return Err(OpenError::BrokenChain { version, active_version: before, active: previous.digest() });
    }
    Ok(())
}
