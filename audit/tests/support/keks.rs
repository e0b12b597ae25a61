//! KEKs of the cluster of [`World`].

use super::world::*;
use tally_audit::event::{Asked, KekChanged, KekMade, What, Wrapped};
use tally_domain::ports::hsm::{KekId, KeyCheckValue};
use tally_domain::*;

pub const VAULT: &str = "vault";

/// Key and check value of a version.
pub fn kek_key(n: u8) -> (KekId, KeyCheckValue) {
    (KekId([n; 16]), KeyCheckValue([n, 0, n]))
}

pub fn asked(intent: &Intent) -> Asked {
    Asked { tenant: intent.tenant.clone(), request_id: intent.request_id, intent_digest: intent.digest() }
}

impl World {
    /// The record of `vault`, made at a node; its first version has key 1.
    pub fn kek_record(&self, home: usize) -> HsmKeyRecord {
        let (id, check_value) = kek_key(1);
        HsmKeyRecord {
            cluster: self.roster.cluster.clone(),
            name: key_name(VAULT),
            tenant: tenant(),
            request_id: request(100),
            purpose: Purpose::Wrap,
            home: node_name(home),
            material: Material::Kek { id, check_value },
        }
    }

    fn kek_intent(&self, n: u8, action: Action, kind: ContentKind, content: Vec<u8>) -> Intent {
        let purpose = Purpose::Wrap;
        Intent { action, kind, content, purpose, path: DerivationPath::default(), ..self.intent(n, VAULT) }
    }

    pub fn kek_wish(&self, n: u8, spec: &KekSpec) -> Intent {
        let action = if matches!(spec, KekSpec::Create { .. }) { Action::CreateKek } else { Action::ChangeKek };
        self.kek_intent(n, action, ContentKind::KekSpec, spec.to_bytes())
    }

    pub fn wrap_wish(&self, n: u8, call: WrapCall) -> Intent {
        let spec = WrapSpec { context: EncryptionContext::default(), call };
        self.kek_intent(n, spec.call.kind().action(), ContentKind::WrapSpec, spec.to_bytes())
    }

    /// What a node writes when it makes `vault`.
    pub fn kek_birth(&self, i: usize) -> Vec<What> {
        let wish = self.kek_wish(100, &KekSpec::Create { home: node_name(i) });
        let record = self.kek_record(i);
        let named = What::HsmKeyPending { record: record.to_bytes() };
        let made = kek_made(&wish, 1, 1);
        vec![self.received(&wish), self.permitted(&wish), named, made, self.hsm_active(&record, &[0, 1])]
    }

    /// What a node writes when it changes `vault`.
    pub fn kek_change(&self, n: u8, change: KekChange, event: KekEvent) -> Vec<What> {
        let wish = self.kek_wish(n, &KekSpec::Change(change));
        let number = change.version().unwrap();
        let changed = KekChanged { by: Some(asked(&wish)), kek: key_name(VAULT), number, event };
        vec![self.received(&wish), self.permitted(&wish), What::KekChanged(changed)]
    }

    pub fn kek_rotation(&self, n: u8, number: u32) -> Vec<What> {
        let wish = self.kek_wish(n, &KekSpec::Change(KekChange::Rotate));
        let made = kek_made(&wish, number, u8::try_from(number).unwrap());
        vec![self.received(&wish), self.permitted(&wish), made]
    }

    /// What a node writes when it wraps or opens with a version.
    pub fn kek_call(&self, n: u8, call: WrapCall, number: u32, from: Option<u32>) -> Vec<What> {
        let wish = self.wrap_wish(n, call);
        vec![self.received(&wish), self.permitted(&wish), wrapped(&wish, number, from)]
    }

    /// Everything that can be said of a KEK: made, used, rotated, used, and its first version destroyed.
    pub fn kek_life(&self, i: usize) -> Vec<What> {
        let first = KekNumber(1);
        let at = UnixMillis(1);
        [
            self.kek_birth(i),
            self.kek_call(101, draw(), 1, None),
            self.kek_rotation(102, 2),
            self.kek_call(103, rewrap(), 2, Some(1)),
            self.kek_change(104, KekChange::Disable(first), KekEvent::Disabled),
            self.kek_change(105, KekChange::Enable(first), KekEvent::Enabled),
            self.kek_change(106, KekChange::Destroy(first, 0), KekEvent::DestructionScheduled { at }),
            self.kek_change(107, KekChange::Cancel(first), KekEvent::DestructionCancelled),
            self.kek_change(108, KekChange::Destroy(first, 0), KekEvent::DestructionScheduled { at }),
            vec![due(KekEvent::Destroying), due(KekEvent::Destroyed)],
            self.kek_call(109, WrapCall::Unwrap { blob: blob() }, 2, None),
        ]
        .concat()
    }
}

/// What becomes of version 1 without anyone's asking.
pub fn due(event: KekEvent) -> What {
    What::KekChanged(KekChanged { by: None, kek: key_name(VAULT), number: KekNumber(1), event })
}

pub fn kek_made(wish: &Intent, number: u32, key: u8) -> What {
    let (id, check_value) = kek_key(key);
    What::KekMade(KekMade { by: asked(wish), kek: key_name(VAULT), number: KekNumber(number), id, check_value })
}

pub fn wrapped(wish: &Intent, number: u32, from: Option<u32>) -> What {
    let kind = WrapKind::of(wish.action).unwrap();
    let (number, from) = (KekNumber(number), from.map(KekNumber));
    What::Wrapped(Wrapped { by: asked(wish), kind, kek: key_name(VAULT), number, from, blob: blob() })
}

pub fn blob() -> Digest {
    Digest([0xb1; 32])
}

pub fn draw() -> WrapCall {
    WrapCall::GenerateDataKey { bytes: 32, plaintext: false, version: None }
}

pub fn rewrap() -> WrapCall {
    WrapCall::Rewrap { blob: Digest([0xb0; 32]), version: None }
}
