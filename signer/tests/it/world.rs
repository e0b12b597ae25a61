//! Three nodes, three clients, and keys whose private half the test holds: no threshold is needed to test what is checked.

use std::collections::BTreeMap;
use tally_domain::dsse::{Envelope, SigningKey};
use tally_domain::intent::PAYLOAD_TYPE;
use tally_domain::key::{KeyRecord, KeyState};
use tally_domain::vote::{Certificate, VoteBody};
use tally_domain::*;
use tally_mpc::Signature;
use tally_policy::Bundle;
use tally_signer::admit::{self, Permit, Subject};
use tally_signer::boot::{BootIdentity, Uncertified};
use tally_signer::claims::{Claimed, claim};
use tally_signer::freeze::Freezes;

/// 2026-11-21T22:01:00Z.
pub const NOW: UnixMillis = UnixMillis(1_795_298_460_000);
pub const MINUTE: u64 = 60_000;

const POLICY: &str = r#"
@id("notes")
permit (principal in Group::"payouts", action == Action::"sign_message", resource == Key::"notes")
when { context.message.bytes <= 16 };

@id("payouts")
permit (principal in Group::"payouts", action == Action::"sign", resource == Key::"hot")
when { context.tx.asset == "ETH" && context.tx.amount.lessThanOrEqual(decimal("1")) };

@id("never-to-seven")
forbid (principal, action == Action::"sign", resource)
when { context.tx.to == Address::"0x0707070707070707070707070707070707070707" };

@id("make-keys")
permit (principal in Group::"payouts", action == Action::"create_key", resource)
when { context.spec.t >= 2 };

@id("tokens")
permit (principal in Group::"payouts", action == Action::"sign_message", resource == Key::"jwt")
when { context.message.bytes <= 16 };

@id("raw")
permit (principal in Group::"payouts", action == Action::"sign_raw", resource == Key::"root")
when { context.raw.bytes == 32 };

@id("cold-payouts")
permit (principal in Group::"payouts", action == Action::"sign", resource == Key::"cold")
when { context.tx.asset == "ETH" };

@id("payouts-large") @approvals("2 of treasury")
permit (principal in Group::"payouts", action == Action::"sign", resource == Key::"treasury")
when { context.tx.asset == "ETH" };

@id("stop")
permit (principal in Group::"payouts", action == Action::"freeze", resource)
when { context.freeze.scope == "all" || resource == Key::"notes" || resource == Key::"vault" };

@id("veto")
permit (principal in Group::"payouts", action == Action::"veto_policy", resource)
when { context.bundle.version < 100 };

@id("go-on")
permit (principal in Group::"payouts", action == Action::"unfreeze", resource == Key::"notes");

@id("make-hsm-keys")
permit (principal in Group::"payouts", action == Action::"create_key", resource)
when { context.spec.backing == "hsm" && context.spec.scheme != "rsa-3072" };

@id("wrap-ledger")
permit (principal in Group::"payouts", action in [Action::"generate_data_key", Action::"wrap", Action::"unwrap", Action::"rewrap"],
        resource == Key::"vault")
when { context.wrap.context.contains("app=ledger") && context.wrap.bytes <= 64 };

@id("make-keks")
permit (principal in Group::"payouts", action == Action::"create_kek", resource == Key::"vault");

@id("change-keks")
permit (principal in Group::"payouts", action == Action::"change_kek", resource == Key::"vault")
when { context.kek.change != "disable" || context.kek.version != 2 };
"#;

pub struct World {
    pub bundle: Bundle,
    pub boots: Vec<BootIdentity>,
    clients: BTreeMap<&'static str, SigningKey>,
    identities: Vec<SigningKey>,
    ed25519: SigningKey,
}

/// Alice has two keys; carol operates the client that asks; dora is not of the treasury.
pub fn person_key(person: &str) -> SigningKey {
    let number = ["alice", "alice-2", "bob", "carol", "dora"].iter().position(|name| *name == person).unwrap();
    SigningKey::ed25519(&[60 + u8::try_from(number).unwrap(); 32])
}

fn groups() -> String {
    let key = |name| person_key(name).verifying_key();
    format!(
        "[[person]]\nname = \"alice\"\nkeys = [\"{}\", \"{}\"]\n[[person]]\nname = \"bob\"\nkeys = [\"{}\"]\n\
         [[person]]\nname = \"carol\"\nkeys = [\"{}\"]\nclients = [\"edwards\"]\n\
         [[person]]\nname = \"dora\"\nkeys = [\"{}\"]\n\
         [[group]]\nname = \"treasury\"\npersons = [\"alice\", \"bob\", \"carol\"]\n\
         [[group]]\nname = \"risk\"\npersons = [\"dora\"]\n",
        key("alice"),
        key("alice-2"),
        key("bob"),
        key("carol"),
        key("dora")
    )
}

pub fn name(i: usize) -> NodeName {
    NodeName::parse(&format!("node-{}", i + 1)).unwrap()
}

impl World {
    pub fn new() -> Self {
        Self::with_limits("")
    }

    /// The same with `limits.toml`.
    pub fn with_limits(limits: &str) -> Self {
        let identities: Vec<_> =
            vec![SigningKey::ed25519(&[1; 32]), SigningKey::p256(&[2; 32]).unwrap(), SigningKey::ed25519(&[3; 32])];
        let clients = BTreeMap::from([
            ("edwards", SigningKey::ed25519(&[11; 32])),
            ("p256", SigningKey::p256(&[12; 32]).unwrap()),
            ("stranger", SigningKey::ed25519(&[13; 32])),
        ]);
        let mut roster = String::from("cluster = \"test\"\ngroups = [\"payouts\"]\n");
        for (i, key) in identities.iter().enumerate() {
            roster += &format!(
                "[[node]]\nname = \"{}\"\nrole = \"signer\"\naddress = \"node:1\"\nidentity = \"{}\"\ntls_spki_sha256 = \"{}\"\n",
                name(i),
                key.verifying_key(),
                format!("{i:02x}").repeat(32)
            );
        }
        for (i, (id, key)) in clients.iter().enumerate() {
            let tenant = if *id == "stranger" { "other" } else { "acme" };
            roster += &format!(
                "[[client]]\nid = \"{id}\"\ntenant = \"{tenant}\"\nintent_key = \"{}\"\ntls_spki_sha256 = [\"{}\"]\ngroups = [\"payouts\"]\n",
                key.verifying_key(),
                format!("e{i}").repeat(32)
            );
        }
        let assets = "[[asset]]\nsymbol = \"ETH\"\nchain = \"eip155:1\"\ndecimals = 18\n";
        let files = [
            ("policy.cedar", POLICY),
            ("assets.toml", assets),
            ("roster.toml", &roster),
            ("groups.toml", &groups()),
            ("bundle.toml", "version = 3\n"),
            ("limits.toml", limits),
        ];
        let files = files.map(|(path, text)| (path.to_owned(), text.as_bytes().to_vec()));
        let bundle = Bundle::load(&BTreeMap::from(files)).unwrap_or_else(|e| panic!("{e}"));
        let boots = (0..3).map(|i| boot(&identities[i], i, 1)).collect();
        Self { bundle, boots, clients, identities, ed25519: SigningKey::ed25519(&[21; 32]) }
    }

    /// A boot of a node in another incarnation.
    pub fn reboot(&self, i: usize, incarnation: u64) -> BootIdentity {
        boot(&self.identities[i], i, incarnation)
    }

    pub fn note(&self) -> Intent {
        Intent {
            request_id: RequestId([1; 16]),
            tenant: Tenant::parse("acme").unwrap(),
            client: ClientId::parse("edwards").unwrap(),
            action: Action::Sign,
            key: KeyName::parse("notes").unwrap(),
            path: DerivationPath::default(),
            kind: ContentKind::Message,
            chain: String::new(),
            content: b"hello".to_vec(),
            purpose: Purpose::Message,
            not_before: NOW.minus(MINUTE),
            expires_at: NOW.plus(MINUTE),
            min_bundle_version: 3,
            note: String::new(),
            cluster: ClusterId::parse("test").unwrap(),
        }
    }

    pub fn payout(&self) -> Intent {
        self.payout_to([9; 20], Vec::new())
    }

    pub fn payout_to(&self, to: [u8; 20], input: Vec<u8>) -> Intent {
        let mut value = [0; 32];
        value[31] = 1;
        let content = tally_chains::eip1559_unsigned(&tally_chains::Eip1559 {
            chain_id: 1,
            nonce: 7,
            max_priority_fee_per_gas: 1,
            max_fee_per_gas: 2,
            gas_limit: 21_000,
            to: Some(to),
            value: tally_domain::facts::Amount(value),
            input,
        });
        Intent {
            key: KeyName::parse("hot").unwrap(),
            kind: ContentKind::EvmTransaction,
            purpose: Purpose::Transaction,
            chain: "eip155:1".into(),
            path: DerivationPath::parse("m/0/7").unwrap(),
            content,
            ..self.note()
        }
    }

    pub fn seal(&self, intent: &Intent) -> Envelope {
        self.clients[intent.client.as_str()].seal(PAYLOAD_TYPE, intent.to_bytes())
    }

    /// The key that an intent names: `notes` is Ed25519 for messages, anything else ECDSA for transactions.
    pub fn record(&self, key: &KeyName) -> KeyRecord {
        let (scheme, purpose, public_key) = if key.as_str() == "notes" {
            let text = self.ed25519.verifying_key().to_string();
            (Scheme::Ed25519, Purpose::Message, hex::decode(text.strip_prefix("ed25519:").unwrap()).unwrap())
        } else {
            (Scheme::EcdsaSecp256k1, Purpose::Transaction, vec![2; 33])
        };
        KeyRecord {
            cluster: ClusterId::parse("test").unwrap(),
            name: key.clone(),
            tenant: Tenant::parse("acme").unwrap(),
            request_id: RequestId([200; 16]),
            scheme,
            purpose,
            threshold: Threshold::new(2, 3).unwrap(),
            epoch: Epoch(1),
            participants: (0..3).map(name).collect(),
            public_shares: vec![public_key.clone(); 3],
            public_key,
            chain_code: Digest([5; 32]),
            transcript: Digest([6; 32]),
        }
    }

    pub fn admit(&self, intent: &Intent) -> Result<Permit, Refusal> {
        let record = self.record(&intent.key);
        self.admit_with(intent, Some((&record, KeyState::Active)), NOW)
    }

    pub fn admit_with(
        &self,
        intent: &Intent,
        key: Option<(&KeyRecord, KeyState)>,
        now: UnixMillis,
    ) -> Result<Permit, Refusal> {
        admit::open(&self.bundle, self.seal(intent)).and_then(|opened| {
            admit::admit_sign(opened, key, &Freezes::default(), &self.bundle, now, |_| Ok(Vec::new()))
        })
    }

    /// A permit of a request that is charged.
    pub fn admit_charged(&self, intent: &Intent, charges: &[Charge]) -> Result<Permit, Refusal> {
        let record = self.record(&intent.key);
        let opened = admit::open(&self.bundle, self.seal(intent))?;
        let key = Some((&record, KeyState::Active));
        admit::admit_sign(opened, key, &Freezes::default(), &self.bundle, NOW, |_| Ok(charges.to_vec()))
    }

    /// The one signature of a message key.
    pub fn sign(&self, subject: &Subject) -> Signature {
        Signature::Ed25519(self.ed25519.sign(&subject.bytes_to_sign()).try_into().unwrap())
    }

    pub fn certificate(&self, body: &VoteBody, voters: &[usize]) -> Certificate {
        Certificate { votes: voters.iter().map(|i| body.sign(self.boots[*i].key(), self.boots[*i].cert())).collect() }
    }
}

/// The permit of a request that no limit applies to.
pub fn unlimited(permit: &Permit) -> Claimed {
    claim(permit.clone(), None, NOW).unwrap()
}

fn boot(identity: &SigningKey, i: usize, incarnation: u64) -> BootIdentity {
    let seed = [u8::try_from(100 + 10 * incarnation).unwrap() + u8::try_from(i).unwrap(); 32];
    let uncertified = Uncertified::new(ClusterId::parse("test").unwrap(), name(i), Incarnation(incarnation), &seed);
    let signature = identity.sign(&uncertified.to_sign());
    uncertified.certified(identity.verifying_key().to_string(), signature)
}
