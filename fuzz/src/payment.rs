//! Files of bank payments (pain.001): refused, or understood to the last byte; and messages, which are signed as they are.

use crate::target::Verdict;
use tally_chains::iso20022::payment;
use tally_chains::{ToSign, decode, decode_hsm};
use tally_domain::facts::{Amount, Facts};
use tally_domain::{ContentKind, Digest, HsmScheme, Scheme};

pub const WORDS: &[&str] = &[
    "<CdtTrfTxInf>",
    "</CdtTrfTxInf>",
    "<PmtInf>",
    "</PmtInf>",
    "<Cd>",
    "</Cd>",
    "<Prtry>",
    "&amp;",
    "&#x31;",
    "<!--",
    "-->",
    "<![CDATA[",
    "]]>",
    "<!DOCTYPE a>",
    "<?xml?>",
    " xmlns:a=\"b\"",
    "Ccy=\"EUR\"",
    "0.001",
    "+1",
    "1e2",
    "-1",
    "00",
    ".5",
    "<InstdAmt Ccy=\"EUR\">1.00</InstdAmt>",
    "<EqvtAmt>",
    "\u{feff}",
    "\u{0}",
];

/// Reads a file.
pub fn file(content: &[u8]) -> Verdict {
    let read = payment(content);
    let Ok(facts) = read else { return Verdict::refused(&read) };
    let transfers: Vec<_> = facts.blocks.iter().flat_map(|block| &block.transfers).collect();
    assert!(!transfers.is_empty() && facts.blocks.iter().all(|block| !block.transfers.is_empty()));
    let sum = transfers.iter().try_fold(0_u128, |sum, transfer| {
        let amount = low(&transfer.amount)?;
        assert!(amount > 0, "a transfer of nothing");
        sum.checked_add(amount)
    });
    assert_eq!(sum.map(Amount::from), Some(facts.total), "the total is another than the sum");
    // Facts and what is signed are of the same bytes, whatever signs them.
    let ed = decode(ContentKind::Iso20022, Scheme::Ed25519, "", content).unwrap();
    assert_eq!((ed.facts, ed.to_sign), (Facts::Payment(facts.clone()), ToSign::Message(content.to_vec())));
    for decoded in [
        decode(ContentKind::Iso20022, Scheme::EcdsaSecp256k1, "", content).unwrap(),
        decode_hsm(ContentKind::Iso20022, HsmScheme::EcdsaP256, "", content).unwrap(),
    ] {
        let to_sign = ToSign::Digest(Digest::of(content));
        assert_eq!((decoded.facts, decoded.to_sign), (Facts::Payment(facts.clone()), to_sign));
    }
    // Nothing that a bank would act on comes after it.
    assert!(payment(&[content, b"<a/>"].concat()).is_err(), "more behind it");
    assert!(decode(ContentKind::Iso20022, Scheme::Ed25519, "eip155:1", content).is_err(), "for a chain");
    Verdict::Read(format!("{} blocks, {} transfers", facts.blocks.len().min(4), transfers.len().min(9)))
}

fn low(amount: &Amount) -> Option<u128> {
    let (high, low) = amount.0.split_at(16);
    let low = <[u8; 16]>::try_from(low).ok()?;
    high.iter().all(|b| *b == 0).then(|| u128::from_be_bytes(low))
}

/// One of each version.
pub fn files() -> Vec<Vec<u8>> {
    let all = [
        include_str!("../../chains/tests/samples/pain.001.001.03.xml"),
        include_str!("../../chains/tests/samples/pain.001.001.09.xml"),
        include_str!("../../chains/tests/samples/pain.001.001.11.xml"),
    ];
    all.map(|text| text.as_bytes().to_vec()).into()
}
