//! What a node keeps on its disk, after somebody has changed it there: rows of its database, and card numbers beside tokens.

use crate::target::Verdict;
use crate::world::{self, NOW};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::sync::LazyLock;
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
    NamedLine, Step, StoreError, WaitingRow, Write,
};
use tally_domain::token::{Bin, Brand, DataKeyNumber, Fingerprint, IndexKeyNumber, Last4, Reuse, Token, TokenDomain};
use tally_domain::{
    Action, Attempt, Claims, ClientId, Digest, DomainName, Epoch, FreezeId, Incarnation, Interval, KekNumber, KekState,
    KekVersion, KeyName, LimitId, LineClaim, PersonName, RequestId, Scope, Subject,
};
use tally_node::testing::{open_vault_row, vault_row};
use tally_store::testing::{Cell, Change, Names, Rows, Seen};
use tally_tokenization::Pan;

/// Most changes at once: with more of them one hides what another does.
const CHANGES_MAX: usize = 4;

/// Where a change is (table, column, row), what kind it is, and how many bytes of value follow.
const CHANGE_HEAD: usize = 5;

/// Columns that no read gives back: they order, count, find, or say again what another one says; a table where it is all of
/// them. What they do is looked at in the step that follows.
const UNREAD: [&str; 32] = [
    "approval.updated_at",
    // Of an attempt that was released or given up.
    "attempt.statement",
    // Of a bundle without a certificate.
    "bundle.activated_at",
    "bundle_active.one",
    "bundle_active.signed",
    "bundle_veto.updated_at",
    "cancellation.updated_at",
    "claim.size",
    // Of a data key that is destroyed.
    "data_key.kek",
    "data_key.updated_at",
    "domain_kek.updated_at",
    "doomed_key.since",
    // Cards are looked for by them.
    "fingerprint.",
    // Of a freeze that is lifted.
    "freeze.key",
    "freeze.lifted_by",
    "freeze.updated_at",
    // Records name their keys.
    "hsm_key.name",
    "hsm_key.updated_at",
    "index_key.updated_at",
    "key.name",
    // Of a version that is not to be destroyed.
    "kek_version.destroy_at",
    "kek_version.updated_at",
    "line.held",
    "line.sizes",
    "line_field.nth",
    "request.seq",
    // Of a request that is completed.
    "request.refused",
    "token_bucket.",
    "token_domain.updated_at",
    "token_subject.id",
    "unfreeze.updated_at",
    "waiting.updated_at",
];

fn is_unread(cell: &str) -> bool {
    UNREAD.iter().any(|unread| cell == *unread || (unread.ends_with('.') && cell.starts_with(unread)))
}

pub const WORDS: &[&str] =
    &["node-1", "node-2,node-3", "acme", "active", "tok_", "4111", "\u{0}\u{0}\u{0}\u{1}", "all"];

thread_local! {
    static ROWS: RefCell<Rows> = RefCell::new(Rows::after(&steps()).unwrap());
}

static HONEST: LazyLock<String> = LazyLock::new(|| seen(&[]).unwrap().read.unwrap());

fn seen(changes: &[Change]) -> Option<Seen> {
    ROWS.with_borrow_mut(|rows| rows.seen(changes, &names(), &next()).unwrap())
}

/// Changes of cells. What is read afterwards is an error that says so, or shows every change.
pub fn rows(bytes: &[u8]) -> Verdict {
    let changes = changes(bytes);
    let Some(Seen { changed, read, followed }) = seen(&changes) else { return Verdict::said("no such value") };
    if let Err(error) = &followed {
        assert!(!error.to_string().is_empty());
    }
    let word = changed.first().cloned().unwrap_or_default();
    match read {
        Ok(read) => {
            let told = changed.iter().all(|cell| is_unread(cell)) || read != *HONEST;
            assert!(told, "{changed:?} is read as if nothing had happened");
            assert!(!changed.is_empty() || read == *HONEST, "nothing was changed");
            let after = matches!(followed, Err(StoreError::Damaged { .. }));
            Verdict::Read(format!("{word} {after}"))
        }
        Err(StoreError::Damaged { what }) => {
            assert!(!changed.is_empty(), "{what}");
            Verdict::Refused(word)
        }
        Err(other) => panic!("{changed:?}: {other:?}"),
    }
}

fn changes(mut bytes: &[u8]) -> Vec<Change> {
    let mut all = Vec::new();
    while let Some(([table, column, row, kind, length], behind)) = bytes.split_first_chunk::<CHANGE_HEAD>() {
        let (value, behind) = behind.split_at(usize::from(*length).min(behind.len()));
        bytes = behind;
        let number = value.iter().take(8).fold(0_i64, |n, byte| n << 8 | i64::from(*byte));
        let to = match kind % 7 {
            0 => Cell::Same,
            1 => Cell::Null,
            2 => Cell::Number(number),
            3 => Cell::Number(-number),
            4 => Cell::Text(value.to_vec()),
            5 => Cell::Bytes(value.to_vec()),
            _ => Cell::Of(*length),
        };
        all.push(Change { table: *table, column: *column, row: *row, to });
        if all.len() == CHANGES_MAX {
            break;
        }
    }
    all
}

/// No change, and a place in every column.
pub fn examples() -> Vec<Vec<u8>> {
    let shape = ROWS.with_borrow(Rows::shape);
    let places = shape
        .into_iter()
        .enumerate()
        .flat_map(|(table, columns)| (0..columns).map(move |column| vec![table as u8, column as u8, 0, 0, 0]));
    [vec![]].into_iter().chain(places).collect()
}

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

fn domain() -> TokenDomain {
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

fn names() -> Names {
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
fn steps() -> Vec<Step> {
    let step = |writes: Vec<Write>| Step { writes, leaves: vec![b"leaf".to_vec()] };
    let bytes = |text: &str| text.as_bytes().to_vec();
    let (tenant, key, peer) = (world::tenant(), world::key_name(), world::node(2));
    let bundle = BundleName { version: 2, digest: Digest([8; 32]) };
    let limit = LimitId::parse("a-day").unwrap();
    let by = vec![("context.tx.to".to_owned(), "0x07".to_owned())];
    let freeze = FreezeName { by: peer.clone(), id: FreezeId([5; 16]) };
    let lifted = FreezeName { by: world::node(1), id: FreezeId([6; 16]) };
    let version = KekVersion {
        number: KekNumber(1),
        id: KekId([1; 16]),
        check_value: KeyCheckValue([1, 2, 3]),
        state: KekState::Enabled,
        made_at: NOW,
    };
    let waiting = WaitingRow {
        tenant: tenant.clone(),
        request: request(4),
        intent: bytes("intent"),
        owner: peer.clone(),
        bundle: bundle.digest,
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
    let cancelled =
        CancellationRow { tenant: tenant.clone(), request: request(5), envelope: bytes("cancellation"), at: NOW };
    let attempted = vec![
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
        Write::Refuse { tenant: tenant.clone(), request: request(3), reason: "EXPIRED".into(), at: NOW },
        claim_request(4),
        Write::Approval(ApprovalWrite::Await(waiting)),
        Write::Approval(ApprovalWrite::Put(approval)),
        claim_request(5),
        Write::Approval(ApprovalWrite::Cancel(cancelled)),
    ];
    let put = |name: &KeyName| Write::PutPendingKey {
        name: name.clone(),
        request: request(200),
        record: bytes("record"),
        sealed_share: bytes("sealed"),
        at: NOW,
    };
    let kek = KeyName::parse("kek").unwrap();
    let keys = vec![
        put(&key),
        Write::ActivateKey { name: key.clone(), record: bytes("record"), certificate: bytes("certificate"), at: NOW },
        put(&KeyName::parse("pending").unwrap()),
        Write::PutHsmKey { name: kek.clone(), record: bytes("record"), intent: bytes("intent"), at: NOW },
        Write::Kek(KekWrite::Put { kek, version, transfer: Some(bytes("transfer")) }),
        Write::Ban { key: key.clone(), epoch: Epoch(1), peer: peer.clone(), what: "a check failed".into() },
        Write::CheckPending { session: Digest([3; 32]), key, epoch: Epoch(1), peers: vec![peer.clone()] },
        Write::Incarnation(Incarnation(1)),
        Write::PeerIncarnation { node: peer.clone(), incarnation: Incarnation(3) },
        Write::PeerHead { node: peer, size: 7, root: Digest([4; 32]) },
        Write::Checkpoint { size: 1, note: "note".into(), frontier: bytes("frontier") },
        Write::Freeze(FreezeWrite::Put { name: freeze, scope: Scope::All, statement: bytes("freeze"), at: NOW }),
        Write::Freeze(FreezeWrite::Lift {
            intent: Digest([6; 32]),
            lifts: BTreeSet::from([lifted]),
            certificate: bytes("lifted"),
            at: NOW,
        }),
        Write::Bundle(BundleWrite::Begin { bundle, envelope: Some(bytes("bundle")), at: NOW }),
    ];
    let sealing = DomainKek { object: KekId([1; 16]), kind: KekKind::Sealing };
    let vault = |write| Write::Vault(write);
    let cards = vec![
        vault(VaultWrite::PutDomain(NewDomain {
            domain: domain(),
            record: bytes("record"),
            home: world::node(1),
            reuse: Reuse::Random,
            data_key: Some((sealing, wrapped())),
            index_key: [2; 16],
            at: NOW,
        })),
        vault(VaultWrite::PutTokens { domain: domain(), tokens: vec![token(1), token(2)], at: NOW }),
        vault(VaultWrite::Suspend { domain: domain(), token: token(2).token, suspended: true }),
        vault(VaultWrite::Key(KeyWrite::AddDataKey { domain: domain(), key: wrapped(), shred: false, at: NOW })),
        vault(VaultWrite::Cursor(CursorWrite::Imported(ImportRow {
            domain: domain(),
            import: request(100),
            source: [1; 32],
            lines: 10,
            rejected: 1,
            updated_at: NOW,
        }))),
    ];
    vec![step(attempted), step(keys), step(cards)]
}

/// What is done on changed rows: room is looked for on the line, a token is used, another one is made.
fn next() -> Step {
    let writes = vec![
        Write::Vault(VaultWrite::Use { domain: domain(), token: token(1).token, at: NOW }),
        claim_request(6),
        Write::Vote { attempt: attempt(6), statement: b"vote".to_vec(), body: b"body".to_vec() },
        claim(6, 400, 500),
    ];
    Step { writes, leaves: vec![b"another".to_vec()] }
}

const DATA_KEY: [u8; 32] = [0x5a; 32];
const PAN: &str = "4111111111111111";

fn holder() -> Token {
    Token::parse("tok_abcdefghijkl").unwrap()
}

static KEPT: LazyLock<Sealed> =
    LazyLock::new(|| vault_row(DATA_KEY, &domain(), &holder(), &Pan::parse(PAN.as_bytes()).unwrap()).unwrap());

/// A row of a hybrid domain: its token, its data key's number, its IV and what is encrypted. Only the one that was kept opens.
pub fn kept(bytes: &[u8]) -> Verdict {
    let Some((iv, rest)) = bytes.split_first_chunk::<12>() else { return Verdict::said("no IV") };
    let Some((key, rest)) = rest.split_first_chunk::<4>() else { return Verdict::said("no key") };
    let split = rest.iter().position(|byte| *byte == 0);
    let Some((name, ciphertext)) = split.map(|at| (&rest[..at], &rest[at + 1..])) else {
        return Verdict::said("no token");
    };
    let Some(token) = std::str::from_utf8(name).ok().and_then(|name| Token::parse(name).ok()) else {
        return Verdict::said("not a token");
    };
    let key = DataKeyNumber(u32::from_be_bytes(*key));
    let sealed = Sealed { key, iv: *iv, ciphertext: ciphertext.to_vec() };
    let same = sealed == *KEPT && token == holder();
    match open_vault_row(DATA_KEY, &domain(), &token, &sealed) {
        Some(pan) => {
            assert!(same, "a row that was not kept opens");
            assert_eq!(pan.expose(), PAN.as_bytes());
            Verdict::Read("kept".into())
        }
        None => {
            assert!(!same, "what was kept does not open");
            Verdict::Refused(format!("{} {}", key == KEPT.key, token == holder()))
        }
    }
}

pub fn kept_rows() -> Vec<Vec<u8>> {
    let Sealed { key, iv, ciphertext } = &*KEPT;
    vec![[iv.as_slice(), &key.0.to_be_bytes(), holder().as_str().as_bytes(), &[0], ciphertext].concat()]
}
