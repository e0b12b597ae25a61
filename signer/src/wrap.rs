//! Wrapping and opening with a KEK of this node's HSM: admitted as a signature is, done by the token, and told only when it
//! is durable who has got what.
//!
//! A plaintext is never part of anything that is kept. An intent that was done before and shows a plaintext is admitted
//! again before it is shown again: whoever may no longer see it does not.

mod done;
mod elsewhere;

pub use done::{Underway, WrapDone};
pub use elsewhere::{ToldByHome, admit_elsewhere};

use crate::admit::{Opened, expect_action};
use crate::claims::{Cleared, HomeWork, decide_home};
use crate::kek::{KekView, of_version};
use tally_domain::ports::hsm::Seal;
use tally_domain::wrap::{PLAINTEXT_MAX_BYTES, SALT_BYTES, commitment};
use tally_domain::{
    ContentKind, Digest, EncryptionContext, Intent, KekChange, KekNumber, KekSpec, KekState, KekVersion, NodeName,
    Reason, Refusal, SecretBytes, UnixMillis, WrapCall, WrapFacts, WrapKind, WrapLabel, WrapSpec, WrappedKey,
};
use tally_policy::{Bundle, PolicyAction};

/// What travels beside an intent, because it is secret or large. The intent binds it.
pub enum Beside {
    /// Nothing.
    Nothing,
    /// What is to be wrapped.
    Plaintext {
        /// The commitment's salt.
        salt: Vec<u8>,
        /// The plaintext.
        plaintext: SecretBytes,
    },
    /// Wrapped data.
    Wrapped(Vec<u8>),
}

/// What the token is to do.
pub enum Job {
    /// Draw a data key of so many bytes and seal it.
    Draw {
        /// How many.
        bytes: usize,
        /// Under what.
        under: Seal,
        /// Whether it is shown.
        plaintext: bool,
    },
    /// Seal.
    Seal {
        /// What.
        plaintext: SecretBytes,
        /// Under what.
        under: Seal,
    },
    /// Open.
    Open {
        /// What.
        sealed: Vec<u8>,
        /// Under what it was sealed.
        under: Seal,
    },
    /// Open and seal anew.
    Reseal {
        /// What.
        sealed: Vec<u8>,
        /// Under what it was sealed.
        from: Seal,
        /// Under what it shall be.
        to: Seal,
    },
}

/// The home permits a call. Only [`admit_wrap`] mints it.
#[must_use]
pub struct WrapPermit {
    work: HomeWork,
    told: ToldByHome,
    job: Job,
    underway: Underway,
}

impl WrapPermit {
    /// The rule that decided.
    pub fn rule(&self) -> &str {
        &self.work.task().rule
    }

    /// The bundle that decided.
    pub fn bundle(&self) -> Digest {
        self.work.task().bundle
    }

    /// What limits see of it.
    pub fn work(&self) -> &HomeWork {
        &self.work
    }

    /// What voters are told, who cannot know it.
    pub fn told(&self) -> ToldByHome {
        self.told
    }

    /// What the token is to do, and what is to be made of its answer, with leave of every limit that applies.
    ///
    /// # Errors
    /// `INTERNAL` when it is leave to do something else.
    pub fn start(self, leave: Cleared) -> Result<(Job, Underway), Refusal> {
        leave.spend(&self.work)?;
        Ok((self.job, self.underway))
    }
}

/// Decides whether a KEK of this node does what a client asks for. `before` is what it wrapped when this very intent was
/// done before, if it wrapped something.
///
/// # Errors
/// A [`Refusal`]; `HOME_NODE` when the KEK lives elsewhere, `FROZEN`, `BLOB_TAMPERED` when wrapped data cannot be its.
pub fn admit_wrap(
    opened: Opened,
    kek: KekView<'_>,
    beside: Beside,
    before: Option<&[u8]>,
    me: &NodeName,
    bundle: &Bundle,
    now: UnixMillis,
) -> Result<WrapPermit, Refusal> {
    let intent = opened.intent();
    let kind = WrapKind::of(intent.action).ok_or_else(|| malformed("action"))?;
    kek.check(intent, ContentKind::WrapSpec, me, bundle, now)?;
    let spec = spec_of(intent)?;
    let Planned { job, facts: (bytes, plaintext, version), label, from } = plan(intent, &spec, kek, beside, before)?;
    let facts = WrapFacts { kind, context: &spec.context, bytes, plaintext, version };
    let (home, action) = (&kek.record.home, PolicyAction::Wrap(facts));
    let work = decide_home(&opened, home, opened.digest(), action, bundle, now)?;
    let work = if before.is_some() { work.shown_again() } else { work };
    let underway = Underway::new(opened, home.clone(), work.task().rule.clone(), kind, label, from);
    Ok(WrapPermit { work, told: ToldByHome { bytes, version }, job, underway })
}

/// What an intent wants, if it is one of the four calls.
fn spec_of(intent: &Intent) -> Result<WrapSpec, Refusal> {
    let spec = WrapSpec::from_bytes(&intent.content).map_err(|e| match e {
        tally_domain::intent::BadIntent::Field { field: field @ ("bytes" | "context") } => {
            Refusal::new(Reason::ParameterRange).with(
                "detail",
                format!("{field}: a data key has 16 to 64 bytes; a context has at most 16 pairs in their order"),
            )
        }
        other => other.into(),
    })?;
    expect_action(intent, spec.call.kind().action())?;
    Ok(spec)
}

/// A job with what rules are asked about it.
struct Planned {
    job: Job,
    /// Length, whether a plaintext is shown, version.
    facts: (usize, bool, KekNumber),
    /// Of what is wrapped or opened.
    label: WrapLabel,
    /// The version that opens what is wrapped anew.
    from: Option<KekNumber>,
}

fn plan(
    intent: &Intent,
    spec: &WrapSpec,
    kek: KekView<'_>,
    beside: Beside,
    before: Option<&[u8]>,
) -> Result<Planned, Refusal> {
    let under = |label: &WrapLabel| under(intent, label, &spec.context);
    let label = |version: &KekVersion, bytes: usize| WrapLabel {
        kek: intent.key.clone(),
        number: version.number,
        id: version.id,
        // At most 4,096.
        bytes: u16::try_from(bytes).unwrap_or(u16::MAX),
    };
    match (&spec.call, beside) {
        (WrapCall::GenerateDataKey { plaintext, .. }, Beside::Nothing) if let Some(before) = before => {
            let wrapped = WrappedKey::from_bytes(before).map_err(|_| Reason::Tampered)?;
            opening(kek, &wrapped.label)?;
            let facts = (usize::from(wrapped.label.bytes), *plaintext, wrapped.label.number);
            let job = Job::Open { under: under(&wrapped.label), sealed: wrapped.sealed };
            Ok(Planned { job, facts, label: wrapped.label, from: None })
        }
        (WrapCall::GenerateDataKey { bytes, plaintext, version }, Beside::Nothing) => {
            let version = sealing(kek, *version)?;
            let label = label(version, *bytes);
            let job = Job::Draw { bytes: *bytes, under: under(&label), plaintext: *plaintext };
            Ok(Planned { job, facts: (*bytes, *plaintext, version.number), label, from: None })
        }
        (WrapCall::Wrap { commitment, version }, Beside::Plaintext { salt, plaintext }) => {
            check_plaintext(commitment, &salt, &plaintext)?;
            let version = sealing(kek, *version)?;
            let (bytes, label) = (plaintext.len(), label(version, plaintext.len()));
            let job = Job::Seal { plaintext, under: under(&label) };
            Ok(Planned { job, facts: (bytes, false, version.number), label, from: None })
        }
        (WrapCall::Unwrap { blob }, Beside::Wrapped(bytes)) => {
            let wrapped = check_wrapped(blob, &bytes, kek)?;
            let facts = (usize::from(wrapped.label.bytes), true, wrapped.label.number);
            let job = Job::Open { under: under(&wrapped.label), sealed: wrapped.sealed };
            Ok(Planned { job, facts, label: wrapped.label, from: None })
        }
        (WrapCall::Rewrap { blob, version }, Beside::Wrapped(bytes)) => {
            let wrapped = check_wrapped(blob, &bytes, kek)?;
            let version = sealing(kek, *version)?;
            let bytes = usize::from(wrapped.label.bytes);
            let (from, to) = (under(&wrapped.label), label(version, bytes));
            let job = Job::Reseal { sealed: wrapped.sealed, from, to: under(&to) };
            let from = Some(wrapped.label.number);
            Ok(Planned { job, facts: (bytes, false, version.number), label: to, from })
        }
        (_, _) => Err(malformed("beside the intent")),
    }
}

/// The version that wraps: the one that is asked for, or the newest that is enabled.
fn sealing(kek: KekView<'_>, wanted: Option<KekNumber>) -> Result<&KekVersion, Refusal> {
    let enabled = |v: &&KekVersion| v.state == KekState::Enabled;
    let found = match wanted {
        Some(number) => Some(kek.version(number)?),
        None => kek.versions.iter().rfind(enabled).or(kek.versions.last()),
    };
    let version = found.ok_or(Reason::KekVersionUnknown)?;
    if enabled(&version) { Ok(version) } else { Err(of_version(version)) }
}

/// Whether a version opens what says that it was wrapped by it. What names the key of one version and the number of another
/// was changed: so a flipped bit of wrapped data is always found to be one, and never to be an unknown version.
fn opening(kek: KekView<'_>, label: &WrapLabel) -> Result<(), Refusal> {
    let by_number = kek.versions.iter().find(|v| v.number == label.number);
    let by_id = kek.versions.iter().any(|v| v.id == label.id);
    match by_number {
        Some(version) if version.id == label.id && version.state == KekState::Enabled => Ok(()),
        Some(version) if version.id == label.id => Err(of_version(version)),
        None if !by_id => Err(Refusal::new(Reason::KekVersionUnknown).with("version", label.number.to_string())),
        Some(_) | None => Err(Reason::BlobTampered.into()),
    }
}

fn check_plaintext(bound: &Digest, salt: &[u8], plaintext: &SecretBytes) -> Result<(), Refusal> {
    let salt: &[u8; SALT_BYTES] = salt.try_into().map_err(|_| malformed("salt"))?;
    if !(1..=PLAINTEXT_MAX_BYTES).contains(&plaintext.len()) {
        let detail =
            format!("what is wrapped has 1 to {PLAINTEXT_MAX_BYTES} bytes; wrap a data key and encrypt with that");
        return Err(Refusal::new(Reason::ParameterRange).with("detail", detail));
    }
    if commitment(salt, plaintext.expose()) == *bound { Ok(()) } else { Err(malformed("plaintext")) }
}

fn check_wrapped(bound: &Digest, bytes: &[u8], kek: KekView<'_>) -> Result<WrappedKey, Refusal> {
    if Digest::of(bytes) != *bound {
        return Err(malformed("wrapped"));
    }
    let wrapped = WrappedKey::from_bytes(bytes).map_err(|_| Reason::BlobTampered)?;
    if wrapped.label.kek != kek.record.name {
        return Err(Reason::BlobTampered.into());
    }
    opening(kek, &wrapped.label)?;
    Ok(wrapped)
}

fn under(intent: &Intent, label: &WrapLabel, context: &EncryptionContext) -> Seal {
    Seal { kek: label.id, aad: label.aad(&intent.cluster, &intent.tenant, context).0.to_vec() }
}

/// Whether the client is to be shown a plaintext.
pub fn shows_plaintext(intent: &Intent) -> bool {
    match WrapSpec::from_bytes(&intent.content).map(|spec| spec.call) {
        Ok(WrapCall::GenerateDataKey { plaintext, .. }) => plaintext,
        Ok(WrapCall::Unwrap { .. }) => true,
        Ok(WrapCall::Wrap { .. } | WrapCall::Rewrap { .. }) | Err(_) => false,
    }
}

/// What an intent wants of a KEK, in words for the log; nothing for other intents.
pub fn describe(intent: &Intent) -> Option<String> {
    if intent.kind == ContentKind::KekSpec {
        return Some(match KekSpec::from_bytes(&intent.content).ok()? {
            KekSpec::Create { home } => format!("create a KEK in the HSM of {home}"),
            KekSpec::Change(KekChange::Rotate) => "rotate".into(),
            KekSpec::Change(change @ KekChange::Destroy(number, seconds)) => {
                format!("{} version {number} after {seconds} s", change.as_str())
            }
            KekSpec::Change(change) => {
                format!("{} version {}", change.as_str(), change.version().unwrap_or(KekNumber::FIRST))
            }
        });
    }
    if intent.kind != ContentKind::WrapSpec {
        return None;
    }
    let WrapSpec { context, call } = WrapSpec::from_bytes(&intent.content).ok()?;
    let what = match call {
        WrapCall::GenerateDataKey { bytes, plaintext, .. } => {
            format!("data key of {bytes} bytes{}", if plaintext { ", shown" } else { "" })
        }
        WrapCall::Wrap { .. } | WrapCall::Unwrap { .. } | WrapCall::Rewrap { .. } => call.kind().as_str().into(),
    };
    Some(format!("{what} for {context}"))
}

fn malformed(field: &str) -> Refusal {
    Refusal::new(Reason::Malformed).with("field", field)
}
