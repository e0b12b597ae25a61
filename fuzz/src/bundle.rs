//! Policy bundles: the signed archive, and the text of every kind of file in one.

use crate::target::Verdict;
use std::sync::LazyLock;
use tally_domain::dsse::SigningKey;
use tally_policy::{Bundle, EXAMPLE, Files, OpenError, SignedBundle, Trust, Validity};

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
    let mut files = if path == RULES { example() } else { few_rules() };
    files.insert(path.clone(), text.to_vec());
    let read = Bundle::load(&files);
    match &read {
        Ok(bundle) => {
            assert_eq!(bundle.digest(), Bundle::load(&files).unwrap().digest(), "two loads");
            let validity = Validity { not_before: NOW, not_after: NOW.plus(86_400_000) };
            let packed = SignedBundle::pack(&files, None, validity).unwrap();
            assert_eq!(SignedBundle::from_bytes(&packed.to_bytes()).unwrap().files().unwrap(), files);
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    match read {
        Ok(bundle) => Verdict::Read(format!("{path} {}", bundle.summary().permits.len().min(9))),
        Err(error) => Verdict::said(&error.to_string()),
    }
}

/// Every file of the example.
pub fn files() -> Vec<Vec<u8>> {
    EXAMPLE.into_iter().map(|(path, text)| [path.as_bytes(), &[0], text.as_bytes()].concat()).collect()
}
