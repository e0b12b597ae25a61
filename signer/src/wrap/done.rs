//! What becomes of the token's answer: one durable step, and only then an answer to the client.

use crate::admit::Opened;
use crate::boot::BootIdentity;
use crate::freeze::unless_frozen;
use crate::kek::asked;
use prost::Message as _;
use tally_audit::event::{What, Wrapped};
use tally_domain::ports::store::{KekWrite, Step, Write};
use tally_domain::{
    Digest, KekNumber, NodeName, Reason, Refusal, SecretBytes, UnixMillis, WrapCall, WrapKind, WrapLabel, WrapSpec,
    WrappedKey,
};

/// The answer without its plaintext: what is stored. Field numbers are those of `UnwrapResponse` and the like in `proto/`.
#[derive(Clone, PartialEq, prost::Message)]
struct WrapResult {
    #[prost(bytes = "vec", tag = "1")]
    wrapped: Vec<u8>,
    #[prost(uint32, tag = "2")]
    version: u32,
    #[prost(string, tag = "3")]
    rule: String,
    #[prost(string, tag = "4")]
    home: String,
}

/// A call that was permitted, while the token works on it.
#[derive(Debug)]
#[must_use]
pub struct Underway {
    opened: Opened,
    home: NodeName,
    rule: String,
    kind: WrapKind,
    label: WrapLabel,
    from: Option<KekNumber>,
}

impl Underway {
    pub(super) fn new(
        opened: Opened,
        home: NodeName,
        rule: String,
        kind: WrapKind,
        label: WrapLabel,
        from: Option<KekNumber>,
    ) -> Self {
        Self { opened, home, rule, kind, label, from }
    }

    /// The token has sealed something.
    pub fn sealed(self, sealed: Vec<u8>) -> WrapDone {
        let wrapped = WrappedKey { label: self.label.clone(), sealed }.to_bytes();
        let blob = Digest::of(&wrapped);
        self.done(wrapped, blob)
    }

    /// Checks what the token has opened. For a call that was done before this is all: its outcome is durable.
    ///
    /// # Errors
    /// `INTERNAL` when it is of another length than the token had bound it to, which rules were asked about.
    pub fn check(&self, plaintext: &SecretBytes) -> Result<(), Refusal> {
        if plaintext.len() == usize::from(self.label.bytes) { Ok(()) } else { Err(Reason::Bug.into()) }
    }

    /// The token has opened something, and has so proved all that it says of itself.
    ///
    /// # Errors
    /// As [`Underway::check`].
    pub fn opened(self, plaintext: &SecretBytes) -> Result<WrapDone, Refusal> {
        self.check(plaintext)?;
        let blob = match WrapSpec::from_bytes(&self.opened.intent().content) {
            Ok(WrapSpec { call: WrapCall::Unwrap { blob }, .. }) => blob,
            _ => return Err(Reason::Bug.into()),
        };
        Ok(self.done(Vec::new(), blob))
    }

    fn done(self, wrapped: Vec<u8>, blob: Digest) -> WrapDone {
        let Self { home, rule, label, .. } = &self;
        let result = WrapResult { wrapped, version: label.number.0, rule: rule.clone(), home: home.as_str().into() };
        WrapDone { result: result.encode_to_vec(), blob, underway: self }
    }
}

/// A call that the token has done. What it gave leaves only after [`WrapDone::step`] is durable.
#[derive(Debug)]
#[must_use]
pub struct WrapDone {
    underway: Underway,
    result: Vec<u8>,
    blob: Digest,
}

impl WrapDone {
    /// The step that makes the outcome durable, with its leaf. It is refused if the KEK is frozen by then, or a version is
    /// not enabled any more.
    pub fn step(&self, boot: &BootIdentity, now: UnixMillis) -> Step {
        let Underway { opened, kind, label, from, .. } = &self.underway;
        let intent = opened.intent();
        let used = |number, wrapped| Write::Kek(KekWrite::Use { kek: label.kek.clone(), number, wrapped });
        let mut writes = vec![used(label.number, *kind != WrapKind::Unwrap)];
        writes.extend(from.filter(|from| *from != label.number).map(|from| used(from, false)));
        let (tenant, request) = (intent.tenant.clone(), intent.request_id);
        writes.push(Write::Complete { tenant, request, result: self.to_bytes(), at: now });
        let leaf = What::Wrapped(Wrapped {
            by: asked(opened),
            kind: *kind,
            kek: label.kek.clone(),
            number: label.number,
            from: *from,
            blob: self.blob,
        });
        unless_frozen(Step { writes, leaves: vec![boot.leaf(now, leaf)] }, &label.kek)
    }

    /// The answer without its plaintext, byte for byte as it is stored.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.result.clone()
    }
}
