//! What other tenants are told of cards and of keys, what tokens are worth that are expired or suspended, and that a search leaves the
//! same behind whether it has found something.

use crate::freezes::freeze;
use crate::harness::cards::*;
use crate::harness::cluster::Cluster;
use crate::harness::orders::*;
use crate::harness::vault::verified;
use crate::main_job::logs_of;
use tally_client::{Client, ClientError};
use tally_domain::token::Token;
use tally_domain::{DerivationPath, Reason, Scope};
use tally_tokenization::DomainChange;
use tally_tokenization::pan::Form;

/// Three nodes, with `payouts-2` a client of another tenant that may do the same, and is no auditor.
async fn cluster() -> Cluster {
    let mut cluster = Cluster::prepare(3);
    let root = cluster.dir.path();
    let other = |text: &str| text.replacen("tenant = \"acme\"", "tenant = \"other\"", 1);
    let roster = std::fs::read_to_string(root.join("policy/roster.toml")).unwrap();
    let (before, theirs) = roster.split_at(roster.find("id = \"payouts-2\"").unwrap());
    let theirs = other(theirs).replacen(r#", "auditors""#, "", 1);
    std::fs::write(root.join("policy/roster.toml"), before.to_owned() + &theirs).unwrap();
    let profile = root.join("payouts-2/profile.toml");
    std::fs::write(&profile, other(&std::fs::read_to_string(&profile).unwrap())).unwrap();
    for i in 0..3 {
        cluster.launch(i, &[]);
    }
    cluster.all_serving().await;
    cluster
}

async fn keys_are_not_shown(stranger: &Client) {
    let theirs = told(stranger.key(&key("fast")).await.unwrap_err());
    assert_eq!(theirs, told(stranger.key(&key("nowhere")).await.unwrap_err()));
    assert_eq!(theirs.0, Reason::KeyNotFound);
    let path = DerivationPath::parse("m/1").unwrap();
    assert_eq!(reason(stranger.derive(&key("fast"), &path).await), Reason::KeyNotFound);
    assert_eq!(reason(sign(stranger, say("theirs")).await), Reason::KeyNotFound);
    let simulated = stranger.simulate(&stranger.seal(say("theirs")).unwrap(), None).await.unwrap();
    assert_eq!(simulated.reason.as_deref(), Some("KEY_NOT_FOUND"));
    assert!(stranger.keys().await.unwrap().is_empty());
    assert!(stranger.freezes().await.unwrap().is_empty());
    let node = stranger.node().await.unwrap();
    assert!(node.freezes.is_empty() && node.work.keys.is_empty(), "{node:?}");
}

fn told(error: ClientError) -> (Reason, std::collections::BTreeMap<String, String>) {
    let refused = error.refused().unwrap();
    (refused.reason, refused.metadata.clone())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_tenants_domain_is_as_one_that_is_not_there() {
    let cluster = cluster().await;
    let (client, stranger) = (cluster.client("payouts-1"), cluster.client("payouts-2"));
    make_domain(&client, &spec("cards", hybrid())).await.unwrap();
    let token = tokenize(&client, "cards", CANARY).await.unwrap().token;
    create_fast(&client).await;
    freeze(&client, &Scope::Key(key("fast"))).await.unwrap();
    for i in 0..3 {
        let stranger = stranger.rotated(i);
        keys_are_not_shown(&stranger).await;
        let theirs = told(reveal(&stranger, "cards", &token).await.unwrap_err());
        assert_eq!(theirs, told(reveal(&stranger, "nowhere", &token).await.unwrap_err()));
        assert_eq!(theirs.0, Reason::DomainNotFound);
        assert_eq!(reason(tokenize(&stranger, "cards", CANARY).await), Reason::DomainNotFound);
        assert_eq!(reason(search(&stranger, "cards", CANARY).await), Reason::DomainNotFound);
        assert_eq!(reason(delete(&stranger, "cards", &token).await), Reason::DomainNotFound);
        assert_eq!(reason(change(&stranger, "cards", DomainChange::Delete).await), Reason::DomainNotFound);
        assert_eq!(reason(stranger.domain(&key("cards")).await), Reason::DomainNotFound);
    }
    assert!(stranger.domains().await.unwrap().is_empty());
    assert_eq!(reveal(&client, "cards", &token).await.unwrap(), CANARY);
    assert_eq!((client.keys().await.unwrap().len(), client.freezes().await.unwrap().len()), (1, 1));
    verified(&cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_expired_or_suspended_token_shows_nothing_and_a_search_leaves_the_same_behind_either_way() {
    let mut cluster = Cluster::start().await;
    let client = cluster.client("payouts-1");
    make_domain(&client, &spec("cards", hybrid())).await.unwrap();
    let mut tokens: Vec<Token> = Vec::new();
    for n in 0..3 {
        tokens.push(tokenize(&client, "cards", &nth_card(n)).await.unwrap().token);
    }
    let mut leaves = vec![logs_of(&cluster).await[0].entries.len()];
    for n in [1, 1_001, 2, 1_002] {
        assert_eq!(search(&client, "cards", &nth_card(n)).await.unwrap().tokens.len(), usize::from(n < 1_000));
        leaves.push(logs_of(&cluster).await[0].entries.len());
    }
    let added: Vec<usize> = leaves.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(added[0] > 0 && added.iter().all(|n| *n == added[0]), "{added:?}");

    assert_eq!(set_suspended(&client, "cards", &tokens[1], true).await.unwrap(), "suspended");
    assert_eq!(set_suspended(&client, "cards", &tokens[1], true).await.unwrap(), "suspended");
    assert_eq!(set_suspended(&client, "cards", &tokens[2], true).await.unwrap(), "suspended");
    assert_eq!(set_suspended(&client, "cards", &tokens[2], false).await.unwrap(), "active");
    let nobody = Token::parse("tok_nobody").unwrap();
    assert_eq!(reason(set_suspended(&client, "cards", &nobody, true).await), Reason::TokenNotFound);
    // What stops more goes on in a domain that is stopped, and nothing else does.
    change(&client, "cards", DomainChange::Suspend).await.unwrap();
    assert_eq!(set_suspended(&client, "cards", &tokens[1], true).await.unwrap(), "suspended");
    assert_eq!(reason(set_suspended(&client, "cards", &tokens[1], false).await), Reason::DomainSuspended);
    change(&client, "cards", DomainChange::Resume).await.unwrap();
    cluster.stop(0);
    {
        let c = rusqlite::Connection::open(cluster.nodes[0].dir.join("data/tally.db")).unwrap();
        c.execute("UPDATE token SET expires_at = 1 WHERE token = ?1", [tokens[0].as_str()]).unwrap();
    }
    cluster.launch(0, &[]);
    cluster.serving(0).await;
    for (token, state, why) in
        [(&tokens[0], "expired", Reason::TokenExpired), (&tokens[1], "suspended", Reason::TokenSuspended)]
    {
        assert_eq!(reason(reveal(&client, "cards", token).await), why);
        assert_eq!(reason(reveal_as(&client, "cards", token, Form::Masked, "support").await), why);
        assert_eq!(show(&client, "cards", token).await.unwrap().state, state);
    }
    assert_eq!(reveal(&client, "cards", &tokens[2]).await.unwrap(), nth_card(2));
    assert_eq!(delete(&client, "cards", &tokens[1]).await.unwrap().deleted, 1);
    assert_eq!(delete(&client, "cards", &tokens[1]).await.unwrap().deleted, 0);
    assert_eq!(reason(delete(&client, "cards", &nobody).await), Reason::TokenNotFound);
    assert_eq!(reason(set_suspended(&client, "cards", &tokens[1], false).await), Reason::TokenShredded);
    verified(&cluster).await;
}
