//! How many cards are shown: limits that hold exactly, whether one by one or in streams, and streams that persons must approve.

use crate::harness::cards::*;
use crate::harness::cluster::{Cluster, Makeup};
use crate::harness::orders::*;
use crate::harness::people::{approves, holds, says, until};
use crate::harness::vault::verified;
use crate::main_job::logs_of;
use tally_audit::event::{Event, What};
use tally_audit::verify::{Basis, verify_together};
use tally_client::{Client, ClientError, Order, RequestState, SealedIntent, together};
use tally_domain::Reason;
use tally_domain::approval::Verdict;
use tally_domain::token::Token;
use tally_tokenization::Call;
use tally_tokenization::pan::Form;

const LIMITS: &str = r#"
[[limit]]
id = "shown-day"
domain = "cards"
action = "reveal"
count = 5
per = "24h"
by = ["client"]
"#;

/// What persons are asked about.
const MANY: &str = r#"
@id("audits") @approvals("2 of treasury")
permit (principal in Group::"payouts", action == Action::"reveal", resource)
when { context.token.purpose == "audit" && context.token.rows <= 5000 };
"#;

async fn cluster(limits: Option<&str>) -> Cluster {
    let mut cluster = Cluster::prepare_as(Makeup { signers: 3, witnesses: 0, limits });
    let file = cluster.dir.path().join("policy/policy.cedar");
    std::fs::write(&file, std::fs::read_to_string(&file).unwrap() + MANY).unwrap();
    for i in 0..3 {
        cluster.launch(i, &[]);
    }
    cluster.all_serving().await;
    cluster
}

fn full<T>(outcome: Result<T, ClientError>) {
    let error = outcome.map(drop).expect_err("the limit is used up");
    let refused = error.refused().unwrap_or_else(|| panic!("not a typed refusal: {error:?}"));
    assert_eq!((refused.reason, refused.metadata["limit"].as_str()), (Reason::VelocityLimit, "shown-day"));
}

fn stream_of(client: &Client, rows_max: u32, purpose: &str) -> SealedIntent {
    let call = Call::RevealMany { rows_max, form: Form::Full };
    client.seal(Order::tokens(key("cards"), purpose, call).valid_for(60 * 60 * 1_000)).unwrap()
}

fn short_stream_of(client: &Client, rows_max: u32) -> SealedIntent {
    let call = Call::RevealMany { rows_max, form: Form::Full };
    client.seal(Order::tokens(key("cards"), "refund", call)).unwrap()
}

/// Opens a stream and shows these in it.
async fn shown(client: &Client, intent: &SealedIntent, tokens: &[Token]) -> Result<Vec<String>, ClientError> {
    let mut stream = client.reveal_many(intent).await?;
    stream.send(tokens.to_vec()).await?;
    let rows = stream.next().await?.unwrap();
    stream.end();
    assert!(stream.next().await?.is_none());
    Ok(rows.into_iter().map(|row| String::from_utf8(row.outcome.unwrap().expose().to_vec()).unwrap()).collect())
}

async fn certified(cluster: &Cluster) -> usize {
    let leaves = &logs_of(cluster).await[0].entries;
    leaves.iter().filter(|l| matches!(Event::from_leaf(l).unwrap().what, What::Certified { .. })).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i4_cards_are_shown_within_a_limit_whichever_way_and_a_stream_takes_what_it_announces() {
    let mut cluster = cluster(Some(LIMITS)).await;
    let client = cluster.client("payouts-1");
    make_domain(&client, &spec("cards", hybrid())).await.unwrap();
    make_domain(&client, &spec("others", hybrid())).await.unwrap();
    let cards: Vec<String> = (0..3).map(nth_card).collect();
    let tokens = many(&client, "cards", &cards).await;
    let other = tokenize(&client, "others", CANARY).await.unwrap().token;

    let first = client.seal(reveal_order("cards", &tokens[0], Form::Full, "refund")).unwrap();
    for i in 0..3 {
        // Shown again, it takes nothing more.
        assert_eq!(text(&client.rotated(i).reveal(&first).await.unwrap()), cards[0]);
    }
    // What is refused before it is begun takes nothing.
    assert_eq!(reason(reveal(&client, "cards", &other).await), Reason::TokenNotFound);
    assert_eq!(reveal_as(&client, "cards", &tokens[1], Form::Masked, "support").await.unwrap().len(), 16);
    full(client.reveal_many(&short_stream_of(&client, 4)).await);
    full(client.reveal_many(&short_stream_of(&client, 6)).await);
    let three = short_stream_of(&client, 3);
    assert_eq!(shown(&client, &three, &tokens[..2]).await.unwrap(), cards[..2]);
    full(reveal(&client, "cards", &tokens[2]).await);
    full(reveal_as(&client, "cards", &tokens[2], Form::BinLast4, "support").await);
    assert_eq!(certified(&cluster).await, 3);

    // Another client has a line of its own, another domain has none, and nothing else is limited.
    assert_eq!(reveal(&cluster.client("payouts-2"), "cards", &tokens[2]).await.unwrap(), cards[2]);
    for _ in 0..6 {
        reveal(&client, "others", &other).await.unwrap();
    }
    assert_eq!(search(&client, "cards", &cards[2]).await.unwrap().tokens, [tokens[2].clone()]);
    let mut answers = Vec::new();
    for i in 0..3 {
        answers.push(cluster.at(i).limits().await.unwrap());
    }
    let limit = together(&answers).remove(0);
    let field = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(limit.scope, [field("domain", "cards"), field("action", "reveal")]);
    let line = limit.lines.iter().find(|line| line.by == [field("client", "payouts-1")]).unwrap();
    assert_eq!(line.taken.iter().map(|(piece, _)| piece.units()).sum::<u128>(), 5);

    // Without voters nothing is shown, and all else goes on.
    cluster.kill(1);
    cluster.kill(2);
    let alone = cluster.at(0);
    assert_eq!(reason(reveal(&alone, "cards", &tokens[2]).await), Reason::VelocityLimit);
    let second = cluster.client("payouts-2").only(0).unwrap().once();
    assert_eq!(reason(reveal(&second, "cards", &tokens[2]).await), Reason::Voters);
    assert_eq!(delete(&alone, "cards", &tokens[2]).await.unwrap().deleted, 1);
    cluster.launch(1, &[]);
    cluster.launch(2, &[]);
    cluster.all_serving().await;
    verified(&cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_over_a_size_opens_once_two_persons_have_approved_it_and_for_its_client_only() {
    let cluster = cluster(None).await;
    let client = cluster.client("payouts-1");
    make_domain(&client, &spec("cards", hybrid())).await.unwrap();
    let cards: Vec<String> = (0..3).map(nth_card).collect();
    let tokens = many(&client, "cards", &cards).await;

    let intent = stream_of(&client, 2_000, "audit");
    let id = intent.request_id();
    let refusal = client.reveal_many(&intent).await.map(drop).unwrap_err();
    let refused = refusal.refused().unwrap();
    assert_eq!((refused.reason, &*refused.metadata["missing_1"]), (Reason::ApprovalsRequired, "audits: 2 of treasury"));
    for i in 0..3 {
        let text = holds(&cluster, i, id, 0).await.summary;
        let asks = "client payouts-1 asks to reveal up to 2000 card numbers of token domain cards\n\
                    of tokens that it names later, shown full, for purpose `audit`";
        assert_eq!(text, asks, "node {i}");
    }
    // What is short-lived, and what asks nobody, is as it was; and what asks nobody may not live for long.
    assert_eq!(shown(&client, &short_stream_of(&client, 3), &tokens).await.unwrap(), cards);
    let long = stream_of(&client, 3, "refund");
    assert_eq!(reason(client.reveal_many(&long).await.map(drop)), Reason::ValidityTooLong);
    assert_eq!(reason(client.reveal_many(&stream_of(&client, 5_001, "audit")).await.map(drop)), Reason::PolicyDenied);

    approves(&cluster.at(1), id, "alice").await.unwrap();
    holds(&cluster, 0, id, 1).await;
    assert_eq!(reason(client.reveal_many(&intent).await.map(drop)), Reason::ApprovalsRequired);
    assert_eq!(approves(&cluster.at(2), id, "bob").await.unwrap().state, "approved");
    holds(&cluster, 0, id, 2).await;
    assert_eq!(shown(&client, &intent, &tokens).await.unwrap(), cards);
    // Once, and then it waits nowhere.
    assert_eq!(reason(client.reveal_many(&intent).await.map(drop)), Reason::RequestIdConflict);
    for i in 0..3 {
        until(&cluster, i, "it must wait no longer", async |c: Client| {
            c.pending().await.ok()?.is_empty().then_some(())
        })
        .await;
        let state = cluster.at(i).request(id).await.unwrap().state;
        assert!(matches!(state, RequestState::Completed(None)), "{state:?}");
    }

    let rejected = stream_of(&client, 2_000, "audit");
    assert_eq!(reason(client.reveal_many(&rejected).await.map(drop)), Reason::ApprovalsRequired);
    holds(&cluster, 2, rejected.request_id(), 0).await;
    says(&cluster.at(2), rejected.request_id(), "bob", Verdict::Reject).await.unwrap();
    until(&cluster, 0, "it must be rejected", async |_| {
        (reason(client.reveal_many(&rejected).await.map(drop)) == Reason::Rejected).then_some(())
    })
    .await;
    let bundle = tally_node::load_bundle(&cluster.dir.path().join("policy")).unwrap();
    let persons = crate::harness::people::OfBundle(&bundle);
    verify_together(Basis::from(bundle.roster()).with_approvers(&[&persons]), &logs_of(&cluster).await).unwrap();
}
