//! Payment files: what is in them is in the facts, and what is signed is the file. The samples were written for these
//! tests, after the standard; the IBANs in them are the examples of the IBAN registry.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "tests fail loudly"
)]

use sha2::Digest as _;
use tally_chains::iso20022::{BadPayment, Fault, TRANSFERS_MAX, payment};
use tally_chains::{ChainError, ToSign, decode};
use tally_domain::facts::{Amount, CreditTransfer, Facts, PaymentFacts, PaymentTerms};
use tally_domain::{Account, Agent, ContentKind, Currency, Digest, Reason, Scheme};

const V3: &str = include_str!("samples/pain.001.001.03.xml");
const V9: &str = include_str!("samples/pain.001.001.09.xml");
const V11: &str = include_str!("samples/pain.001.001.11.xml");

/// Elements that decide nothing; those of parties that are called `Id` too.
const INERT: [&str; 21] = [
    "BtchBookg",
    "CtctDtls",
    "CtgyPurp",
    "CtryOfRes",
    "InitnSrc",
    "InstrId",
    "LEI",
    "OrgId",
    "PrvtId",
    "PstlAdr",
    "Purp",
    "RgltryRptg",
    "RltdRmtInf",
    "RmtInf",
    "Tp",
    "UETR",
    "UltmtCdtr",
    "UltmtDbtr",
    "AdrLine",
    "Ctry",
    "Strd",
];

fn facts(file: &str) -> PaymentFacts {
    payment(file.as_bytes()).unwrap_or_else(|e| panic!("{e}"))
}

fn fault(file: &str) -> Fault {
    match payment(file.as_bytes()) {
        Err(ChainError::Payment(BadPayment { fault, .. })) => fault,
        other => panic!("{other:?}"),
    }
}

fn with(file: &str, from: &str, to: &str) -> String {
    assert!(file.contains(from), "{from}");
    file.replacen(from, to, 1)
}

fn account(iban: &str) -> Account {
    Account::iban(iban).unwrap()
}

#[test]
fn everything_that_a_bank_acts_on_is_in_the_facts() {
    let f = facts(V3);
    assert_eq!((f.message_id.as_str(), f.created.as_str()), ("PAYROLL-2026-11", "2026-11-21T22:01:00"));
    assert_eq!((f.initiator.as_str(), f.currency.code(), f.count()), ("Papier & Söhne GmbH", "EUR", 3));
    assert_eq!(f.total, Amount::from(165_035));
    let [first, second] = f.blocks.as_slice() else { panic!("{f:?}") };
    assert_eq!((first.id.as_str(), first.execution.as_str()), ("PAYROLL-2026-11/1", "2026-11-23"));
    assert_eq!(
        (&first.debtor, first.debtor_name.as_str()),
        (&account("DE89370400440532013000"), "Papier & Söhne GmbH")
    );
    assert_eq!((&second.debtor, second.transfers.len()), (&account("CH9300762011623852957"), 1));
    let expected = CreditTransfer {
        end_to_end_id: "INV-1001".into(),
        amount: Amount::from(100_000),
        creditor_name: "Inkt B.V.".into(),
        creditor: account("NL91ABNA0417164300"),
        bank: Agent::bic("ABNANL2A"),
        terms: PaymentTerms { service: "SEPA".into(), charges: "SLEV".into(), ..PaymentTerms::default() },
    };
    assert_eq!(first.transfers[0], expected);
    assert_eq!((first.transfers[1].amount, first.transfers[1].bank.as_ref()), (Amount::from(50_010), None));
    let terms =
        PaymentTerms { instrument: "INST".into(), charges: "SHAR".into(), urgent: true, ..PaymentTerms::default() };
    assert_eq!(second.transfers[0].terms, terms);
}

#[test]
fn later_versions_are_read_with_their_own_names() {
    let f = facts(V9);
    let (block, transfer) = (&f.blocks[0], &f.blocks[0].transfers[0]);
    assert_eq!((f.currency, f.total), (Currency::parse("JPY").unwrap(), Amount::from(20_000)));
    assert_eq!(block.execution, "2026-11-23T09:00:00Z");
    assert_eq!(transfer.bank.as_ref().unwrap().as_str(), "DEUTDEFF500+DEBLZ:37040044");
    assert_eq!((transfer.terms.service.as_str(), transfer.terms.instrument.as_str()), ("URGP", "TRF1"));

    let f = facts(V11);
    let (block, transfer) = (&f.blocks[0], &f.blocks[0].transfers[0]);
    assert_eq!((f.initiator.as_str(), block.debtor_name.as_str(), f.total), ("", "", Amount::from(1)));
    assert_eq!(block.debtor.as_str(), "other:CHASUS33/12345678");
    assert_eq!(transfer.creditor.as_str(), "other:USABA:021000021/87-65/4");
    assert_eq!(facts(&V11.replace("001.11", "001.09")), f);

    let unknown = |file: &str, element: &str| {
        assert!(matches!(fault(file), Fault::Unknown { element: found, .. } if found == element), "{element}");
    };
    unknown(
        &V3.replace("001.03", "001.09").replace("<ReqdExctnDt>2026-11-23<", "<ReqdExctnDt><Dt>2026-11-23</Dt><"),
        "BIC",
    );
    unknown(&V9.replace("001.09", "001.03").replace("<DtTm>2026-11-23T09:00:00Z</DtTm>", "2026-11-23"), "BICFI");
}

#[test]
fn the_file_is_signed_as_it_is() {
    for file in [V3, V9, V11] {
        let read = |scheme, chain| decode(ContentKind::Iso20022, scheme, chain, file.as_bytes());
        let by_ecdsa = read(Scheme::EcdsaSecp256k1, "").unwrap();
        let sha256 = Digest(sha2::Sha256::digest(file.as_bytes()).into());
        assert_eq!(by_ecdsa.to_sign, ToSign::Digest(sha256));
        assert_eq!(by_ecdsa.facts, Facts::Payment(facts(file)));
        let by_ed25519 = read(Scheme::Ed25519, "").unwrap();
        assert_eq!(by_ed25519.to_sign, ToSign::Message(file.as_bytes().to_vec()));
        let e = read(Scheme::Ed25519, "eip155:1").unwrap_err();
        assert_eq!((&e, e.reason()), (&ChainError::PaymentForChain, Reason::Malformed));
    }
    let e = decode(ContentKind::Iso20022, Scheme::Ed25519, "", b"").unwrap_err();
    assert_eq!(e, ChainError::Empty);
}

/// One code path: a change of anything that a bank acts on is a change of the facts.
#[test]
fn what_changes_the_payment_changes_the_facts() {
    let before = facts(V9);
    for (from, to) in [
        ("MSG-9", "MSG-8"),
        ("22:01:00.250", "22:02:00"),
        ("Sender Ltd", "Sendor Ltd"),
        ("BLOCK-9", "BLOCK-8"),
        ("<InstrPrty>NORM", "<InstrPrty>HIGH"),
        ("<Cd>URGP", "<Cd>SDVA"),
        ("<Cd>TRF1", "<Cd>INST"),
        ("2026-11-23T09", "2026-11-24T09"),
        ("Payer Ltd", "Payor Ltd"),
        ("GB29NWBK60161331926819", "NL91ABNA0417164300"),
        ("<ChrgBr>DEBT", "<ChrgBr>CRED"),
        ("E-9", "E-8"),
        ("DEUTDEFF500", "DEUTDEFF"),
        ("<Cd>DEBLZ", "<Cd>ATBLZ"),
        ("37040044<", "37040045<"),
        ("Payee GmbH", "Paiee GmbH"),
        ("<Cdtr>\n          <Nm>", "<Cdtr>\n          <Nm> "),
        ("DE89370400440532013000", "AT611904300234573201"),
    ] {
        assert_ne!(facts(&with(V9, from, to)), before, "{from}");
    }
    assert_ne!(facts(&V9.replace("20000", "20001")), before);
    assert_ne!(facts(&V9.replace("JPY", "KRW")), before);
    for (from, to) in [
        ("<BtchBookg>false", "<BtchBookg>true"),
        ("High Street", "Low Street"),
        ("I-9", "I-8"),
        ("Parent plc", "Parents plc"),
        ("GDDS", "SALA"),
        ("RF18", "RF19"),
        ("standalone=\"yes\"", "standalone=\"no\""),
        ("20000.00", "20000"),
    ] {
        assert_eq!(facts(&with(V9, from, to)), before, "{from}");
    }
}

/// The list of what is read is closed: an element more is refused wherever it could be acted on.
#[test]
fn an_unknown_element_is_refused_wherever_it_is() {
    for file in [V3, V9, V11] {
        let (mut open, mut refused): (Vec<String>, usize) = (Vec::new(), 0);
        for (at, _) in file.match_indices('<').skip_while(|(at, _)| !file[*at..].starts_with("<CstmrCdtTrfInitn")) {
            let tag = &file[at + 1..at + file[at..].find('>').unwrap()];
            let changed = format!("{}<Xtra>1</Xtra>{}", &file[..at], &file[at..]);
            let party_id = |i: usize| open[i] == "Id" && ["InitgPty", "Dbtr", "Cdtr"].contains(&open[i - 1].as_str());
            let bank_part = |i: usize| open[i] == "Nm" && open[i - 1] == "FinInstnId";
            let inert = (1..open.len()).any(|i| INERT.contains(&open[i].as_str()) || party_id(i) || bank_part(i))
                || open.last().is_some_and(|name| name == "Nm" && open.iter().any(|o| o.ends_with("Acct")));
            if inert {
                assert_eq!(facts(&changed), facts(file), "{open:?}");
            } else {
                let found = fault(&changed);
                let named = matches!(&found, Fault::Unknown { element, .. } if element == "Xtra");
                let beside_text = matches!(found, Fault::Text { .. });
                assert!(named || beside_text, "{open:?} {found:?}");
                refused += 1;
            }
            match tag.strip_prefix('/') {
                Some(name) => assert_eq!(open.pop().unwrap(), name),
                None if tag.ends_with('/') => {}
                None => open.push(tag.split(' ').next().unwrap().into()),
            }
            if tag == "/CstmrCdtTrfInitn" {
                break;
            }
        }
        assert!(refused > 50, "{refused}");
    }
}

#[test]
fn single_elements_are_there_once() {
    for file in [V3, V9, V11] {
        let many = ["PmtInf", "CdtTrfTxInf"];
        for name in [
            "GrpHdr",
            "MsgId",
            "CreDtTm",
            "NbOfTxs",
            "InitgPty",
            "PmtInfId",
            "PmtMtd",
            "ReqdExctnDt",
            "Dbtr",
            "DbtrAcct",
            "DbtrAgt",
            "PmtId",
            "EndToEndId",
            "Amt",
            "InstdAmt",
            "Cdtr",
            "CdtrAcct",
            "CdtTrfTxInf",
            "PmtInf",
            "CstmrCdtTrfInitn",
        ] {
            let Some(start) = file.find(&format!("<{name}>")).or_else(|| file.find(&format!("<{name} "))) else {
                continue;
            };
            let close = format!("</{name}>");
            let end = start + file[start..].find(&close).unwrap() + close.len();
            let twice = format!("{}{}{}", &file[..end], &file[start..end], &file[end..]);
            let without = format!("{}{}", &file[..start], &file[end..]);
            let found = fault(&twice);
            match many.contains(&name) {
                true => assert!(matches!(found, Fault::Count { .. }), "{found:?}"),
                false => assert!(matches!(&found, Fault::Duplicate { element, .. } if element == name), "{found:?}"),
            }
            // An IBAN says which bank it is of.
            if name == "DbtrAgt" && file != V11 {
                assert_eq!(facts(&without), facts(file));
                continue;
            }
            let found = fault(&without);
            let missing = matches!(&found, Fault::Missing { element, .. } if *element == name);
            let miscounted = many.contains(&name) && matches!(found, Fault::Count { .. });
            let bankless = name == "DbtrAgt" && found == Fault::AccountWithoutBank;
            assert!(missing || miscounted || bankless, "{name}: {found:?}");
        }
    }
}

#[test]
fn as_many_transfers_as_a_person_can_read() {
    let start = V11.find("<CdtTrfTxInf>").unwrap();
    let end = V11.find("</CdtTrfTxInf>").unwrap() + "</CdtTrfTxInf>".len();
    let of = |n: usize| {
        let header = V11[..start].replace("<NbOfTxs>1<", &format!("<NbOfTxs>{n}<"));
        format!("{header}{}{}", V11[start..end].repeat(n), &V11[end..])
    };
    let f = facts(&of(TRANSFERS_MAX));
    assert_eq!((f.count(), f.total), (TRANSFERS_MAX, Amount::from(TRANSFERS_MAX as u128)));
    assert_eq!(fault(&of(TRANSFERS_MAX + 1)), Fault::TooManyTransfers);
}
