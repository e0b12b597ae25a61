//! Keys in HSMs of the cluster of [`World`].

use super::world::*;
use p256::ecdsa::signature::hazmat::PrehashSigner as _;
use tally_audit::event::What;
use tally_domain::hsm_key::HsmKeyCertificate;
use tally_domain::*;

impl World {
    /// A key in the HSM of a node; the seed makes its private half.
    pub fn hsm_record(&self, name: &str, home: usize, seed: u8) -> HsmKeyRecord {
        HsmKeyRecord {
            cluster: self.roster.cluster.clone(),
            name: key_name(name),
            tenant: tenant(),
            request_id: request(seed),
            purpose: Purpose::Message,
            home: node_name(home),
            material: Material::Signing(PublicKey::P256(*p256_key(seed).verifying_key())),
        }
    }

    pub fn hsm_active(&self, record: &HsmKeyRecord, signers: &[usize]) -> What {
        let sign = |i: &usize| record.sign(&self.boots[*i].0, &self.boots[*i].1);
        What::HsmKeyActive { certificate: HsmKeyCertificate { statements: signers.iter().map(sign).collect() } }
    }

    /// A signature of [`World::hsm_record`]'s key.
    pub fn hsm_completed(&self, intent: &Intent, seed: u8) -> What {
        let to_sign = Digest::of(&intent.content).0.to_vec();
        let signature: p256::ecdsa::Signature = p256_key(seed).sign_prehash(&to_sign).unwrap();
        What::Completed {
            tenant: tenant(),
            request_id: intent.request_id,
            intent_digest: intent.digest(),
            key: intent.key.clone(),
            path: intent.path.clone(),
            signature: signature.normalize_s().to_bytes().to_vec(),
            public_key: PublicKey::P256(*p256_key(seed).verifying_key()).to_spki(),
            to_sign,
        }
    }
}

fn p256_key(seed: u8) -> p256::ecdsa::SigningKey {
    p256::ecdsa::SigningKey::from_slice(&[seed; 32]).unwrap()
}
