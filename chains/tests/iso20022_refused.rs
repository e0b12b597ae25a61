//! Payment files that are refused, each with its typed error and the line of it.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "tests fail loudly"
)]

use proptest::prelude::*;
use std::time::{Duration, Instant};
use tally_chains::iso20022::{BadPayment, DEPTH_MAX, ELEMENTS_MAX, FILE_MAX_BYTES, Fault, payment};
use tally_chains::{ChainError, decode};
use tally_domain::{ContentKind, Reason, Scheme};

const V3: &str = include_str!("samples/pain.001.001.03.xml");
const V9: &str = include_str!("samples/pain.001.001.09.xml");
const V11: &str = include_str!("samples/pain.001.001.11.xml");

fn bad(file: impl AsRef<[u8]>) -> BadPayment {
    let e = payment(file.as_ref()).unwrap_err();
    assert_eq!(e.reason(), Reason::PaymentInvalid);
    match e {
        ChainError::Payment(bad) => bad,
        other => panic!("{other:?}"),
    }
}

fn fault(file: impl AsRef<[u8]>) -> Fault {
    bad(file).fault
}

fn with(file: &str, from: &str, to: &str) -> String {
    assert!(file.contains(from), "{from}");
    file.replacen(from, to, 1)
}

fn entity(name: &str) -> Fault {
    Fault::Entity { name: name.into() }
}

fn markup(what: &'static str) -> Fault {
    Fault::Markup { what }
}

#[test]
fn entities_are_refused_wherever_they_are_defined() {
    let doctype = |dtd: &str| with(V3, "<Document", &format!("{dtd}\n<Document"));
    for dtd in [
        "<!DOCTYPE Document>",
        r#"<!DOCTYPE Document SYSTEM "file:///etc/passwd">"#,
        r#"<!DOCTYPE Document [<!ENTITY x SYSTEM "file:///etc/passwd">]>"#,
        r#"<!DOCTYPE Document [<!ENTITY % x SYSTEM "https://example.com/x.dtd"> %x;]>"#,
    ] {
        assert_eq!(bad(doctype(dtd)), BadPayment { line: 2, fault: Fault::Doctype });
    }
    let mut laughs = r#"<!DOCTYPE Document [<!ENTITY l0 "ha">"#.to_owned();
    for level in 1..10 {
        laughs += &format!("<!ENTITY l{level} \"{}\">", format!("&l{};", level - 1).repeat(10));
    }
    let laughs = with(&doctype(&format!("{laughs}]>")), "Inkt B.V.", "&l9;");
    assert_eq!(fault(laughs), Fault::Doctype);

    assert_eq!(fault(with(V3, "Inkt B.V.", "&xxe;")), entity("xxe"));
    assert_eq!(fault(with(V3, "Inkt B.V.", "Inkt&nbsp;B.V.")), entity("nbsp"));
    assert_eq!(fault(with(V3, "1000.00", "&#49;000.00")), entity("#49"));
    assert_eq!(fault(with(V3, "Invoice 1001", "&#x202e;")), entity("#x202e"));
    assert_eq!(fault(with(V3, "Ccy=\"EUR\"", "Ccy=\"&e;\"")), entity("e"));
    assert!(matches!(fault(with(V3, "Inkt B.V.", "Inkt & Co")), Fault::NotXml { .. }));
}

#[test]
fn markup_that_readers_differ_on_is_refused() {
    for (to, what) in [
        ("10<!-- -->00.00", "comment"),
        ("<![CDATA[1000.00]]>", "CDATA section"),
        ("1000.00<?x y?>", "processing instruction"),
    ] {
        assert_eq!(fault(with(V3, "1000.00", to)), markup(what));
    }
    for (to, what) in [
        ("<!-- made by hand -->\n<Document", "comment"),
        ("<?xml-stylesheet href=\"x.xsl\"?>\n<Document", "processing instruction"),
    ] {
        assert_eq!(bad(with(V3, "<Document", to)), BadPayment { line: 2, fault: markup(what) });
    }
    let prefixed = V3.replace("<IBAN", "<p:IBAN").replace("</IBAN", "</p:IBAN");
    assert_eq!(fault(prefixed), markup("namespace prefix"));
    assert!(matches!(fault(with(V3, "Invoice 1001", "]]>")), Fault::NotXml { .. }));
}

#[test]
fn only_the_known_versions_are_read() {
    let of = |namespace: &str| V3.replace("urn:iso:std:iso:20022:tech:xsd:pain.001.001.03", namespace);
    for namespace in [
        "urn:iso:std:iso:20022:tech:xsd:pain.001.001.10",
        "urn:iso:std:iso:20022:tech:xsd:pain.001.001.031",
        "urn:iso:std:iso:20022:tech:xsd:pain.008.001.02",
        "URN:iso:std:iso:20022:tech:xsd:pain.001.001.03",
        "",
    ] {
        assert_eq!(fault(of(namespace)), Fault::Namespace { found: namespace.into() });
    }
    let none = with(V11, " xmlns=\"urn:iso:std:iso:20022:tech:xsd:pain.001.001.11\"", "");
    assert_eq!(fault(none), Fault::Namespace { found: "no namespace".into() });
    assert_eq!(fault("<html/>"), Fault::Namespace { found: "html".into() });
    let inner = with(V3, "<PmtInf>", "<PmtInf xmlns=\"urn:other\">");
    assert!(matches!(fault(inner), Fault::Attribute { attribute, .. } if attribute == "xmlns"));
    for attribute in ["xmlns:xsi=\"urn:other\"", "xmlns:p=\"urn:other\"", "xml:lang=\"en\"", "id=\"1\""] {
        let file = with(V11, "<Document", &format!("<Document {attribute}"));
        assert!(matches!(fault(file), Fault::Attribute { element, .. } if element == "Document"), "{attribute}");
    }
    for (from, to) in [("1.0", "1.1"), ("UTF-8", "ISO-8859-1"), ("UTF-8", "UTF-7"), ("version=\"1.0\" ", "")] {
        assert_eq!(fault(with(V3, from, to)), Fault::Declaration, "{to}");
    }
}

#[test]
fn bytes_that_are_no_utf8_and_files_that_end_early_are_refused() {
    let mut latin1 = V3.as_bytes().to_vec();
    let at = V3.find('ö').unwrap();
    latin1.splice(at..at + 2, [0xf6]);
    assert_eq!(bad(&latin1), BadPayment { line: 10, fault: Fault::NotUtf8 });
    assert_eq!(bad(with(V3, "Inkt", "Ink\0t")), BadPayment { line: 56, fault: Fault::NotUtf8 });
    let utf16: Vec<u8> = V3.encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert_eq!(fault(utf16), Fault::NotUtf8);
    assert_eq!(payment(b""), Err(ChainError::Empty));

    let whole = V9.trim_end().len();
    for end in 1..whole {
        // Before the first element has begun there is none to be cut off.
        let found = fault(&V9.as_bytes()[..end]);
        let cut = matches!(found, Fault::Truncated | Fault::NotXml { .. });
        assert!(cut, "{end}: {found:?}");
    }
    payment(&V9.as_bytes()[..whole]).unwrap();
    payment(format!("\u{feff}{V9}").as_bytes()).unwrap();
    for (from, to) in [("</Nm>", "</nm>"), ("</Document>", "</Document><Document/>"), ("</Document>", "</Document>x")] {
        assert!(matches!(fault(with(V3, from, to)), Fault::NotXml { .. }), "{to}");
    }
    assert!(matches!(fault("\n<?xml version=\"1.0\"?><a/>"), Fault::NotXml { .. }));
    assert!(matches!(fault(with(V11, "<Document ", "<Document xmlns=\"\" ")), Fault::NotXml { .. }));
}

/// Bounded and fast, however large or deep.
#[test]
fn a_million_nested_elements_cost_nothing() {
    let started = Instant::now();
    let million = "<a>".repeat(1_000_000);
    assert_eq!(fault(&million), Fault::Oversized);
    assert_eq!(fault(&million[..FILE_MAX_BYTES]), Fault::TooDeep);
    assert_eq!(fault(with(V3, "Invoice 1001", &"<a>".repeat(10_000))), Fault::TooDeep);
    let nested = |n: usize| with(V3, "Invoice 1001", &format!("{}{}", "<a>".repeat(n), "</a>".repeat(n)));
    let above = ["Document", "CstmrCdtTrfInitn", "PmtInf", "CdtTrfTxInf", "RmtInf", "Ustrd"].len();
    payment(nested(DEPTH_MAX - above).as_bytes()).unwrap();
    assert_eq!(fault(nested(DEPTH_MAX - above + 1)), Fault::TooDeep);
    assert_eq!(fault(with(V3, "Invoice 1001", &"<a/>".repeat(ELEMENTS_MAX))), Fault::TooManyElements);
    assert_eq!(fault(with(V3, "Invoice 1001", &"x".repeat(FILE_MAX_BYTES))), Fault::Oversized);
    let attributes: String = (0..5_000).map(|i| format!(" a{i}=\"\"")).collect();
    assert!(matches!(fault(with(V3, "<Ustrd>", &format!("<Ustrd{attributes}>"))), Fault::Attribute { .. }));
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
}

#[test]
fn sums_and_counts_are_exact() {
    let sum = |within: &str, stated: &str, added: &str| Fault::Sum {
        within: within.into(),
        stated: stated.into(),
        added: added.into(),
    };
    for wrong in ["1650.34", "1650.36", "1650.350000001", "165035", "0", "16503.5", "999999999999999999"] {
        assert_eq!(fault(with(V3, "1650.35", wrong)), sum("GrpHdr", wrong, "1650.35"));
    }
    assert_eq!(
        bad(with(V3, "1500.10", "1500.11")),
        BadPayment { line: 13, fault: sum("PmtInf", "1500.11", "1500.10") }
    );
    for right in ["1650.350", "01650.35", "1650.350000000000"] {
        payment(with(V3, "1650.35", right).as_bytes()).unwrap();
    }
    payment(with(V3, "<CtrlSum>1650.35</CtrlSum>", "").as_bytes()).unwrap();
    let count = |within: &str, stated, counted| Fault::Count { within: within.into(), stated, counted };
    assert_eq!(fault(with(V3, "<NbOfTxs>3", "<NbOfTxs>2")), count("GrpHdr", 2, 3));
    assert_eq!(fault(with(V3, "<NbOfTxs>2", "<NbOfTxs>3")), count("PmtInf", 3, 2));
    // 0.1 + 0.2 is 0.3.
    let tenths = V3.replace(">1000.00<", ">0.1<").replace(">500.1<", ">0.2<").replace("1500.10", "0.3");
    payment(tenths.replace("1650.35", "150.55").as_bytes()).unwrap();
    for (from, to) in [
        ("1650.35", "1,650.35"),
        ("1650.35", "1650,35"),
        ("1650.35", "1.65035e3"),
        ("1650.35", "-1650.35"),
        ("1650.35", "NaN"),
        ("1650.35", "0000000000000001650.35"),
        ("<NbOfTxs>3", "<NbOfTxs>+3"),
        ("<NbOfTxs>3", "<NbOfTxs>3.0"),
        ("<NbOfTxs>3", "<NbOfTxs>0000000000000003"),
    ] {
        assert!(matches!(fault(with(V3, from, to)), Fault::Value { .. }), "{to}");
    }
}

#[test]
fn amounts_are_positive_and_of_one_known_currency() {
    let amount = |to: &str| fault(with(V3, "500.1<", &format!("{to}<")));
    for none in ["-500.1", "0", "0.00", "-0"] {
        assert_eq!(amount(none), Fault::NotPositive { given: none.into() });
    }
    for form in ["+500.1", "500.", ".5", "5e2", "500,1", " 500.1", "", "1 000", "٥٠٠", "1234567890123456789"] {
        assert!(matches!(amount(form), Fault::Value { element, .. } if element == "InstdAmt"), "{form}");
    }
    let decimals = |given: &str, currency, decimals| Fault::Decimals { given: given.into(), currency, decimals };
    assert_eq!(amount("500.101"), decimals("500.101", "EUR", 2));
    assert_eq!(fault(with(V9, "20000.00", "20000.01")), decimals("20000.01", "JPY", 0));

    let two = Fault::TwoCurrencies { first: "EUR", other: "CHF" };
    assert_eq!(bad(with(V3, "Ccy=\"EUR\">150", "Ccy=\"CHF\">150")), BadPayment { line: 115, fault: two.clone() });
    assert_eq!(fault(with(V3, "Ccy=\"EUR\">1000", "Ccy=\"CHF\">1000")), two);
    let account = Fault::TwoCurrencies { first: "USD", other: "EUR" };
    assert_eq!(fault(with(V3, "<Ccy>EUR", "<Ccy>USD")), account);
    for code in ["eur", "XXX", "", "EURO"] {
        let file = with(V3, "Ccy=\"EUR\"", &format!("Ccy=\"{code}\""));
        assert_eq!(fault(file), Fault::UnknownCurrency { code: code.into() });
    }
    assert!(matches!(fault(with(V3, " Ccy=\"EUR\"", "")), Fault::Missing { element: "Ccy", .. }));
    assert!(matches!(fault(with(V3, " Ccy=\"EUR\"", " Ccy=\"EUR\" x=\"1\"")), Fault::Attribute { .. }));
}

#[test]
fn accounts_and_banks_are_checked() {
    for iban in ["NL91ABNA0417164301", "NL91 ABNA 0417 1643 00", "nl91abna0417164300", "NL91", ""] {
        assert_eq!(
            bad(with(V3, "NL91ABNA0417164300", iban)),
            BadPayment { line: 60, fault: Fault::Iban { given: iban.into() } }
        );
    }
    let value = |file: String, element: &str| {
        assert!(matches!(fault(file), Fault::Value { element: found, .. } if found == element), "{element}");
    };
    value(with(V3, "ABNANL2A", "ABNANL2"), "BIC");
    value(with(V9, "DEUTDEFF500", "DEUTDEFF5"), "BICFI");
    value(with(V9, "37040044<", "3704 0044<"), "MmbId");
    value(with(V3, "NOTPROVIDED", "CHIPS:1"), "Id");
    value(with(V11, "87-65/4", "87 65"), "Id");
    value(with(V11, "<Cd>BBAN", "<Cd>UPIC"), "Cd");
    let bankless = with(V11, "<BICFI>CHASUS33XXX</BICFI>", "<Nm>A Bank</Nm>");
    assert_eq!(fault(bankless), Fault::AccountWithoutBank);
    let both = with(V3, "<IBAN>NL", "<Othr><Id>1</Id></Othr><IBAN>NL");
    assert!(matches!(fault(both), Fault::Unknown { element, .. } if element == "Othr"));
}

#[test]
fn other_ways_to_pay_are_refused() {
    let unknown = |file: String, name: &str| {
        assert!(matches!(fault(file), Fault::Unknown { element, .. } if element == name), "{name}");
    };
    for (before, element) in [
        ("<PmtInf>", "FwdgAgt"),
        ("<ReqdExctnDt>", "PoolgAdjstmntDt"),
        ("<ChrgBr>", "ChrgsAcct"),
        ("<Cdtr>", "IntrmyAgt1"),
        ("<Cdtr>", "ChqInstr"),
        ("<Cdtr>", "XchgRateInf"),
        ("<RmtInf>", "InstrForCdtrAgt"),
        ("<RmtInf>", "InstrForDbtrAgt"),
        ("<RmtInf>", "Tax"),
        ("<RmtInf>", "SplmtryData"),
        ("<IBAN>", "Prxy"),
        ("<InstdAmt", "EqvtAmt"),
        ("<NbOfTxs>", "Authstn"),
    ] {
        unknown(with(V3, before, &format!("<{element}><Id>1</Id></{element}>{before}")), element);
    }
    for method in ["CHK", "TRA", "trf", ""] {
        let found = fault(with(V3, "<PmtMtd>TRF", &format!("<PmtMtd>{method}")));
        assert!(matches!(found, Fault::Value { element, .. } if element == "PmtMtd"), "{method}");
    }
    let proprietary = with(V3, "<SvcLvl>\n          <Cd>SEPA</Cd>", "<SvcLvl><Prtry>X</Prtry>");
    assert!(matches!(fault(proprietary), Fault::Missing { element: "Cd", .. }));
    let twice = |file, element| assert_eq!(fault(file), Fault::Twice { element });
    twice(with(V3, "<Amt>", "<PmtTpInf><InstrPrty>HIGH</InstrPrty></PmtTpInf><Amt>"), "PmtTpInf");
    twice(with(V3, "<Cdtr>", "<ChrgBr>CRED</ChrgBr><Cdtr>"), "ChrgBr");
}

#[test]
fn dates_and_names_are_of_their_form() {
    let refused = |file: &str, from: &str, to: &str, element: &str| {
        let found = fault(with(file, from, to));
        assert!(matches!(&found, Fault::Value { element: e, .. } if e == element), "{to}: {found:?}");
    };
    for date in ["2026-02-29", "2026-13-01", "2026-00-10", "2026-11-31", "2026-1-1", "2026-11-23Z", "23.11.2026", ""] {
        refused(V3, "2026-11-23", date, "ReqdExctnDt");
        refused(V11, "2026-11-23", date, "Dt");
    }
    payment(with(V3, "2026-11-23", "2028-02-29").as_bytes()).unwrap();
    for time in
        ["2026-11-23", "2026-11-23T24:00:00", "2026-11-23T9:00", "2026-11-23T09:00:00z", "2026-11-23T09:00:00+1"]
    {
        refused(V9, "2026-11-23T09:00:00Z", time, "DtTm");
        refused(V11, "2026-11-21T22:01:00Z", time, "CreDtTm");
    }
    for name in ["", "  ", "two\nlines", "\u{202e}evil", "tab\there", &"x".repeat(141)] {
        refused(V3, "Inkt B.V.", name, "Nm");
    }
    refused(V3, "INV-1001", &"x".repeat(36), "EndToEndId");
    refused(V3, "PAYROLL-2026-11<", "<", "MsgId");
    let long = format!("PAYROLL-{}<", "9".repeat(200));
    let Fault::Value { given, .. } = fault(with(V3, "PAYROLL-2026-11<", &long)) else { panic!("not refused") };
    assert!(given.len() <= 64);
    assert!(matches!(fault(with(V3, "<Cdtr>", "<Cdtr>x")), Fault::Text { element } if element == "Cdtr"));
}

proptest! {
    #[test]
    fn reading_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = payment(&bytes);
    }

    /// Pieces of XML and of the standard in any order.
    #[test]
    fn reading_pieces_never_panics(
        pieces in proptest::collection::vec("<[/!?]?(Document|PmtInf|IBAN|--|DOCTYPE|xml)?/?>|[&;\\[\\]<>\"'= a1-]{0,3}", 0..40),
        at in any::<prop::sample::Index>(),
    ) {
        let pieces = pieces.concat();
        let _ = payment(pieces.as_bytes());
        let (mut file, at) = (V9.as_bytes().to_vec(), at.index(V9.len()));
        file.splice(at..at, pieces.into_bytes());
        let _ = payment(&file);
    }

    /// Any text in the place of any value.
    #[test]
    fn reading_values_never_panics(
        value in "[-+.,0-9]{0,40}|[0-9T:Z.+-]{0,30}|[A-Za-z0-9/ .+:-]{0,40}|\\PC{0,20}",
        which in any::<prop::sample::Index>(),
    ) {
        for file in [V3, V9, V11] {
            let values: Vec<_> = file.match_indices("</").filter(|(end, _)| !file[..*end].ends_with(['>', ' '])).collect();
            let (end, _) = values[which.index(values.len())];
            let start = file[..end].rfind('>').unwrap() + 1;
            let _ = payment(format!("{}{value}{}", &file[..start], &file[end..]).as_bytes());
        }
    }

    /// S-2.2 step 9: facts and what is signed are of the same bytes, so whatever changes them changes the signature.
    #[test]
    fn a_changed_byte_is_refused_or_changes_what_is_signed(at in any::<prop::sample::Index>(), bit in 0u32..8, which in 0usize..3) {
        let mut file = [V3, V9, V11][which].as_bytes().to_vec();
        let read = |file: &[u8], scheme| decode(ContentKind::Iso20022, scheme, "", file);
        for scheme in [Scheme::EcdsaSecp256k1, Scheme::Ed25519] {
            let before = read(&file, scheme).unwrap();
            let at = at.index(file.len());
            file[at] ^= 1 << bit;
            if let Ok(after) = read(&file, scheme) {
                prop_assert_ne!(after.to_sign, before.to_sign);
            }
            file[at] ^= 1 << bit;
        }
    }
}
