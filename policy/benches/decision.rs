//! What a decision costs with 100 rules and lists of 10,000 entries: alone, and as a node comes to it, with the client's
//! signature and its own decoding before and what is charged after. The target is 300 microseconds at the median.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing, reason = "a bench fails loudly")]

use criterion::{Criterion, criterion_group, criterion_main};
use std::fmt::Write as _;
use std::hint::black_box;
use tally_chains::{Eip1559, eip1559_unsigned, erc20_transfer_input, parse_evm_address};
use tally_domain::approval::{Approval, Verdict};
use tally_domain::dsse::{Envelope, SigningKey, content_digest};
use tally_domain::facts::{Amount, Facts};
use tally_domain::intent::PAYLOAD_TYPE;
use tally_domain::{
    Action, ClientId, ClusterId, ContentKind, DerivationPath, Digest, Intent, KeyName, PersonName, Purpose, RequestId,
    Scheme, Tenant, UnixMillis,
};
use tally_policy::{
    ApprovalSubject, Approvals, Bundle, Decision, DecisionRequest, EXAMPLE, Files, PolicyAction, charges,
    decide_approved, shown,
};

const RULES: usize = 100;
const ENTRIES: usize = 10_000;
const NOON: UnixMillis = UnixMillis(12 * 3_600_000);
const USDC: &str = "0xa0b86991c6218b36c1d19d4a2e9eb0ce3606eb48";
const CHAIN: &str = "eip155:1";

fn address(i: usize) -> String {
    format!("0x{i:040x}")
}

/// All rules are for the client, the action and the key of the request, and no two permits have the same conditions, so that
/// each is looked at. Of what asks nobody only the last permit is for more than a few units; every tenth asks people.
fn policy() -> String {
    let mut policy = String::new();
    for i in 1..=RULES {
        let (asks, effect, most) = match i {
            _ if i % 4 == 0 => ("", "forbid", format!("999999.{i:03}")),
            _ if i == RULES - 1 => ("", "permit", "1000".into()),
            _ if i % 10 == 1 => ("@approvals(\"2 of treasury, 1 of risk\") ", "permit", format!("5000.{i:03}")),
            _ => ("", "permit", format!("0.{i:03}")),
        };
        let (list, compared) =
            if effect == "forbid" { ("blocked", "greaterThan") } else { ("vendors", "lessThanOrEqual") };
        writeln!(
            policy,
            "@id(\"rule-{i}\") {asks}{effect} (principal in Group::\"payouts\", action == Action::\"sign\", resource == Key::\"hot\")\n\
             when {{ context.tx.asset == \"USDC\" && context.tx.to in List::\"{list}\"\n\
             && context.tx.amount.{compared}(decimal(\"{most}\"))\n\
             && context.tx.fee.lessThanOrEqual(decimal(\"0.05\")) && context.now.hour >= 6 }};"
        )
        .unwrap();
    }
    policy
}

fn bundle() -> Bundle {
    let mut files: Files =
        EXAMPLE.into_iter().map(|(path, text)| (path.to_owned(), text.as_bytes().to_vec())).collect();
    let list = |first: usize| (first..first + ENTRIES).map(|i| address(i) + "\n").collect::<String>().into_bytes();
    files.insert("policy.cedar".into(), policy().into_bytes());
    files.insert("lists/vendors.txt".into(), list(0));
    files.insert("lists/blocked.txt".into(), list(ENTRIES));
    files.retain(|path, _| !path.starts_with("tests/"));
    Bundle::load(&files).unwrap()
}

/// A client's request as it comes in, and what people say about it.
struct Incoming {
    envelope: Envelope,
    approvals: Vec<Envelope>,
}

fn client() -> SigningKey {
    SigningKey::ed25519(&[9; 32])
}

fn incoming(units: u128) -> Incoming {
    let amount = Amount::from(units * 1_000_000);
    let to = parse_evm_address(&address(ENTRIES / 2)).unwrap();
    let transaction = Eip1559 {
        chain_id: 1,
        nonce: 7,
        max_priority_fee_per_gas: 1,
        max_fee_per_gas: 10u128.pow(10),
        gas_limit: 100_000,
        to: Some(parse_evm_address(USDC).unwrap()),
        value: Amount::from(0),
        input: erc20_transfer_input(to, amount),
    };
    let intent = Intent {
        request_id: RequestId([7; 16]),
        tenant: Tenant::parse("acme").unwrap(),
        client: ClientId::parse("payout-service").unwrap(),
        action: Action::Sign,
        key: KeyName::parse("hot").unwrap(),
        path: DerivationPath::new(vec![]).unwrap(),
        kind: ContentKind::EvmTransaction,
        chain: CHAIN.into(),
        content: eip1559_unsigned(&transaction),
        purpose: Purpose::Transaction,
        not_before: UnixMillis(0),
        expires_at: NOON.plus(60_000),
        min_bundle_version: 0,
        note: String::new(),
        cluster: ClusterId::parse("example").unwrap(),
    };
    Incoming { envelope: client().seal(PAYLOAD_TYPE, intent.to_bytes()), approvals: vec![] }
}

/// What a node decodes of a request that its client has signed.
struct Read {
    intent: Intent,
    digest: Digest,
    facts: Facts,
}

impl Read {
    fn new(incoming: &Incoming) -> Self {
        Intent::claimed_client(&incoming.envelope).unwrap();
        let intent = Intent::open(&incoming.envelope, &client().verifying_key()).unwrap();
        let decoded = tally_chains::decode(intent.kind, Scheme::EcdsaSecp256k1, &intent.chain, &intent.content);
        Self { digest: content_digest(&incoming.envelope), facts: decoded.unwrap().facts, intent }
    }

    fn request(&self) -> DecisionRequest<'_> {
        let Intent { client, key, .. } = &self.intent;
        DecisionRequest { client, key, action: PolicyAction::Sign(&self.facts) }
    }

    fn subject(&self, bundle: &Bundle) -> ApprovalSubject<'_> {
        let Intent { tenant, request_id, client, .. } = &self.intent;
        let summary_digest = shown(bundle, &self.request()).digest;
        ApprovalSubject { tenant, request_id: *request_id, client, intent_digest: self.digest, summary_digest }
    }

    fn approved(&self, bundle: &Bundle, person: &str, seed: u8) -> Envelope {
        let subject = self.subject(bundle);
        let approval = Approval {
            cluster: self.intent.cluster.clone(),
            tenant: subject.tenant.clone(),
            request_id: subject.request_id,
            intent_digest: subject.intent_digest,
            summary_digest: subject.summary_digest,
            bundle: bundle.digest(),
            verdict: Verdict::Approve,
            person: PersonName::parse(person).unwrap(),
            expires_at: NOON.plus(3_600_000),
        };
        approval.sign(&SigningKey::ed25519(&[seed; 32]))
    }
}

/// Everything from the bytes on.
fn whole(bundle: &Bundle, incoming: &Incoming) -> Decision {
    let read = Read::new(incoming);
    let approvals = match incoming.approvals.as_slice() {
        [] => Approvals::none(),
        given => Approvals::collect(bundle, &read.subject(bundle), given, NOON),
    };
    let decision = decide_approved(bundle, &read.request(), &approvals, NOON);
    if matches!(decision, Decision::Permit { .. }) {
        black_box(charges(bundle, &read.request())).unwrap();
    }
    decision
}

fn decision(c: &mut Criterion) {
    let bundle = bundle();
    let (permitted, waiting, denied) = (incoming(900), incoming(2_000), incoming(10_000));
    let mut approved = incoming(2_000);
    let read = Read::new(&approved);
    approved.approvals =
        [("bob", 12), ("carol", 14), ("dave", 15)].map(|(who, seed)| read.approved(&bundle, who, seed)).into();
    assert_eq!(whole(&bundle, &permitted), Decision::Permit { rule: "rule-99".into() });
    assert_eq!(whole(&bundle, &approved), Decision::Permit { rule: "rule-1".into() });
    assert!(matches!(whole(&bundle, &waiting), Decision::NeedsApproval(needs) if needs[0].paths.len() == 10));
    assert!(matches!(whole(&bundle, &denied), Decision::Deny(d) if d.near_misses.len() == 16 && d.errors.is_empty()));
    for (name, incoming) in [("permit", &permitted), ("wait for approvals", &waiting), ("deny", &denied)] {
        let read = Read::new(incoming);
        let decide = || decide_approved(&bundle, black_box(&read.request()), &Approvals::none(), NOON);
        c.bench_function(&format!("rules alone, {name}"), |b| b.iter(decide));
        c.bench_function(&format!("whole, {name}"), |b| b.iter(|| whole(&bundle, black_box(incoming))));
    }
    c.bench_function("whole, permit with three approvals", |b| b.iter(|| whole(&bundle, black_box(&approved))));
    let read = Read::new(&permitted);
    c.bench_function("charges of two limits", |b| b.iter(|| charges(&bundle, black_box(&read.request()))));
}

criterion_group!(benches, decision);
criterion_main!(benches);
