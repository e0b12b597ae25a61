//! Card numbers kept under tokens: every call, in every mode, from any node, the same again, and in no file.

use crate::harness::cards::*;
use crate::harness::cluster::Cluster;
use crate::harness::orders::*;
use crate::harness::vault::{found_in_files, home, verified};
use tally_client::{Client, Order};
use tally_domain::Reason;
use tally_domain::token::{Reuse, Token};
use tally_tokenization::pan::Form;
use tally_tokenization::spec::Keeping;
use tally_tokenization::{Call, DomainChange, DomainSpec, Format};

async fn every_form(client: &Client, domain: &str, token: &Token) -> [String; 3] {
    [
        reveal(client, domain, token).await.unwrap(),
        reveal_as(client, domain, token, Form::Masked, "support").await.unwrap(),
        reveal_as(client, domain, token, Form::BinLast4, "support").await.unwrap(),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_card_is_kept_found_shown_and_deleted_whichever_node_is_asked_and_is_in_no_file() {
    let mut cluster = Cluster::start().await;
    let client = cluster.client("payouts-1");
    for (name, keeping) in [("fast-cards", hybrid()), ("safe-cards", strict())] {
        let made = make_domain(&client.rotated(1), &spec(name, keeping)).await.unwrap();
        assert_eq!((made.home, made.state.as_str(), made.keys.len()), (home(0), "active", 3));
        let spaced = "4000 0566-5566 5556";
        let given = tokenize(&client.rotated(2), name, spaced).await.unwrap();
        assert!(given.created && given.token.as_str().starts_with("tok_"));
        assert_eq!((given.by.rule.as_str(), &given.by.home), ("cards", &home(0)));
        let again = tokenize(&client, name, CANARY).await.unwrap();
        assert_eq!((&again.token, again.created), (&given.token, false));
        assert_eq!(search(&client, name, CANARY).await.unwrap().tokens, std::slice::from_ref(&given.token));
        assert_eq!(search(&client, name, "4111111111111111").await.unwrap().tokens, []);
        let shown = [CANARY, "************5556", "40000566****5556"];
        assert_eq!(every_form(&client, name, &given.token).await, shown);
        let info = show(&client, name, &given.token).await.unwrap();
        assert_eq!((info.state.as_str(), info.brand.as_deref(), info.digits), ("active", Some("visa"), 16));
        assert_eq!((info.bin.as_deref(), info.last4.as_deref()), (Some("40000566"), Some("5556")));

        for i in 0..3 {
            cluster.kill(i);
            cluster.launch(i, &[]);
        }
        cluster.all_serving().await;
        assert_eq!(every_form(&client, name, &given.token).await, shown);
        assert_eq!(tokenize(&client, name, CANARY).await.unwrap().token, given.token);

        assert_eq!(delete(&client, name, &given.token).await.unwrap().deleted, 1);
        assert_eq!(reason(reveal(&client, name, &given.token).await), Reason::TokenShredded);
        let gone = show(&client, name, &given.token).await.unwrap();
        assert_eq!((gone.state.as_str(), gone.bin, gone.last4), ("shredded", None, None));
        assert_eq!(search(&client, name, CANARY).await.unwrap().tokens, []);
        let anew = tokenize(&client, name, CANARY).await.unwrap();
        assert!(anew.created && anew.token != given.token);
    }
    // Domains know nothing of each other.
    let token = tokenize(&client, "fast-cards", CANARY).await.unwrap().token;
    assert_eq!(reason(reveal(&client, "safe-cards", &token).await), Reason::TokenNotFound);
    let reports = verified(&cluster).await;
    assert!(reports[0].tokens > 20 && reports[1].tokens == 0, "{:?}", reports[0].tokens);
    for i in 0..3 {
        cluster.stop(i);
    }
    for secret in [CANARY, "4000 0566-5566 5556", "4111111111111111"] {
        assert_eq!(found_in_files(&cluster, secret.as_bytes()), Vec::<String>::new());
    }
    // What is stored is found: the search can find.
    assert!(!found_in_files(&cluster, token.as_str().as_bytes()).is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_intent_gives_the_same_token_and_counts_as_one_use() {
    let cluster = Cluster::start().await;
    let client = cluster.client("payouts-1");
    let counted =
        Keeping::Reversible { mode: tally_tokenization::spec::Mode::Hybrid, uses: std::num::NonZeroU32::new(2) };
    let single = DomainSpec { reuse: Reuse::Random, ..spec("single", counted) };
    make_domain(&client, &single).await.unwrap();
    let (id, card) = bound(&client, CANARY, Some("customer-7"));
    let order = Order::tokens(key("single"), "", Call::Tokenize { card: card.commitment() }).request_id(id);
    let intent = client.seal(order).unwrap();
    let given = client.tokenize(&intent, &card).await.unwrap();
    for i in 0..3 {
        assert_eq!(client.rotated(i).tokenize(&intent, &card).await.unwrap(), given);
    }
    assert!(tokenize(&client, "single", CANARY).await.unwrap().token != given.token, "a random domain");
    // The id names this intent for ever.
    let other = Order::tokens(key("single"), "x", Call::Tokenize { card: card.commitment() }).request_id(id);
    assert_eq!(reason(client.tokenize(&client.seal(other).unwrap(), &card).await), Reason::RequestIdConflict);

    let intent = client.seal(reveal_order("single", &given.token, Form::Full, "refund")).unwrap();
    for _ in 0..3 {
        assert_eq!(text(&client.reveal(&intent).await.unwrap()), CANARY);
    }
    assert_eq!(show(&client, "single", &given.token).await.unwrap().uses_left, Some(1));
    let last = client.seal(reveal_order("single", &given.token, Form::Masked, "refund")).unwrap();
    client.reveal(&last).await.unwrap();
    assert_eq!(reason(reveal(&client, "single", &given.token).await), Reason::TokenUsedUp);
    // Shown again to who has seen it, and to nobody else.
    assert_eq!(text(&client.reveal(&last).await.unwrap()), "************5556");
    assert_eq!(show(&client, "single", &given.token).await.unwrap().state, "used-up");
    assert_eq!(show(&client, "single", &given.token).await.unwrap().subject.as_deref(), Some("customer-7"));
    verified(&cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_cards_go_in_and_come_out_in_streams_and_a_bad_row_is_named() {
    let cluster = Cluster::start().await;
    let client = cluster.client("payouts-1");
    for (name, keeping) in [("fast-cards", hybrid()), ("safe-cards", strict())] {
        make_domain(&client, &spec(name, keeping)).await.unwrap();
        let cards: Vec<String> = (0..600).map(nth_card).collect();
        let tokens = many(&client, name, &cards).await;
        assert_eq!(tokens.iter().collect::<std::collections::BTreeSet<_>>().len(), 600);
        // Again, in another order, one twice in a message, and three bad ones among them.
        let call = Call::TokenizeMany { rows_max: 10, import: None };
        let intent = client.seal(Order::tokens(key(name), "", call)).unwrap();
        let mut stream = client.tokenize_many(&intent).await.unwrap();
        let mixed = [&cards[5], &cards[3], "4111111111111112", &nth_card(9_999), &nth_card(9_999), "no card", ""];
        stream.send(mixed.iter().map(|card| row(card)).collect()).await.unwrap();
        let rows = stream.next().await.unwrap().unwrap();
        assert_eq!(rows.iter().map(|row| row.index).collect::<Vec<_>>(), (0..7).collect::<Vec<_>>());
        let given = |at: usize| rows[at].outcome.clone().unwrap();
        assert_eq!((given(0), given(1)), ((tokens[5].clone(), false), (tokens[3].clone(), false)));
        assert_eq!((given(3).0, given(3).1, given(4).1), (given(4).0, true, false));
        for (at, word) in [(2, "check digit"), (5, "digits only"), (6, "12 to 19")] {
            let refused = rows[at].outcome.clone().unwrap_err();
            assert_eq!(refused.reason, Reason::CardInvalid);
            assert!(refused.detail.contains(word), "{}", refused.detail);
        }
        // More rows than the opening allows.
        stream.send((0..4).map(|n| row(&nth_card(n))).collect()).await.unwrap();
        assert_eq!(reason(stream.next().await.map(drop)), Reason::BatchRows);
        // An intent opens one stream.
        assert_eq!(reason(client.tokenize_many(&intent).await.map(drop)), Reason::RequestIdConflict);

        let call = Call::RevealMany { rows_max: 1_000, form: Form::Full };
        let mut stream =
            client.reveal_many(&client.seal(Order::tokens(key(name), "refund", call)).unwrap()).await.unwrap();
        delete(&client, name, &tokens[1]).await.unwrap();
        let mut shown = Vec::new();
        for chunk in tokens.chunks(150) {
            stream.send(chunk.to_vec()).await.unwrap();
            shown.extend(stream.next().await.unwrap().unwrap());
        }
        stream.send(vec![Token::parse("tok_unknown").unwrap()]).await.unwrap();
        let unknown = stream.next().await.unwrap().unwrap().remove(0);
        assert_eq!((unknown.index, unknown.outcome.err().unwrap().reason), (600, Reason::TokenNotFound));
        stream.end();
        assert!(stream.next().await.unwrap().is_none());
        for (row, card) in shown.iter().zip(&cards) {
            match &row.outcome {
                Ok(value) => assert_eq!(value.expose(), card.as_bytes()),
                Err(refused) => assert_eq!((row.index, refused.reason), (1, Reason::TokenShredded)),
            }
        }
        assert_eq!(shown.iter().filter(|row| row.outcome.is_err()).count(), 1);
        // More than a rule allows in one stream.
        let call = Call::RevealMany { rows_max: 1_001, form: Form::Full };
        let too_many = client.reveal_many(&client.seal(Order::tokens(key(name), "refund", call)).unwrap()).await;
        assert_eq!(reason(too_many.map(drop)), Reason::PolicyDenied);
    }
    verified(&cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_cards_of_a_subject_are_deleted_and_those_of_others_stay() {
    let cluster = Cluster::start().await;
    let client = cluster.client("payouts-1");
    let per_subject = DomainSpec { reuse: Reuse::PerSubject, format: Format::Uuid, ..spec("cards", hybrid()) };
    make_domain(&client, &per_subject).await.unwrap();
    let mut of_one = Vec::new();
    for n in 0..3 {
        of_one.push(tokenize_of(&client, "cards", &nth_card(n), Some("one")).await.unwrap().token);
    }
    let of_two = tokenize_of(&client, "cards", &nth_card(0), Some("two")).await.unwrap().token;
    assert!(!of_one.contains(&of_two), "each subject has tokens of its own");
    assert_eq!(delete_subject(&client, "cards", "one").await.unwrap().deleted, 3);
    assert_eq!(delete_subject(&client, "cards", "one").await.unwrap().deleted, 0);
    for token in &of_one {
        assert_eq!(reason(reveal(&client, "cards", token).await), Reason::TokenShredded);
    }
    assert_eq!(reveal(&client, "cards", &of_two).await.unwrap(), nth_card(0));
    assert_eq!(change(&client, "cards", DomainChange::Suspend).await.unwrap().rule, "domains");
    assert_eq!(reason(reveal(&client, "cards", &of_two).await), Reason::DomainSuspended);
    assert_eq!(reason(tokenize(&client, "cards", CANARY).await), Reason::DomainSuspended);
    assert_eq!(delete_subject(&client, "cards", "two").await.unwrap().deleted, 1);
    change(&client, "cards", DomainChange::Resume).await.unwrap();
    tokenize(&client, "cards", CANARY).await.unwrap();
    verified(&cluster).await;
}
