//! Who is there and what they want: nodes with identities, a client with its key, a bundle, and signed intents.

use crate::persons::{self, DESK};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;
use tally_chains::{Eip1559, eip1559_unsigned};
use tally_domain::dsse::{Envelope, SigningKey};
use tally_domain::facts::Amount;
use tally_domain::freeze::{FreezeSpec, UnfreezeSpec};
use tally_domain::intent::PAYLOAD_TYPE;
use tally_domain::{
    Action, Charge, ClientId, ClusterId, ContentKind, DerivationPath, FreezeName, Intent, KeyName, KeySpec, LimitId,
    LineId, NodeName, Purpose, Reason, Refusal, RequestId, Scheme, Scope, Tenant, Threshold, UnixMillis,
};
use tally_policy::Bundle;
use tally_signer::admit::Subject;

/// The message key.
pub const NOTES: &str = "notes";
/// The transaction key.
pub const HOT: &str = "hot";

/// 2026-11-21T22:55:00Z.
pub const START_OF_TIME: UnixMillis = UnixMillis(1_795_301_700_000);
/// When another rule begins to decide on messages.
pub const NIGHT: UnixMillis = UnixMillis(START_OF_TIME.0 + 5 * 60 * 1_000);

const POLICY: &str = r#"
@id("notes-by-night")
permit (principal in Group::"payouts", action == Action::"sign_message", resource == Key::"notes")
when { context.message.bytes <= 1024 && context.now.hour >= 23 };

@id("notes")
permit (principal in Group::"payouts", action == Action::"sign_message", resource == Key::"notes")
when { context.message.bytes <= 1024 };

@id("asked") @approvals("2 of treasury")
permit (principal in Group::"desks", action == Action::"sign_message", resource == Key::"notes")
when { context.message.bytes <= 1024 };

@id("payouts")
permit (principal in Group::"payouts", action == Action::"sign", resource == Key::"hot")
when { context.tx.asset == "ETH" && context.tx.amount.lessThanOrEqual(decimal("1")) };

@id("stop")
permit (principal in Group::"payouts", action == Action::"freeze", resource);

@id("go-on")
permit (principal in Group::"payouts", action == Action::"unfreeze", resource);

@id("make-keys")
permit (principal in Group::"payouts", action == Action::"create_key", resource);
"#;

const ASSETS: &str = r#"
[[asset]]
symbol = "ETH"
chain = "eip155:1"
decimals = 18
"#;

/// A limit on the bytes of all messages within a window.
#[derive(Debug, Clone, Copy)]
pub struct Limit {
    /// Bytes.
    pub max: u128,
    /// Window, in milliseconds.
    pub window_ms: u64,
}

/// Everything that does not change during a run.
pub struct World {
    /// The bundle that every node has.
    pub bundle: Arc<Bundle>,
    /// All nodes, in the order of the roster: signers, then witnesses.
    pub names: Vec<NodeName>,
    /// How many of them hold shares.
    pub signers: usize,
    /// The limit, if there is one.
    pub limit: Option<Limit>,
    client: SigningKey,
    desk: SigningKey,
}

impl World {
    /// A cluster of so many signers and witnesses.
    pub fn new(signers: u8, witnesses: u8, limit: Option<Limit>) -> Self {
        let (client, desk) = (SigningKey::ed25519(&[200; 32]), SigningKey::ed25519(&[201; 32]));
        let names: Vec<_> = (1..=signers + witnesses).map(node_name).collect();
        let mut roster = String::from("cluster = \"sim\"\ngroups = [\"payouts\"]\n");
        for (i, name) in names.iter().enumerate() {
            let identity = identity(name).verifying_key();
            let spki = format!("{:02x}", i + 1).repeat(32);
            let role = if i < usize::from(signers) { "signer" } else { "witness" };
            write!(
                roster,
                "[[node]]\nname = \"{name}\"\nrole = \"{role}\"\naddress = \"{name}:1\"\nidentity = \"{identity}\"\n\
                 tls_spki_sha256 = \"{spki}\"\n"
            )
            .expect("writing to a string");
        }
        for (id, key, spki, group) in [("client", &client, "ee", "payouts"), (DESK, &desk, "ef", "desks")] {
            write!(
                roster,
                "[[client]]\nid = \"{id}\"\ntenant = \"acme\"\nintent_key = \"{}\"\n\
                 tls_spki_sha256 = [\"{}\"]\ngroups = [\"{group}\"]\n",
                key.verifying_key(),
                spki.repeat(32)
            )
            .expect("writing to a string");
        }
        let file = |path: &str, text: &str| (path.to_owned(), text.as_bytes().to_vec());
        let files = BTreeMap::from([
            file("policy.cedar", POLICY),
            file("assets.toml", ASSETS),
            file("roster.toml", &roster),
            file("groups.toml", &persons::groups()),
            file("bundle.toml", "version = 1\n"),
        ]);
        let bundle = Arc::new(Bundle::load(&files).expect("the simulation's bundle loads"));
        Self { bundle, names, signers: usize::from(signers), limit, client, desk }
    }

    /// What every node charges for a request: a message as many units as it has bytes.
    ///
    /// # Errors
    /// `VELOCITY_LIMIT` when it is longer than the limit by itself.
    pub fn charges(&self, subject: &Subject) -> Result<Vec<Charge>, Refusal> {
        let Some(Limit { max, window_ms }) = self.limit else { return Ok(Vec::new()) };
        let amount = subject.intent().content.len() as u128;
        if amount > max {
            return Err(Reason::VelocityLimit.into());
        }
        let limit = self.limit_id();
        Ok(vec![Charge { line: LineId::of(&limit, &[]), limit, max, window_ms, amount }])
    }

    /// What the limit is called.
    pub(crate) fn limit_id(&self) -> LimitId {
        LimitId::parse("bytes").expect("a name")
    }

    /// A request to sign a message of its own.
    pub fn note(&self, id: u8, text: &str) -> Envelope {
        let steps = if id.is_multiple_of(2) { Vec::new() } else { vec![0, id.into()] };
        let path = DerivationPath::new(steps).expect("a short path");
        self.seal(&Intent { path, content: text.as_bytes().to_vec(), ..blank(id, NOTES) })
    }

    /// A request of the desk to sign a message, which persons must approve.
    pub fn asked(&self, id: u8, text: &str) -> Envelope {
        let client = ClientId::parse(DESK).expect("a name");
        let intent = Intent { client, content: text.as_bytes().to_vec(), ..blank(id, NOTES) };
        self.desk.seal(PAYLOAD_TYPE, intent.to_bytes())
    }

    /// A request to sign a transaction with the child key of that index.
    pub fn payout(&self, id: u8, child: u32) -> Envelope {
        let mut amount = [0; 32];
        amount[31] = id;
        let content = eip1559_unsigned(&Eip1559 {
            chain_id: 1,
            nonce: u64::from(id),
            max_priority_fee_per_gas: 1_000_000_000,
            max_fee_per_gas: 13_000_000_000,
            gas_limit: 21_000,
            to: Some([7; 20]),
            value: Amount(amount),
            input: Vec::new(),
        });
        self.seal(&Intent {
            kind: ContentKind::EvmTransaction,
            purpose: Purpose::Transaction,
            chain: "eip155:1".into(),
            path: DerivationPath::new(vec![0, child]).expect("a short path"),
            content,
            ..blank(id, HOT)
        })
    }

    /// A request to make the key of a scheme.
    pub fn key(&self, scheme: Scheme, threshold: Threshold) -> Envelope {
        let (name, purpose) = match scheme {
            Scheme::EcdsaSecp256k1 => (HOT, Purpose::Transaction),
            Scheme::Ed25519 | Scheme::Taproot => (NOTES, Purpose::Message),
        };
        self.seal(&Intent {
            action: Action::CreateKey,
            kind: ContentKind::KeySpec,
            purpose,
            content: KeySpec { scheme, threshold, purpose }.to_bytes(),
            ..blank(250, name)
        })
    }

    /// A request to freeze.
    pub fn freeze(&self, id: u8, scope: &Scope) -> Envelope {
        self.seal(&Intent {
            action: Action::Freeze,
            kind: ContentKind::FreezeSpec,
            content: FreezeSpec { scope: scope.clone() }.to_bytes(),
            key: scope.intent_key().expect("a name"),
            ..blank(id, NOTES)
        })
    }

    /// A request to lift freezes.
    pub fn unfreeze(&self, id: u8, scope: &Scope, lifts: BTreeSet<FreezeName>) -> Envelope {
        self.seal(&Intent {
            action: Action::Unfreeze,
            kind: ContentKind::UnfreezeSpec,
            content: UnfreezeSpec { scope: scope.clone(), lifts }.to_bytes(),
            key: scope.intent_key().expect("a name"),
            ..blank(id, NOTES)
        })
    }

    fn seal(&self, intent: &Intent) -> Envelope {
        self.client.seal(PAYLOAD_TYPE, intent.to_bytes())
    }
}

fn blank(id: u8, key: &str) -> Intent {
    Intent {
        request_id: RequestId([id; 16]),
        tenant: Tenant::parse("acme").expect("a name"),
        client: ClientId::parse("client").expect("a name"),
        action: Action::Sign,
        key: KeyName::parse(key).expect("a name"),
        path: DerivationPath::default(),
        kind: ContentKind::Message,
        chain: String::new(),
        content: Vec::new(),
        purpose: Purpose::Message,
        not_before: START_OF_TIME.minus(1_000),
        expires_at: START_OF_TIME.plus(9 * 60 * 1_000),
        min_bundle_version: 1,
        note: String::new(),
        cluster: ClusterId::parse("sim").expect("a name"),
    }
}

/// `node-1` and so on.
pub fn node_name(i: u8) -> NodeName {
    NodeName::parse(&format!("node-{i}")).expect("a name")
}

/// A node's identity key: its token, as far as the simulation goes.
pub fn identity(name: &NodeName) -> SigningKey {
    let seed = tally_domain::digest::TaggedHash::new("sim/identity").field(name.as_str().as_bytes()).finish();
    SigningKey::ed25519(&seed.0)
}
