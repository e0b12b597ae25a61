//! A cluster of three nodes with real keys, and logs as its nodes would write them.

use bip32::{ChildNumber, XPrv};
use k256::ecdsa::signature::hazmat::PrehashSigner as _;
use tally_audit::event::{Event, Origin, Verdict, What};
use tally_audit::merkle::{Frontier, leaf_hash};
use tally_audit::verify::ExportedLog;
use tally_audit::{Checkpoint, checkpoint};
use tally_domain::boot::{self, Believed, BootCert, Statement};
use tally_domain::dsse::{Envelope, SigningKey, content_digest};
use tally_domain::intent::{self, Action, ContentKind, Intent};
use tally_domain::key::{KeyCertificate, KeyRecord};
use tally_domain::quorum::Tolerance;
use tally_domain::roster::{NodeRole, Roster, RosterClient, RosterNode};
use tally_domain::vote::{Abandonment, Certificate, VoteBody};
use tally_domain::*;

pub const HOT: &str = "hot";
pub const NOTES: &str = "notes";

pub struct World {
    pub roster: Roster,
    pub client: SigningKey,
    identities: Vec<SigningKey>,
    pub boots: Vec<(SigningKey, Envelope)>,
    secp: XPrv,
    ed: SigningKey,
}

pub fn node_name(i: usize) -> NodeName {
    NodeName::parse(&format!("node-{}", i + 1)).unwrap()
}

pub fn bundle() -> Digest {
    Digest::of(b"bundle")
}

pub fn tenant() -> Tenant {
    Tenant::parse("acme").unwrap()
}

pub fn request(n: u8) -> RequestId {
    RequestId([n; 16])
}

pub fn path() -> DerivationPath {
    DerivationPath::parse("m/0/7").unwrap()
}

pub fn key_name(s: &str) -> KeyName {
    KeyName::parse(s).unwrap()
}

impl World {
    /// The third node has a P-256 identity, the others Ed25519.
    pub fn new() -> Self {
        let cluster = ClusterId::parse("test").unwrap();
        let identities =
            vec![SigningKey::ed25519(&[1; 32]), SigningKey::ed25519(&[2; 32]), SigningKey::p256(&[3; 32]).unwrap()];
        let client = SigningKey::ed25519(&[9; 32]);
        let nodes = identities.iter().enumerate().map(|(i, k)| RosterNode {
            name: node_name(i),
            role: NodeRole::Signer,
            address: format!("127.0.0.1:{}", 7000 + i),
            identity: k.verifying_key(),
            tls_spki_sha256: String::new(),
        });
        let roster = Roster {
            cluster: cluster.clone(),
            nodes: nodes.collect(),
            clients: vec![RosterClient {
                id: ClientId::parse("payouts").unwrap(),
                tenant: tenant(),
                intent_key: client.verifying_key(),
                tls_spki_sha256: vec![],
                groups: vec![],
            }],
            tolerance: Tolerance::usual(3, 3),
            boots: Believed::default(),
        };
        let boots = (0..3).map(|i| boot_of(&cluster, &identities[i], i, 1)).collect();
        let secp = XPrv::new(&[7u8; 32]).unwrap();
        Self { roster, client, identities, boots, secp, ed: SigningKey::ed25519(&[8; 32]) }
    }

    pub fn boot(&self, i: usize) -> What {
        What::Boot { boot_cert: self.boots[i].1.clone(), bundle: bundle(), version: "0.1.0".into() }
    }

    /// The second start of a node, with its boot key.
    pub fn second_boot(&self, i: usize) -> (What, SigningKey, Envelope) {
        let (key, cert) = boot_of(&self.roster.cluster, &self.identities[i], i, 2);
        (What::Boot { boot_cert: cert.clone(), bundle: bundle(), version: "0.1.0".into() }, key, cert)
    }

    pub fn record(&self, name: &str) -> KeyRecord {
        let (scheme, public_key) = match name {
            HOT => (Scheme::EcdsaSecp256k1, self.secp.public_key().to_bytes().to_vec()),
            _ => (Scheme::Ed25519, ed_public(&self.ed)),
        };
        KeyRecord {
            cluster: self.roster.cluster.clone(),
            name: key_name(name),
            tenant: tenant(),
            request_id: request(200),
            scheme,
            purpose: Purpose::Transaction,
            threshold: Threshold::new(2, 3).unwrap(),
            epoch: Epoch(1),
            participants: (0..3).map(node_name).collect(),
            public_key,
            public_shares: vec![vec![2; 33]; 3],
            chain_code: Digest(self.secp.attrs().chain_code),
            transcript: Digest::of(b"transcript"),
        }
    }

    pub fn key_certificate(&self, record: &KeyRecord) -> KeyCertificate {
        KeyCertificate { statements: self.boots.iter().map(|(key, cert)| record.sign(key, cert)).collect() }
    }

    pub fn intent(&self, n: u8, key: &str) -> Intent {
        Intent {
            request_id: request(n),
            tenant: tenant(),
            client: ClientId::parse("payouts").unwrap(),
            action: Action::Sign,
            key: key_name(key),
            path: if key == HOT { path() } else { DerivationPath::default() },
            kind: ContentKind::Message,
            chain: String::new(),
            content: vec![n, 1, 2],
            purpose: Purpose::Transaction,
            not_before: UnixMillis(1),
            expires_at: UnixMillis(2),
            min_bundle_version: 1,
            note: String::new(),
            cluster: self.roster.cluster.clone(),
        }
    }

    pub fn received(&self, intent: &Intent) -> What {
        let envelope = self.client.seal(intent::PAYLOAD_TYPE, intent.to_bytes());
        let digest = content_digest(&envelope);
        What::IntentReceived { envelope, digest, from: Origin::Client(intent.client.clone()) }
    }

    pub fn permitted(&self, intent: &Intent) -> What {
        decided(intent, Verdict::Permitted { rule: "payouts-small".into() })
    }

    /// The signed bytes of a request: a digest for ECDSA, a message for Ed25519.
    pub fn to_sign(&self, intent: &Intent) -> Vec<u8> {
        if intent.key.as_str() == HOT { Digest::of(&intent.content).0.to_vec() } else { intent.content.clone() }
    }

    pub fn vote_body(&self, intent: &Intent, attempt: u32, signers: &[usize]) -> VoteBody {
        let to_sign = self.to_sign(intent);
        let once = format!("{}/{attempt}", intent.request_id);
        VoteBody {
            tenant: tenant(),
            request_id: intent.request_id,
            intent_digest: intent.digest(),
            attempt: Attempt(attempt),
            signers: signers.iter().map(|i| node_name(*i)).collect(),
            digest: Digest::from_slice(&to_sign).unwrap_or_else(|| Digest::of(&to_sign)),
            nonce_binding: Digest::of(format!("nonce {once}").as_bytes()),
            session: Digest::of(format!("session {once}").as_bytes()),
            bundle: bundle(),
            rule: "payouts-small".into(),
            claims: None,
            approvals: Vec::new(),
        }
    }

    pub fn vote(&self, i: usize, body: &VoteBody) -> Statement {
        body.sign(&self.boots[i].0, &self.boots[i].1)
    }

    pub fn certificate(&self, body: &VoteBody, signers: &[usize]) -> Certificate {
        Certificate { votes: signers.iter().map(|i| self.vote(*i, body)).collect() }
    }

    pub fn released(&self, body: &VoteBody, signers: &[usize], partial: &[u8]) -> What {
        What::Released {
            tenant: body.tenant.clone(),
            request_id: body.request_id,
            attempt: body.attempt,
            certificate: self.certificate(body, signers),
            partial_digest: Digest::of(partial),
        }
    }

    pub fn abandoned(&self, i: usize, n: u8, attempt: u32) -> What {
        let promise = Abandonment { tenant: tenant(), request_id: request(n), attempt: Attempt(attempt) };
        What::Abandoned { statement: promise.sign(&self.boots[i].0, &self.boots[i].1) }
    }

    pub fn completed(&self, intent: &Intent) -> What {
        self.completed_over(intent, self.to_sign(intent))
    }

    pub fn completed_over(&self, intent: &Intent, to_sign: Vec<u8>) -> What {
        let (signature, public_key) = if intent.key.as_str() == HOT {
            let child = self.child(&intent.path);
            let signature: k256::ecdsa::Signature = child.private_key().sign_prehash(&to_sign).unwrap();
            (signature.normalize_s().to_bytes().to_vec(), child.public_key().to_bytes().to_vec())
        } else {
            (self.ed.sign(&to_sign), ed_public(&self.ed))
        };
        What::Completed {
            tenant: tenant(),
            request_id: intent.request_id,
            intent_digest: intent.digest(),
            key: intent.key.clone(),
            path: intent.path.clone(),
            signature,
            public_key,
            to_sign,
        }
    }

    /// The private key that signs for a path.
    pub fn child(&self, path: &DerivationPath) -> XPrv {
        path.steps().iter().fold(self.secp.clone(), |key, step| key.derive_child(ChildNumber(*step)).unwrap())
    }

    pub fn key_active(&self, name: &str) -> What {
        What::KeyActive { certificate: self.key_certificate(&self.record(name)) }
    }

    /// What a signer writes for one request, from the intent to its release.
    pub fn request_at(&self, i: usize, intent: &Intent, signers: &[usize]) -> Vec<What> {
        let body = self.vote_body(intent, 1, signers);
        vec![
            self.received(intent),
            self.permitted(intent),
            What::Voted { vote: self.vote(i, &body) },
            self.released(&body, signers, b"partial"),
        ]
    }

    /// A log with all kinds of leaves: two requests by nodes 1 and 2, which the third only learns of.
    pub fn honest(&self, i: usize) -> Vec<What> {
        let record = self.record(HOT);
        let mut log = vec![
            self.boot(i),
            What::KeyPending { record: record.to_bytes() },
            self.key_active(HOT),
            self.key_active(NOTES),
        ];
        for (n, key) in [(1, HOT), (2, NOTES)] {
            let intent = self.intent(n, key);
            if i < 2 {
                log.extend(self.request_at(i, &intent, &[0, 1]));
            }
            log.push(self.completed(&intent));
        }
        let refused = self.intent(3, HOT);
        log.push(self.received(&refused));
        log.push(decided(
            &refused,
            Verdict::Refused {
                reason: Reason::PolicyDenied.as_str().into(),
                rule: "payouts-small".into(),
                condition: "context.tx.to in List::\"vendors\"".into(),
            },
        ));
        log.push(What::SessionFailed {
            request_id: Some(request(4)),
            what: Reason::SessionAborted.as_str().into(),
            culprit: None,
            missing: Vec::new(),
        });
        log.push(self.abandoned(i, 4, 1));
        log
    }

    pub fn events(&self, i: usize, log: Vec<What>) -> Vec<Event> {
        let mut incarnation = 0;
        let timed = log.into_iter().enumerate();
        timed
            .map(|(n, what)| {
                incarnation += u64::from(matches!(what, What::Boot { .. }));
                Event {
                    node: node_name(i),
                    incarnation: Incarnation(incarnation),
                    time: UnixMillis(1_000 + n as u64),
                    what,
                }
            })
            .collect()
    }

    /// A log with its checkpoint, signed by the node whatever it says.
    pub fn export(&self, i: usize, log: Vec<What>) -> ExportedLog {
        self.seal(i, self.events(i, log).iter().map(Event::to_leaf).collect())
    }

    pub fn seal(&self, i: usize, entries: Vec<Vec<u8>>) -> ExportedLog {
        let mut frontier = Frontier::new();
        entries.iter().for_each(|e| frontier.append(leaf_hash(e)));
        let c = Checkpoint::of(&self.roster.cluster, &node_name(i), &frontier);
        let key = &self.identities[i];
        let name = checkpoint::origin(&self.roster.cluster, &node_name(i));
        let checkpoint = c.with_signature(&name, &key.verifying_key(), &key.sign(&c.unsigned_note()));
        ExportedLog { node: node_name(i), entries, checkpoint }
    }
}

pub fn decided(intent: &Intent, verdict: Verdict) -> What {
    What::Decided {
        tenant: intent.tenant.clone(),
        request_id: intent.request_id,
        intent_digest: intent.digest(),
        verdict,
        bundle: bundle(),
        summary: "a message of 3 bytes".into(),
        limits: Vec::new(),
    }
}

fn boot_of(cluster: &ClusterId, identity: &SigningKey, i: usize, incarnation: u64) -> (SigningKey, Envelope) {
    let boot_key = SigningKey::ed25519(&[100 + 10 * u8::try_from(incarnation).unwrap() + u8::try_from(i).unwrap(); 32]);
    let cert = BootCert {
        cluster: cluster.clone(),
        node: node_name(i),
        incarnation: Incarnation(incarnation),
        boot_key: boot_key.verifying_key(),
    };
    let sealed = identity.seal(boot::PAYLOAD_TYPE, cert.to_bytes());
    (boot_key, sealed)
}

fn ed_public(key: &SigningKey) -> Vec<u8> {
    hex::decode(key.verifying_key().to_string().strip_prefix("ed25519:").unwrap()).unwrap()
}
