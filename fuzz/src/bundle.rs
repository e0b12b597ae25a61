//! Policy bundles: the signed archive, and the text of every kind of file in one.

use crate::target::Verdict;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::LazyLock;
use tally_domain::dsse::SigningKey;
use tally_domain::facts::{Amount, Facts, OpaqueFacts, UnreadCall};
use tally_domain::{ClientId, KeyName};
use tally_policy::{
    Bundle, Case, Decision, DecisionRequest, EXAMPLE, Files, OpenError, PolicyAction, SignedBundle, Trust, Validity,
    decide, summary,
};

use crate::world::NOW;

pub const WORDS: &[&str] = &[
    "permit",
    "forbid",
    "when { ",
    " };",
    "@id(\"x\")",
    "@approvals(\"2 of treasury\")",
    "context.tx",
    "resource",
    "principal",
    "[[limit]]",
    "[[node]]",
    "[[asset]]",
    "[group.",
    "per = ",
    "max = ",
    "\"\"",
    "18446744073709551616",
    "-1",
    "0x",
    "\u{202e}",
    "((((((((((",
    "!!!!!!!!!!",
    "..",
    "policy.cedar",
    "lists/",
    "1e400",
    "true && ",
    "\\u{0}",
];

static ARCHIVE: LazyLock<SignedBundle> = LazyLock::new(|| {
    let validity = Validity { not_before: NOW, not_after: NOW.plus(86_400_000) };
    SignedBundle::pack(&example(), None, validity).unwrap()
});

fn example() -> Files {
    EXAMPLE.into_iter().map(|(path, text)| (path.to_owned(), text.as_bytes().to_vec())).collect()
}

/// Reads an archive. Whatever it holds, only the one whose digest is pinned opens, and only with signatures of its admins.
pub fn archive(bytes: &[u8]) -> Verdict {
    let read = SignedBundle::from_bytes(bytes);
    if let Ok(signed) = &read {
        assert_eq!(signed.to_bytes(), bytes, "another encoding");
        let pinned = signed.open(Trust::Pinned(ARCHIVE.digest()), NOW);
        assert!(pinned.is_err(), "nobody has signed it");
        let same = signed.digest() == ARCHIVE.digest();
        let other = matches!(pinned, Err(OpenError::OtherDigest { .. }));
        assert_eq!(other, !same, "{pinned:?}", pinned = pinned.map(|_| ()));
        if let Ok(files) = signed.files() {
            assert_eq!(same, files == example() && signed.header() == ARCHIVE.header(), "one digest, two contents");
        }
    }
    Verdict::of(read, |signed| format!("{} {}", signed.header().version.min(9), signed.files().is_ok()))
}

/// Without signatures, and with one of somebody.
pub fn archives() -> Vec<Vec<u8>> {
    let mut signed = ARCHIVE.clone();
    signed.sign(&SigningKey::ed25519(&[5; 32]));
    vec![ARCHIVE.to_bytes(), signed.to_bytes()]
}

/// The file that takes longest to read.
const RULES: &str = "policy.cedar";

/// The example with one rule, for what is wrong with other files.
fn few_rules() -> Files {
    let mut files = example();
    let rule = b"@id(\"one\")\npermit (principal, action == Action::\"sign_message\", resource);\n";
    files.insert(RULES.into(), rule.to_vec());
    files.retain(|path, _| !path.starts_with("tests/"));
    files
}

/// Path and text of a file, which takes the place of the example's, or is one more. A bundle that loads is the same when it
/// is packed and read back; one that does not says which file is at fault.
pub fn file(bytes: &[u8]) -> Verdict {
    let split = bytes.iter().position(|b| *b == 0);
    let Some((path, text)) = split.map(|at| (&bytes[..at], &bytes[at + 1..])) else {
        return Verdict::said("no path");
    };
    let path = String::from_utf8_lossy(path).into_owned();
    let mut files = match path.as_str() {
        RULES => example(),
        of_vault if VAULT.iter().any(|(known, _)| *known == of_vault) => vault(),
        of_tests if of_tests.starts_with("tests/") => example(),
        _ => few_rules(),
    };
    files.insert(path.clone(), text.to_vec());
    let read = Bundle::load(&files);
    match &read {
        Ok(bundle) => {
            assert_eq!(bundle.digest(), Bundle::load(&files).unwrap().digest(), "two loads");
            let validity = Validity { not_before: NOW, not_after: NOW.plus(86_400_000) };
            let packed = SignedBundle::pack(&files, None, validity).unwrap();
            assert_eq!(SignedBundle::from_bytes(&packed.to_bytes()).unwrap().files().unwrap(), files);
            if path.starts_with("tests/") {
                return cases(bundle, &files);
            }
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    match read {
        Ok(bundle) => Verdict::Read(format!("{path} {}", bundle.summary().permits.len().min(9))),
        Err(error) => Verdict::said(&error.to_string()),
    }
}

/// Cases that read are decided, the same way each time.
fn cases(bundle: &Bundle, files: &Files) -> Verdict {
    match Case::load_all(bundle, files) {
        Ok(cases) => {
            let run = || cases.iter().map(|case| format!("{:?}", case.run(bundle))).collect::<Vec<_>>();
            assert_eq!(run(), run(), "two verdicts of one case");
            Verdict::Read(format!("{} cases", cases.len().min(9)))
        }
        Err(error) => Verdict::said(&error.to_string()),
    }
}

/// Of the example with a contract, what that has to do with.
const VAULT: [(&str, &str); 3] = [
    ("contracts.toml", include_str!("../../policy/examples/vault/contracts.toml")),
    ("abi/erc4626.json", include_str!("../../policy/examples/vault/abi/erc4626.json")),
    ("tests/vault.case.toml", include_str!("../../policy/examples/vault/tests/vault.case.toml")),
];

fn vault() -> Files {
    let others = [
        ("policy.cedar", include_str!("../../policy/examples/vault/policy.cedar")),
        ("assets.toml", include_str!("../../policy/examples/vault/assets.toml")),
        ("roster.toml", include_str!("../../policy/examples/vault/roster.toml")),
        ("bundle.toml", include_str!("../../policy/examples/vault/bundle.toml")),
        ("lists/own.txt", include_str!("../../policy/examples/vault/lists/own.txt")),
    ];
    VAULT.into_iter().chain(others).map(|(path, text)| (path.to_owned(), text.as_bytes().to_vec())).collect()
}

/// Functions of Solidity's documentation ("Contract ABI Specification"), and one with a tuple.
const ABI: &str = r#"[
    {"inputs":[{"name":"x","type":"uint32"},{"name":"y","type":"bool"}],"name":"baz","outputs":[],
     "stateMutability":"nonpayable","type":"function"},
    {"inputs":[{"name":"","type":"bytes3[2]"}],"name":"bar","outputs":[],"stateMutability":"nonpayable","type":"function"},
    {"inputs":[{"name":"","type":"bytes"},{"name":"","type":"bool"},{"name":"","type":"uint256[]"}],"name":"sam","outputs":[],
     "stateMutability":"nonpayable","type":"function"},
    {"inputs":[{"name":"p","type":"tuple","components":[{"name":"to","type":"address"},{"name":"n","type":"int64"}]}],
     "name":"pay","outputs":[],"stateMutability":"payable","type":"function"}]"#;
const ANY_CALL: &str = "@id(\"any\") permit (principal, action in Action::\"sign_call\", resource);\n";
const CONTRACT: &str = "0x0000000000000000000000000000000000004626";

static WITH_ABI: LazyLock<Bundle> = LazyLock::new(|| {
    let mut files = few_rules();
    let row = format!("[[contract]]\nname = \"c\"\nchain = \"eip155:1\"\naddress = \"{CONTRACT}\"\nabi = \"x\"\n");
    files.remove("limits.toml");
    for (path, text) in [(RULES, ANY_CALL), ("abi/x.json", ABI), ("contracts.toml", row.as_str())] {
        files.insert(path.into(), text.as_bytes().to_vec());
    }
    Bundle::load(&files).unwrap()
});

/// Most readings that are remembered.
const READINGS_MAX: usize = 100_000;

thread_local! {
    static READINGS: RefCell<BTreeMap<String, Vec<u8>>> = const { RefCell::new(BTreeMap::new()) };
}

/// Call data for a contract whose ABI the bundle has. What is read of it is shown, and no other call data shows the same.
pub fn contract_call(input: &[u8]) -> Verdict {
    let call =
        UnreadCall { value: Amount::from(0_u128), input: input.to_vec(), fee_max: Amount::from(1_u128), nonce: 0 };
    let why = "contract call with a selector".to_owned();
    let facts = Facts::Opaque(OpaqueFacts { chain: "eip155:1".into(), to: CONTRACT.into(), why, call: Some(call) });
    let (client, key) = (ClientId::parse("payout-service").unwrap(), KeyName::parse("hot").unwrap());
    let request = DecisionRequest { client: &client, key: &key, action: PolicyAction::Sign(&facts) };
    let decision = decide(&WITH_ABI, &request, NOW);
    let shown = summary(&WITH_ABI, &facts);
    match decision {
        Decision::Permit { .. } => {
            READINGS.with_borrow_mut(|known| {
                if known.len() >= READINGS_MAX {
                    known.clear();
                }
                let before = known.insert(shown.clone(), input.to_vec());
                assert!(before.is_none_or(|before| before == input), "two calls are shown as {shown}");
            });
            Verdict::Read(shown.split(' ').next().unwrap_or_default().into())
        }
        denied => Verdict::refused(&denied),
    }
}

pub fn contract_calls() -> Vec<Vec<u8>> {
    let word = |n: u8| [[0; 31].as_slice(), &[n]].concat();
    let left = |text: &str| [text.as_bytes(), &vec![0; 32 - text.len()]].concat();
    let call = |selector: &str, words: &[Vec<u8>]| [hex::decode(selector).unwrap(), words.concat()].concat();
    let pay = alloy_primitives::keccak256("pay((address,int64))");
    vec![
        call("cdcd77c0", &[word(69), word(1)]),
        call("fce353f6", &[left("abc"), left("def")]),
        call("a5643bf2", &[word(0x60), word(1), word(0xa0), word(4), left("dave"), word(2), word(1), word(2)]),
        call(&hex::encode(&pay[..4]), &[word(7), word(5)]),
    ]
}

/// Every file of the examples.
pub fn files() -> Vec<Vec<u8>> {
    EXAMPLE.into_iter().chain(VAULT).map(|(path, text)| [path.as_bytes(), &[0], text.as_bytes()].concat()).collect()
}
