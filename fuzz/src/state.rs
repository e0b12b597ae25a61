//! A node that has done some of everything, as its store keeps it.

use crate::world::{self, NOW};
use std::collections::BTreeSet;
use tally_domain::activation::BundleName;
use tally_domain::approval;
use tally_domain::claim::Claimant;
use tally_domain::freeze::FreezeName;
use tally_domain::limit::{Charge, LineId};
use tally_domain::ports::hsm::{KekId, KeyCheckValue};
use tally_domain::ports::store::tokens::{
    CardFacts, CursorWrite, DomainKek, ImportRow, KekKind, KeyWrite, NewDomain, NewToken, Sealed, VaultWrite,
    WrappedKey,
};
use tally_domain::ports::store::{
    ApprovalRow, ApprovalWrite, AttemptId, BundleWrite, CancellationRow, ClaimRequest, FreezeWrite, KekWrite,
    NamedLine, Step, WaitingRow, Write,
};
use tally_domain::token::{Bin, Brand, DataKeyNumber, Fingerprint, IndexKeyNumber, Last4, Reuse, Token, TokenDomain};
use tally_domain::{
    Action, Attempt, Claims, ClientId, Digest, DomainName, Epoch, FreezeId, Incarnation, Interval, KekNumber, KekState,
    KekVersion, KeyName, LimitId, LineClaim, PersonName, RequestId, Scope, Subject,
};
use tally_store::testing::Names;

fn request(n: u8) -> RequestId {
    RequestId([n; 16])
}

fn attempt(n: u8) -> AttemptId {
    AttemptId { tenant: world::tenant(), request: request(n), attempt: Attempt(1) }
}

fn claim_request(n: u8) -> Write {
    Write::ClaimRequest(ClaimRequest {
        tenant: world::tenant(),
        request: request(n),
        intent_digest: Digest([n; 32]),
        client: ClientId::parse("payouts").unwrap(),
        key: world::key_name(),
        action: Action::Sign,
        at: NOW,
    })
}

fn line() -> LineId {
    LineId(Digest([9; 32]))
}

fn claim(n: u8, from: u128, to: u128) -> Write {
    let limit = LimitId::parse("a-day").unwrap();
    let charge = Charge { limit, line: line(), max: 1_000, window_ms: 60_000, amount: to - from };
    let claimed = LineClaim::new(&charge, vec![Interval::new(from, to).unwrap()]).unwrap();
    let by = Claimant { tenant: world::tenant(), request: request(n) };
    Write::Claim { by, claims: Claims::new(NOW, vec![claimed]).unwrap() }
}

/// The one token domain.
pub fn domain() -> TokenDomain {
    TokenDomain { tenant: world::tenant(), name: DomainName::parse("cards").unwrap() }
}

fn wrapped() -> WrappedKey {
    WrappedKey { kek: KeyName::parse("kek").unwrap(), kek_version: KekNumber(1), wrapped: vec![7; 40] }
}

fn token(n: u8) -> NewToken {
    NewToken {
        token: Token::parse(&format!("tok_{n}")).unwrap(),
        sealed: Some(Sealed { key: DataKeyNumber(1), iv: [n; 12], ciphertext: vec![n; 32] }),
        fingerprints: vec![(IndexKeyNumber(1), Fingerprint([n; 32]))],
        about: CardFacts {
            brand: Brand::Visa,
            bin: Bin::parse("41111111").unwrap(),
            last4: Last4::parse("1111").unwrap(),
            digits: 16,
        },
        subject: Some(Subject::parse("c-1").unwrap()),
        expires_at: Some(NOW.plus(86_400_000)),
        uses_left: Some(3),
        bucket: Some(("41111111-1111".into(), 10)),
    }
}

/// By which names it is read.
pub fn names() -> Names {
    Names {
        tenant: world::tenant(),
        requests: (1..=5).map(request).collect(),
        lines: vec![line()],
        peer: world::node(2),
        bundle: Digest([8; 32]),
        domain: domain(),
        subject: Subject::parse("c-1").unwrap(),
        card: (IndexKeyNumber(1), Fingerprint([1; 32])),
        import: request(100),
    }
}

/// A node that has done some of everything.
pub fn steps() -> Vec<Step> {
    let step = |writes: Vec<Write>| Step { writes, leaves: vec![b"leaf".to_vec()] };
    [attempts(), waiting(), keys(), peers(), freezes(), cards()].map(step).into()
}

fn bytes(text: &str) -> Vec<u8> {
    text.as_bytes().to_vec()
}

fn attempts() -> Vec<Write> {
    let limit = LimitId::parse("a-day").unwrap();
    let by = vec![("context.tx.to".to_owned(), "0x07".to_owned())];
    let tenant = world::tenant();
    vec![
        claim_request(1),
        Write::Vote { attempt: attempt(1), statement: bytes("vote"), body: bytes("body") },
        claim(1, 0, 100),
        Write::NameLine(NamedLine { line: line(), limit, by }),
        Write::Release { attempt: attempt(1), partial: bytes("partial"), certificate: bytes("certificate") },
        Write::Complete { tenant: tenant.clone(), request: request(1), result: bytes("result"), at: NOW },
        claim_request(2),
        Write::Vote { attempt: attempt(2), statement: bytes("vote"), body: bytes("body") },
        claim(2, 200, 300),
        Write::Abandon { attempt: attempt(2), statement: bytes("abandoned") },
        claim_request(3),
        Write::Refuse { tenant, request: request(3), reason: "EXPIRED".into(), at: NOW },
    ]
}

fn waiting() -> Vec<Write> {
    let tenant = world::tenant();
    let waiting = WaitingRow {
        tenant: tenant.clone(),
        request: request(4),
        intent: bytes("intent"),
        owner: world::node(2),
        bundle: bundle().digest,
        summary: Digest([2; 32]),
        expires_at: NOW.plus(60_000),
        at: NOW,
    };
    let approval = ApprovalRow {
        tenant: tenant.clone(),
        request: request(4),
        person: PersonName::parse("alice").unwrap(),
        verdict: approval::Verdict::Approve,
        envelope: bytes("approval"),
        at: NOW,
    };
    let cancelled = CancellationRow { tenant, request: request(5), envelope: bytes("cancellation"), at: NOW };
    vec![
        claim_request(4),
        Write::Approval(ApprovalWrite::Await(waiting)),
        Write::Approval(ApprovalWrite::Put(approval)),
        claim_request(5),
        Write::Approval(ApprovalWrite::Cancel(cancelled)),
    ]
}

fn keys() -> Vec<Write> {
    let version = KekVersion {
        number: KekNumber(1),
        id: KekId([1; 16]),
        check_value: KeyCheckValue([1, 2, 3]),
        state: KekState::Enabled,
        made_at: NOW,
    };
    let put = |name: KeyName| Write::PutPendingKey {
        name,
        request: request(200),
        record: bytes("record"),
        sealed_share: bytes("sealed"),
        at: NOW,
    };
    let (key, kek) = (world::key_name(), KeyName::parse("kek").unwrap());
    vec![
        put(key.clone()),
        Write::ActivateKey { name: key, record: bytes("record"), certificate: bytes("certificate"), at: NOW },
        put(KeyName::parse("pending").unwrap()),
        Write::PutHsmKey { name: kek.clone(), record: bytes("record"), intent: bytes("intent"), at: NOW },
        Write::Kek(KekWrite::Put { kek, version, transfer: Some(bytes("transfer")) }),
    ]
}

fn peers() -> Vec<Write> {
    let (key, peer) = (world::key_name(), world::node(2));
    vec![
        Write::Ban { key: key.clone(), epoch: Epoch(1), peer: peer.clone(), what: "a check failed".into() },
        Write::CheckPending { session: Digest([3; 32]), key, epoch: Epoch(1), peers: vec![peer.clone()] },
        Write::Incarnation(Incarnation(1)),
        Write::PeerIncarnation { node: peer.clone(), incarnation: Incarnation(3) },
        Write::PeerHead { node: peer, size: 7, root: Digest([4; 32]) },
        Write::Checkpoint { size: 1, note: "note".into(), frontier: bytes("frontier") },
    ]
}

fn bundle() -> BundleName {
    BundleName { version: 2, digest: Digest([8; 32]) }
}

fn freezes() -> Vec<Write> {
    let freeze = FreezeName { by: world::node(2), id: FreezeId([5; 16]) };
    let lifted = FreezeName { by: world::node(1), id: FreezeId([6; 16]) };
    vec![
        Write::Freeze(FreezeWrite::Put { name: freeze, scope: Scope::All, statement: bytes("freeze"), at: NOW }),
        Write::Freeze(FreezeWrite::Lift {
            intent: Digest([6; 32]),
            lifts: BTreeSet::from([lifted]),
            certificate: bytes("lifted"),
            at: NOW,
        }),
        Write::Bundle(BundleWrite::Begin { bundle: bundle(), envelope: Some(bytes("bundle")), at: NOW }),
    ]
}

fn cards() -> Vec<Write> {
    let sealing = DomainKek { object: KekId([1; 16]), kind: KekKind::Sealing };
    let writes = [
        VaultWrite::PutDomain(NewDomain {
            domain: domain(),
            record: bytes("record"),
            home: world::node(1),
            reuse: Reuse::Random,
            data_key: Some((sealing, wrapped())),
            index_key: [2; 16],
            at: NOW,
        }),
        VaultWrite::PutTokens { domain: domain(), tokens: vec![token(1), token(2)], at: NOW },
        VaultWrite::Suspend { domain: domain(), token: token(2).token, suspended: true },
        VaultWrite::Key(KeyWrite::AddDataKey { domain: domain(), key: wrapped(), shred: false, at: NOW }),
        VaultWrite::Cursor(CursorWrite::Imported(ImportRow {
            domain: domain(),
            import: request(100),
            source: [1; 32],
            lines: 10,
            rejected: 1,
            updated_at: NOW,
        })),
    ];
    writes.map(Write::Vault).into()
}

/// What is done on changed rows: room is looked for on the line, a token is used, another one is made.
pub fn next() -> Step {
    let writes = vec![
        Write::Vault(VaultWrite::Use { domain: domain(), token: token(1).token, at: NOW }),
        claim_request(6),
        Write::Vote { attempt: attempt(6), statement: b"vote".to_vec(), body: b"body".to_vec() },
        claim(6, 400, 500),
    ];
    Step { writes, leaves: vec![b"another".to_vec()] }
}
