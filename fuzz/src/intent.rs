//! What clients ask for: the body of an intent, and the content of those that are about keys, freezes, bundles and cards.

use crate::target::Verdict;
use crate::world;
use std::collections::BTreeSet;
use std::num::NonZeroU32;
use tally_domain::activation::{BundleName, VetoSpec};
use tally_domain::dsse::content_digest;
use tally_domain::freeze::{FreezeSpec, UnfreezeSpec};
use tally_domain::intent::{Action, BadIntent, ContentKind, PAYLOAD_TYPE};
use tally_domain::token::{Brand, Reuse, Token, TokenDomain};
use tally_domain::{
    Digest, DomainName, EncryptionContext, FreezeId, FreezeName, HsmKeySpec, HsmScheme, Intent, KekChange, KekNumber,
    KekSpec, KeySpec, Purpose, RequestId, Scheme, Scope, Threshold, WrapCall, WrapSpec,
};
use tally_tokenization::call::Import;
use tally_tokenization::pan::Form;
use tally_tokenization::spec::{Keeping, Mode};
use tally_tokenization::{Call, DomainChange, DomainSpec, Format, RotatedKey, TokenCall};

pub const WORDS: &[&str] = &["eip155:1", "acme", "node-1", "hot", "\u{8}\u{1}", "\u{a}\u{0}", "\u{7f}", "a b"];

/// Reads bytes that the client has signed as the body of an intent.
pub fn intent(bytes: &[u8]) -> Verdict {
    let (key, other) = (world::client(), world::identity(1));
    let envelope = key.seal(PAYLOAD_TYPE, bytes.to_vec());
    let read = Intent::open(&envelope, &key.verifying_key());
    assert_eq!(read, Intent::open(&envelope, &key.verifying_key()), "two readings");
    assert!(Intent::open(&envelope, &other.verifying_key()).is_err(), "another's key");
    if let Ok(intent) = &read {
        assert_eq!(intent.to_bytes(), bytes, "another encoding");
        assert_eq!(intent.digest(), content_digest(&envelope), "another digest");
        assert_eq!(Intent::claimed_client(&envelope).as_ref(), Ok(&intent.client));
        let elsewhere = key.seal("application/octet-stream", bytes.to_vec());
        assert!(Intent::open(&elsewhere, &key.verifying_key()).is_err(), "another type");
        let more = key.seal(PAYLOAD_TYPE, [bytes, &[0]].concat());
        assert!(Intent::open(&more, &key.verifying_key()).is_err(), "more behind it");
    }
    Verdict::of(read, |intent| format!("{:?} {:?}", intent.action, intent.kind))
}

/// Intents of every action and kind.
pub fn intents() -> Vec<Vec<u8>> {
    let signing = [
        (ContentKind::EvmTransaction, vec![2, 0xc0]),
        (ContentKind::Message, b"hello".to_vec()),
        (ContentKind::TypedData, b"{}".to_vec()),
        (ContentKind::PersonalMessage, b"hi".to_vec()),
        (ContentKind::RawDigest, vec![3; 32]),
        (ContentKind::Iso20022, b"<Document/>".to_vec()),
    ];
    let signing = signing.into_iter().map(|(kind, content)| (Action::Sign, kind, content));
    let create = (Action::CreateKey, ContentKind::KeySpec, specs()[0][1..].to_vec());
    signing.chain([create]).map(|(action, kind, content)| world::intent(action, kind, content).to_bytes()).collect()
}

/// What a kind of content is read as and written from: the same bytes, or it is refused.
type Reader = fn(&[u8]) -> Result<Vec<u8>, BadIntent>;

const READERS: [(&str, Reader); 10] = [
    ("key", |b| KeySpec::from_bytes(b).map(|spec| spec.to_bytes())),
    ("hsm-key", |b| HsmKeySpec::from_bytes(b).map(|spec| spec.to_bytes())),
    ("kek", |b| KekSpec::from_bytes(b).map(|spec| spec.to_bytes())),
    ("wrap", |b| WrapSpec::from_bytes(b).map(|spec| spec.to_bytes())),
    ("freeze", |b| FreezeSpec::from_bytes(b).map(|spec| spec.to_bytes())),
    ("unfreeze", |b| UnfreezeSpec::from_bytes(b).map(|spec| spec.to_bytes())),
    ("veto", |b| VetoSpec::from_bytes(b).map(|spec| spec.to_bytes())),
    ("token", |b| TokenCall::from_bytes(b).map(|call| call.to_bytes())),
    ("change", |b| DomainChange::from_bytes(b).map(DomainChange::to_bytes)),
    ("domain", |b| domain(b).ok_or(BadIntent::NotCanonical)),
];

fn domain(bytes: &[u8]) -> Option<Vec<u8>> {
    let spec = DomainSpec::from_bytes(bytes).ok()?;
    let bytes = spec.to_bytes();
    // Whether there can be such a domain is another question, which must have an answer.
    let _ = spec.check();
    Some(bytes)
}

/// The first byte says as what the rest is read.
pub fn spec(bytes: &[u8]) -> Verdict {
    let Some((which, bytes)) = bytes.split_first() else { return Verdict::said("nothing") };
    let Some((name, read)) = READERS.get(usize::from(*which)) else { return Verdict::said("none of them") };
    let again = read(bytes);
    if let Ok(again) = &again {
        assert_eq!(again, bytes, "{name}: another encoding");
    }
    match again {
        Ok(_) => Verdict::Read((*name).into()),
        Err(error) => Verdict::refused(&format_args!("{name} {error:?}")),
    }
}

/// One of each, behind the number of its reader.
pub fn specs() -> Vec<Vec<u8>> {
    let threshold = Threshold::new(2, 3).unwrap();
    let one = KekNumber(1);
    let context =
        EncryptionContext::from_pairs([("app".to_owned(), "a".to_owned()), ("b".to_owned(), String::new())]).unwrap();
    let wrap = |call| WrapSpec { context: context.clone(), call }.to_bytes();
    let lift = FreezeName { by: world::node(1), id: FreezeId([5; 16]) };
    let purpose = || "refund".to_owned();
    let (card, token) = (Digest([7; 32]), Token::parse("tok_a").unwrap());
    let import = Some(Import { id: RequestId([1; 16]), source: card });
    let domain = DomainSpec {
        domain: TokenDomain { tenant: world::tenant(), name: DomainName::parse("cards").unwrap() },
        home: world::node(1),
        format: Format::Opaque,
        reuse: Reuse::Random,
        keeping: Keeping::Reversible { mode: Mode::Hybrid, uses: NonZeroU32::new(3) },
        life_s: NonZeroU32::new(86_400),
        brands: BTreeSet::from([Brand::Visa, Brand::Mastercard]),
    };
    let all = [
        (0, KeySpec { scheme: Scheme::EcdsaSecp256k1, threshold, purpose: Purpose::Transaction }.to_bytes()),
        (0, KeySpec { scheme: Scheme::Taproot, threshold, purpose: Purpose::Raw }.to_bytes()),
        (1, HsmKeySpec { scheme: HsmScheme::Rsa3072, purpose: Purpose::Message, home: world::node(1) }.to_bytes()),
        (2, KekSpec::Create { home: world::node(2) }.to_bytes()),
        (2, KekSpec::Change(KekChange::Destroy(one, 86_400)).to_bytes()),
        (3, wrap(WrapCall::GenerateDataKey { bytes: 32, plaintext: true, version: Some(one) })),
        (3, wrap(WrapCall::Rewrap { blob: card, version: None })),
        (4, FreezeSpec { scope: Scope::All }.to_bytes()),
        (4, FreezeSpec { scope: Scope::Key(world::key_name()) }.to_bytes()),
        (5, UnfreezeSpec { scope: Scope::All, lifts: BTreeSet::from([lift]) }.to_bytes()),
        (6, VetoSpec { bundle: BundleName { version: 2, digest: card } }.to_bytes()),
        (7, TokenCall { purpose: purpose(), call: Call::TokenizeMany { rows_max: 9, import } }.to_bytes()),
        (7, TokenCall { purpose: purpose(), call: Call::Reveal { token, form: Form::Masked } }.to_bytes()),
        (8, DomainChange::Retire(RotatedKey::ALL[0], 3).to_bytes()),
        (8, DomainChange::Shred.to_bytes()),
        (9, domain.to_bytes()),
    ];
    all.into_iter().map(|(which, bytes)| [&[which], bytes.as_slice()].concat()).collect()
}
