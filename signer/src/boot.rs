//! This start of this node: the boot key that lives in memory only, and the certificate of it by the HSM identity.

use tally_audit::event::{Event, What};
use tally_domain::boot::BootCert;
use tally_domain::dsse::{Envelope, Signature, SigningKey, pae};
use tally_domain::{ClusterId, Incarnation, NodeName, UnixMillis};

/// Who this node is until it stops. The boot key has no `Clone` and is never written down.
pub struct BootIdentity {
    /// The cluster.
    pub cluster: ClusterId,
    /// This node.
    pub node: NodeName,
    /// Which start.
    pub incarnation: Incarnation,
    key: SigningKey,
    cert: Envelope,
}

/// A boot key that the HSM identity has not certified yet.
pub struct Uncertified {
    cert: BootCert,
    key: SigningKey,
}

impl Uncertified {
    /// Takes 32 fresh random bytes as the boot key of this start.
    pub fn new(cluster: ClusterId, node: NodeName, incarnation: Incarnation, seed: &[u8; 32]) -> Self {
        let key = SigningKey::ed25519(seed);
        Self { cert: BootCert { cluster, node, incarnation, boot_key: key.verifying_key() }, key }
    }

    /// What the HSM identity signs.
    pub fn to_sign(&self) -> Vec<u8> {
        pae(tally_domain::boot::PAYLOAD_TYPE, &self.cert.to_bytes())
    }

    /// Adds the identity's signature; peers check it against the roster.
    pub fn certified(self, identity_key_id: String, signature: Vec<u8>) -> BootIdentity {
        let cert = Envelope {
            payload: self.cert.to_bytes(),
            payload_type: tally_domain::boot::PAYLOAD_TYPE.into(),
            signatures: vec![Signature { key_id: identity_key_id, signature }],
        };
        let BootCert { cluster, node, incarnation, .. } = self.cert;
        BootIdentity { cluster, node, incarnation, key: self.key, cert }
    }
}

impl BootIdentity {
    /// The boot key, for signing statements.
    pub fn key(&self) -> &SigningKey {
        &self.key
    }

    /// Its certificate.
    pub fn cert(&self) -> &Envelope {
        &self.cert
    }

    /// A log leaf of this node at `time`.
    pub fn leaf(&self, time: UnixMillis, what: What) -> Vec<u8> {
        Event { node: self.node.clone(), incarnation: self.incarnation, time, what }.to_leaf()
    }
}
