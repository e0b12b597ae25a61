//! Everything that token domains must refuse, each with its reason, and rows that were swapped, restored or edited.

use crate::harness::cards::*;
use crate::harness::cluster::Cluster;
use crate::harness::orders::*;
use crate::harness::raw;
use crate::harness::vault::{found_in_files, home, verified};
use std::num::NonZeroU32;
use tally_client::{ClientError, Order};
use tally_domain::token::{Brand, Reuse, Token};
use tally_domain::{DomainName, Reason, Tenant};
use tally_proto::v1;
use tally_proto::v1::token_service_client::TokenServiceClient;
use tally_tokenization::pan::Form;
use tally_tokenization::spec::Keeping;
use tally_tokenization::{Call, DomainChange, DomainSpec, Format, RotatedKey};

fn detail(error: &ClientError) -> String {
    error.refused().unwrap().metadata.get("detail").cloned().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_card_or_not_taken_is_said_to_be_so_and_is_not_repeated() {
    let mut cluster = Cluster::start().await;
    let client = cluster.client("payouts-1");
    let visa_only = DomainSpec { brands: [Brand::Visa].into(), ..spec("visa", hybrid()) };
    make_domain(&client, &visa_only).await.unwrap();
    make_domain(&client, &DomainSpec { format: Format::Bin6Last4LuhnInvalid, ..spec("kept", hybrid()) }).await.unwrap();
    let bad = ["4111111111111112", "4111 1111 1111 111a", "41111111111", "41111111111111111111", "", "not-a-card"];
    for card in bad {
        let error = tokenize(&client, "visa", card).await.unwrap_err();
        assert_eq!(error.refused().unwrap().reason, Reason::CardInvalid, "{card}");
        assert!(card.is_empty() || !format!("{error:?} {error}").contains(card), "{error:?}");
        assert_eq!(reason(search(&client, "visa", card).await), Reason::CardInvalid, "{card}");
    }
    assert_eq!(reason(tokenize(&client, "visa", "5555555555554444").await), Reason::CardBrand);
    // Too few digits for tokens of this format, with the arithmetic.
    let short = tokenize(&client, "kept", "4222222222222").await.unwrap_err();
    assert_eq!(short.refused().unwrap().reason, Reason::ParameterRange);
    assert!(detail(&short).contains("10^3"), "{}", detail(&short));
    let kept = tokenize(&client, "kept", CANARY).await.unwrap().token;
    assert!(kept.as_str().starts_with("400005") && kept.as_str().ends_with("5556"));
    in_text(&cluster, &client).await;
    verified(&cluster).await;
    cluster.stop(0);
    for card in [bad[0], bad[1], bad[2], bad[3], "5555555555554444", "4222222222222", IN_TEXT, CANARY] {
        assert_eq!(found_in_files(&cluster, card.as_bytes()), Vec::<String>::new());
    }
}

/// A test card of a network, which somebody puts where it does not belong.
const IN_TEXT: &str = "4012888888881881";

/// Whoever signs without the SDK is refused by the nodes, which keep nothing of it, not even in the log of what they refuse.
async fn in_text(cluster: &Cluster, client: &tally_client::Client) {
    let show = |token: &str, purpose: &str| {
        let call = Call::Show { token: Token::parse(token).unwrap() };
        let content = tally_tokenization::TokenCall { purpose: purpose.into(), call }.to_bytes();
        let order = Order::tokens(key("visa"), "", Call::Show { token: Token::parse("tok_a").unwrap() });
        tally_domain::Intent { content, ..client.seal(order).unwrap().intent().clone() }
    };
    let plain = || show("tok_a", "");
    let mut service = TokenServiceClient::new(raw::as_client(cluster, 0).await);
    for bad in [
        tally_domain::Intent { note: format!("see {IN_TEXT}"), ..plain() },
        tally_domain::Intent { key: key(IN_TEXT), ..plain() },
        show(IN_TEXT, ""),
        show("tok_a", IN_TEXT),
    ] {
        let request = v1::GetTokenRequest { intent: Some(raw::signed(cluster, &bad)) };
        assert_eq!(raw::typed(service.get_token(request).await.map(drop)).1, Reason::CardInText);
        // By a signature that is not the client's, too.
        let mut forged = raw::signed(cluster, &bad);
        forged.signatures[0].signature[7] ^= 1;
        let request = v1::GetTokenRequest { intent: Some(forged) };
        assert_eq!(raw::typed(service.get_token(request).await.map(drop)).1, Reason::IntentSignature);
    }
    let (id, salt) = (client.draw_request_id().unwrap(), [7; 32]);
    let whose = tally_domain::Subject::parse(IN_TEXT).unwrap();
    let card = tally_tokenization::call::commitment(&salt, CANARY.as_bytes(), Some(&whose));
    let intent = client.seal(Order::tokens(key("visa"), "", Call::Tokenize { card }).request_id(id)).unwrap();
    let request = v1::TokenizeRequest {
        intent: Some(raw::signed(cluster, intent.intent())),
        salt: salt.to_vec(),
        card: CANARY.into(),
        subject: IN_TEXT.into(),
    };
    assert_eq!(raw::typed(service.tokenize(request).await).1, Reason::CardInText);
    let whose = tokenize_of(client, "visa", CANARY, Some("c-1")).await;
    assert_eq!(reason(whose), Reason::SubjectNotKept);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_purposes_and_domains_that_do_not_fit_are_refused_with_a_reason() {
    let cluster = Cluster::start().await;
    let (client, reader) = (cluster.client("payouts-1"), cluster.client("reader"));
    make_domain(&client, &spec("cards", hybrid())).await.unwrap();
    make_domain(&client, &spec("others", hybrid())).await.unwrap();
    let token = tokenize(&client, "cards", CANARY).await.unwrap().token;
    // Unknown, and another domain's, are the same.
    let foreign = reveal(&client, "others", &token).await.unwrap_err();
    let unknown = reveal(&client, "others", &Token::parse("tok_nobody").unwrap()).await.unwrap_err();
    assert_eq!(foreign.refused().unwrap(), unknown.refused().unwrap());
    assert_eq!(foreign.refused().unwrap().reason, Reason::TokenNotFound);
    for domain in ["nobody", "cards2"] {
        assert_eq!(reason(reveal(&client, domain, &token).await), Reason::DomainNotFound);
        assert_eq!(reason(client.domain(&key(domain)).await), Reason::DomainNotFound);
    }
    assert_eq!(reason(reveal_as(&client, "cards", &token, Form::Masked, "").await), Reason::PurposeRequired);
    let curious = reveal_as(&client, "cards", &token, Form::Masked, "curiosity").await.unwrap_err();
    let refused = curious.refused().unwrap();
    assert_eq!(refused.reason, Reason::PolicyDenied);
    assert!(refused.metadata["condition"].contains("context.token.purpose"), "{refused:?}");
    let full = reveal_as(&client, "cards", &token, Form::Full, "support").await;
    assert_eq!(reason(full), Reason::PolicyDenied);
    assert_eq!(reason(reveal(&reader, "cards", &token).await), Reason::PolicyDenied);
    assert_eq!(reason(tokenize(&reader, "cards", CANARY).await), Reason::PolicyDenied);
    assert_eq!(reason(make_domain(&reader, &spec("mine", hybrid())).await), Reason::PolicyDenied);
    assert_eq!(reason(change(&reader, "cards", DomainChange::Delete).await), Reason::PolicyDenied);
    // A name is a key's or a domain's; a domain never changes what it is.
    create_fast(&client).await;
    assert_eq!(reason(make_domain(&client, &spec("fast", hybrid())).await), Reason::KeyExists);
    for other in [spec("cards", strict()), DomainSpec { format: Format::Uuid, ..spec("cards", hybrid()) }] {
        assert_eq!(reason(make_domain(&client, &other).await), Reason::KeyExists);
    }
    assert_eq!(reason(sign(&client, Order::sign_message(key("cards"), b"x".to_vec())).await), Reason::KeyPurpose);
    assert_eq!(reason(client.key(&key("cards")).await), Reason::KeyPurpose);
    assert!(client.keys().await.unwrap().iter().all(|k| k.name != key("cards")));
    assert_eq!(client.domains().await.unwrap().len(), 2);
    // Specifications that cannot be, with what is wrong.
    let one_use = Keeping::Reversible { mode: tally_tokenization::spec::Mode::Hybrid, uses: NonZeroU32::new(1) };
    let fits_no_amex =
        DomainSpec { format: Format::Bin8Last4Alnum, brands: [Brand::Amex].into(), ..spec("amex", hybrid()) };
    for bad in [
        spec("counted", one_use),
        fits_no_amex,
        DomainSpec { life_s: NonZeroU32::new(1), ..spec("short", hybrid()) },
        DomainSpec { home: tally_domain::NodeName::parse("node-9").unwrap(), ..spec("away", hybrid()) },
    ] {
        let error = make_domain(&client, &bad).await.unwrap_err();
        assert_eq!(error.refused().unwrap().reason, Reason::ParameterRange);
        assert!(detail(&error).len() > 20, "{error:?}");
    }
    let mut of_another = spec("theirs", hybrid());
    of_another.domain.tenant = Tenant::parse("other").unwrap();
    assert_eq!(reason(make_domain(&client, &of_another).await), Reason::Malformed);
    of_another.domain = tally_domain::token::TokenDomain {
        tenant: Tenant::parse("acme").unwrap(),
        name: DomainName::parse("elsewhere").unwrap(),
    };
    of_another.home = home(2);
    assert_eq!(make_domain(&client, &of_another).await.unwrap().home, home(2));
    verified(&cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_one_way_domain_finds_and_reveals_nothing() {
    let cluster = Cluster::start().await;
    let client = cluster.client("payouts-1");
    make_domain(&client, &spec("marks", Keeping::OneWay)).await.unwrap();
    let token = tokenize(&client, "marks", CANARY).await.unwrap().token;
    assert_eq!(tokenize(&client, "marks", CANARY).await.unwrap().token, token);
    assert_eq!(search(&client, "marks", CANARY).await.unwrap().tokens, std::slice::from_ref(&token));
    assert_eq!(reason(reveal(&client, "marks", &token).await), Reason::DomainOneWay);
    for rotated in RotatedKey::ALL {
        assert_eq!(reason(change(&client, "marks", DomainChange::Rotate(rotated)).await), Reason::DomainOneWay);
    }
    assert_eq!(reason(change(&client, "marks", DomainChange::Shred).await), Reason::DomainOneWay);
    change(&client, "marks", DomainChange::Delete).await.unwrap();
    assert_eq!(reason(search(&client, "marks", CANARY).await), Reason::DomainDeleted);
    verified(&cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_feels_their_way_along_card_numbers_is_stopped() {
    let cluster = Cluster::start().await;
    let (client, other) = (cluster.client("payouts-1"), cluster.client("payouts-2"));
    make_domain(&client, &spec("cards", hybrid())).await.unwrap();
    make_domain(&client, &DomainSpec { reuse: Reuse::Random, ..spec("free", hybrid()) }).await.unwrap();
    let neighbours = neighbours(21);
    for card in &neighbours[..20] {
        search(&client, "cards", card).await.unwrap();
    }
    let stopped = search(&client, "cards", &neighbours[20]).await.unwrap_err();
    let refused = stopped.refused().unwrap();
    assert_eq!(refused.reason, Reason::EnumerationGuard);
    assert!(refused.metadata["retry_at_ms"].parse::<u64>().unwrap() > 0);
    assert_eq!(reason(tokenize(&client, "cards", &neighbours[20]).await), Reason::EnumerationGuard);
    // What was asked about before costs nothing; others, and domains that tell nothing, are not concerned.
    search(&client, "cards", &neighbours[3]).await.unwrap();
    search(&other, "cards", &neighbours[20]).await.unwrap();
    tokenize(&client, "free", &neighbours[20]).await.unwrap();
    verified(&cluster).await;
}

/// Card numbers with the same first six and last four digits.
fn neighbours(count: usize) -> Vec<String> {
    let all = (0..).map(|middle| format!("400005{middle:06}5556"));
    all.filter(|card| tally_tokenization::Pan::parse(card.as_bytes()).is_ok()).take(count).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_were_swapped_restored_or_edited_are_data_loss() {
    let mut cluster = Cluster::start().await;
    let client = cluster.client("payouts-1");
    for (name, keeping) in [("fast-cards", hybrid()), ("safe-cards", strict())] {
        make_domain(&client, &spec(name, keeping)).await.unwrap();
        let mut tokens = Vec::new();
        for n in 0..4 {
            tokens.push(tokenize(&client, name, &nth_card(n)).await.unwrap().token);
        }
        let old = rows(&mut cluster, |c| row_of(c, &tokens[0])).await;
        change(&client, name, DomainChange::Rotate(RotatedKey::Data)).await.unwrap();
        rotated(&client, name).await;
        rows(&mut cluster, |c| {
            let (one, other) = (row_of(c, &tokens[1]), row_of(c, &tokens[2]));
            // Swapped; restored from before the rotation, under the key of then and under that of now; metadata edited.
            put_row(c, &tokens[1], &other);
            put_row(c, &tokens[2], &one);
            put_row(c, &tokens[0], &(one.0, old.1.clone(), old.2.clone()));
            let sql = "UPDATE token SET bin = '99999999', last4 = '9999' WHERE token = ?1";
            c.execute(sql, [tokens[3].as_str()]).unwrap();
        })
        .await;
        for token in &tokens[..3] {
            assert_eq!(reason(reveal(&client, name, token).await), Reason::Tampered, "{name}");
        }
        // What is shown comes out of the card number itself.
        let shown = reveal_as(&client, name, &tokens[3], Form::BinLast4, "support").await.unwrap();
        let card = nth_card(3);
        assert_eq!((shown.get(..8), shown.get(12..)), (card.get(..8), card.get(12..)));
        let call = Call::RevealMany { rows_max: 10, form: Form::Full };
        let intent = client.seal(Order::tokens(key(name), "refund", call)).unwrap();
        let mut stream = client.reveal_many(&intent).await.unwrap();
        stream.send(tokens.clone()).await.unwrap();
        let answered = stream.next().await.unwrap().unwrap();
        let reasons: Vec<_> = answered.iter().map(|row| row.outcome.as_ref().err().map(|r| r.reason)).collect();
        assert_eq!(reasons, [Some(Reason::Tampered), Some(Reason::Tampered), Some(Reason::Tampered), None]);
    }
    verified(&cluster).await;
}

type RawRow = (i64, Vec<u8>, Vec<u8>);

/// Works on the first node's database while the node is down.
async fn rows<T>(cluster: &mut Cluster, work: impl FnOnce(&rusqlite::Connection) -> T) -> T {
    cluster.stop(0);
    let done = {
        let c = rusqlite::Connection::open(cluster.nodes[0].dir.join("data/tally.db")).unwrap();
        work(&c)
    };
    cluster.launch(0, &[]);
    cluster.serving(0).await;
    done
}

fn row_of(c: &rusqlite::Connection, token: &Token) -> RawRow {
    let sql = "SELECT data_key, iv, sealed FROM token WHERE token = ?1";
    c.query_row(sql, [token.as_str()], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?))).unwrap()
}

fn put_row(c: &rusqlite::Connection, token: &Token, row: &RawRow) {
    let sql = "UPDATE token SET data_key = ?2, iv = ?3, sealed = ?4 WHERE token = ?1";
    c.execute(sql, rusqlite::params![token.as_str(), row.0, row.1, row.2]).unwrap();
}

async fn rotated(client: &tally_client::Client, name: &str) {
    while client.domain(&key(name)).await.unwrap().rotations.iter().any(|r| r.state != "finished") {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_travels_beside_an_intent_must_be_what_it_binds_and_a_cut_stream_keeps_what_it_answered() {
    let cluster = Cluster::start().await;
    let client = cluster.client("payouts-1");
    make_domain(&client, &spec("cards", hybrid())).await.unwrap();
    let (id, card) = bound(&client, CANARY, None);
    let order = Order::tokens(key("cards"), "", Call::Tokenize { card: card.commitment() }).request_id(id);
    let signed = raw::signed(&cluster, client.seal(order).unwrap().intent());
    let mut service = TokenServiceClient::new(raw::as_client(&cluster, 0).await);
    for (salt, number) in [(vec![0; 32], CANARY), (vec![], CANARY), (vec![7; 32], "4111111111111111")] {
        let request = v1::TokenizeRequest {
            intent: Some(signed.clone()),
            salt,
            card: number.as_bytes().to_vec(),
            subject: String::new(),
        };
        assert_eq!(raw::typed(service.tokenize(request).await).1, Reason::Malformed);
    }
    let none = v1::RevealRequest { intent: None };
    assert_eq!(raw::typed(service.reveal(none).await.map(drop)).1, Reason::Malformed);
    // An intent for another call.
    let other = v1::GetTokenRequest { intent: Some(signed) };
    assert_eq!(raw::typed(service.get_token(other).await.map(drop)).1, Reason::Malformed);

    let call = Call::TokenizeMany { rows_max: 100_000, import: None };
    let intent = client.seal(Order::tokens(key("cards"), "", call)).unwrap();
    let mut stream = client.tokenize_many(&intent).await.unwrap();
    let mut answered = Vec::new();
    for chunk in 0..3 {
        let cards: Vec<String> = (chunk * 100..(chunk + 1) * 100).map(nth_card).collect();
        stream.send(cards.iter().map(|card| row(card)).collect()).await.unwrap();
        let rows = stream.next().await.unwrap().unwrap();
        answered.extend(cards.into_iter().zip(rows.into_iter().map(|row| row.outcome.unwrap().0)));
    }
    drop(stream);
    for (card, token) in answered.iter().step_by(37) {
        assert_eq!(reveal(&client, "cards", token).await.unwrap(), *card);
    }
    assert_eq!(search(&client, "cards", &nth_card(300)).await.unwrap().tokens, []);
    verified(&cluster).await;
}
