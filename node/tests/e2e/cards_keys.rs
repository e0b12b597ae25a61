//! Keys of token domains on nodes that are killed at every durable step: rotated, paused, retired, shredded, deleted; and
//! what an old copy of the database is worth afterwards.

use crate::harness::cards::*;
use crate::harness::cluster::Cluster;
use crate::harness::orders::*;
use crate::harness::vault::verified;
use std::time::{Duration, Instant};
use tally_client::{Client, DomainInfo};
use tally_domain::ports::hsm::{Hsm as _, HsmError, Seal, SealedRow, StrictKey, VaultHsm as _};
use tally_domain::ports::store::tokens::{KekKind, Vault as _};
use tally_domain::token::Token;
use tally_domain::{Reason, SecretBytes};
use tally_hsm_adapter::testing::SoftHsmToken;
use tally_hsm_adapter::{Mode, PinSource, RemoteConfig, RemoteHsm, Role};
use tally_store::SqliteStore;
use tally_tokenization::bind::{data_key_aad, row_aad};
use tally_tokenization::{DomainChange, RotatedKey};

/// Waits until nothing of the domain is on its way, and nothing is left that was to go.
async fn settled(client: &Client, domain: &str, shred: bool) -> DomainInfo {
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        let told = client.domain(&key(domain)).await.unwrap();
        let moving = told.rotations.iter().any(|rotation| rotation.state != "finished");
        let left = shred && (told.doomed_keys > 0 || told.keys.iter().any(|key| key.state == "previous"));
        if !moving && !left {
            return told;
        }
        assert!(Instant::now() < end, "{told:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn keys(domain: &DomainInfo) -> Vec<(&str, u32, &str)> {
    domain.keys.iter().map(|key| (key.key.as_str(), key.version, key.state.as_str())).collect()
}

async fn all_there(client: &Client, domain: &str, tokens: &[Token], cards: &[String]) {
    for at in [0, 1, tokens.len() / 2, tokens.len() - 1] {
        assert_eq!(reveal(client, domain, &tokens[at]).await.unwrap(), cards[at]);
        assert_eq!(search(client, domain, &cards[at]).await.unwrap().tokens, [tokens[at].clone()]);
        assert_eq!(tokenize(client, domain, &cards[at]).await.unwrap().token, tokens[at]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_key_is_rotated_and_tokens_stay_as_they_are() {
    let cluster = Cluster::start().await;
    let client = cluster.client("payouts-1");
    for (name, keeping) in [("fast-cards", hybrid()), ("safe-cards", strict())] {
        make_domain(&client, &spec(name, keeping)).await.unwrap();
        let cards: Vec<String> = (0..700).map(nth_card).collect();
        let tokens = many(&client, name, &cards).await;
        for rotated in RotatedKey::ALL {
            let early = change(&client, name, DomainChange::Retire(rotated, 1)).await;
            assert_eq!(
                reason(early),
                if rotated == RotatedKey::Kek { Reason::VersionNeeded } else { Reason::VersionState }
            );
            change(&client, name, DomainChange::Rotate(rotated)).await.unwrap();
            settled(&client, name, false).await;
            all_there(&client, name, &tokens, &cards).await;
        }
        let told = settled(&client, name, false).await;
        let (previous, current) = ("previous", "current");
        assert_eq!(
            keys(&told),
            [
                ("kek", 1, previous),
                ("kek", 2, current),
                ("data", 1, previous),
                ("data", 2, current),
                ("index", 1, previous),
                ("index", 2, current),
            ]
        );
        assert_eq!(told.rotations.iter().map(|r| r.done).collect::<Vec<_>>(), [700, 700]);
        for rotated in [RotatedKey::Data, RotatedKey::Kek, RotatedKey::Index] {
            let current = reason(change(&client, name, DomainChange::Retire(rotated, 2)).await);
            assert!(matches!(current, Reason::VersionState | Reason::VersionNeeded), "{current:?}");
            change(&client, name, DomainChange::Retire(rotated, 1)).await.unwrap();
            assert_eq!(reason(change(&client, name, DomainChange::Retire(rotated, 1)).await), Reason::VersionState);
        }
        let told = settled(&client, name, true).await;
        assert_eq!(told.keys.iter().filter(|key| key.state == "destroyed").count(), 3);
        all_there(&client, name, &tokens, &cards).await;
    }
    verified(&cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s_3_3_a_rotation_goes_on_after_a_kill_at_any_durable_step() {
    let mut cluster = Cluster::start().await;
    let client = cluster.client("payouts-1");
    make_domain(&client, &spec("cards", hybrid())).await.unwrap();
    let cards: Vec<String> = (0..600).map(nth_card).collect();
    let tokens = many(&client, "cards", &cards).await;
    for place in
        ["turn.before", "turn.after", "page.before", "page.after", "turned.after", "retire.after", "gone.before"]
    {
        cluster.kill(0);
        cluster.launch(0, &[("TALLY_FAILPOINT", place)]);
        cluster.serving(0).await;
        // Killed in the middle of the call, or after it.
        let asked = change(&cluster.at(0), "cards", DomainChange::Shred).await;
        cluster.died(0).await;
        cluster.launch(0, &[]);
        cluster.serving(0).await;
        if place == "turn.before" {
            assert!(asked.is_err());
            change(&client, "cards", DomainChange::Shred).await.unwrap();
        }
        let told = settled(&client, "cards", true).await;
        assert_eq!(told.keys.iter().filter(|key| key.state == "current").count(), 3, "{place}");
        all_there(&client, "cards", &tokens, &cards).await;
    }
    // What was acknowledged before a kill is there after it.
    cluster.kill(0);
    cluster.launch(0, &[("TALLY_FAILPOINT", "keep.before")]);
    cluster.serving(0).await;
    assert!(tokenize(&cluster.at(0), "cards", CANARY).await.is_err());
    cluster.died(0).await;
    cluster.launch(0, &[]);
    cluster.serving(0).await;
    assert!(tokenize(&client, "cards", CANARY).await.unwrap().created, "nothing was kept that was not answered");
    verified(&cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotation_is_paused_and_goes_on_also_after_a_restart() {
    let mut cluster = Cluster::start().await;
    let client = cluster.client("payouts-1");
    make_domain(&client, &spec("cards", hybrid())).await.unwrap();
    let cards: Vec<String> = (0..600).map(nth_card).collect();
    let tokens = many(&client, "cards", &cards).await;
    assert_eq!(reason(change(&client, "cards", DomainChange::Pause(RotatedKey::Data)).await), Reason::RotationState);
    // Frozen, it waits where it is; so it can be paused before its first page.
    change(&client, "cards", DomainChange::Rotate(RotatedKey::Index)).await.unwrap();
    settled(&client, "cards", false).await;
    cluster.kill(0);
    cluster.launch(0, &[("TALLY_FAILPOINT", "page.before")]);
    cluster.serving(0).await;
    let _killed = change(&cluster.at(0), "cards", DomainChange::Rotate(RotatedKey::Data)).await;
    cluster.died(0).await;
    // It would go on at once: each page dies, and so it is paused in between.
    cluster.launch(0, &[]);
    cluster.serving(0).await;
    let paused = change(&client, "cards", DomainChange::Pause(RotatedKey::Data)).await;
    let rotation = |told: &DomainInfo| told.rotations.iter().find(|r| r.key == "data").unwrap().state.clone();
    if paused.is_ok() {
        cluster.kill(0);
        cluster.launch(0, &[]);
        cluster.serving(0).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(rotation(&client.domain(&key("cards")).await.unwrap()), "paused");
        assert_eq!(
            reason(change(&client, "cards", DomainChange::Rotate(RotatedKey::Data)).await),
            Reason::RotationState
        );
        all_there(&client, "cards", &tokens, &cards).await;
        change(&client, "cards", DomainChange::Continue(RotatedKey::Data)).await.unwrap();
    }
    assert_eq!(rotation(&settled(&client, "cards", false).await), "finished");
    assert_eq!(reason(change(&client, "cards", DomainChange::Continue(RotatedKey::Data)).await), Reason::RotationState);
    all_there(&client, "cards", &tokens, &cards).await;
    verified(&cluster).await;
}

/// What somebody can do who has an old copy of a database and the node's live token: opens the row of a token, if the
/// keys are there.
fn stolen(hsm: &RemoteHsm, copy: &std::path::Path, name: &str, token: &Token) -> Result<Option<String>, HsmError> {
    let store = SqliteStore::open(copy).unwrap();
    let domain = spec(name, hybrid()).domain;
    let row = store.token(&domain, token).unwrap().unwrap();
    let sealed = row.sealed.unwrap();
    let data_key = store.data_keys(&domain).unwrap().into_iter().find(|k| k.number == sealed.key).unwrap();
    let wrapped = data_key.wrapped.unwrap();
    let kek = store.domain_keks(&domain).unwrap().into_iter().find(|k| k.number == wrapped.kek_version).unwrap().kek;
    let aad = row_aad(&domain, token, sealed.key).0;
    let digits = match kek.kind {
        KekKind::Sealing => {
            let under = Seal { kek: kek.object, aad: data_key_aad(&domain, sealed.key).0.to_vec() };
            let key = wait(hsm.unwrap(under, wrapped.wrapped))?;
            opened(&key, sealed.iv, &aad, sealed.ciphertext)
        }
        KekKind::Wrapping => {
            let strict = StrictKey { kek: kek.object, wrapped: wrapped.wrapped };
            let seal = tally_domain::ports::hsm::RowSeal { iv: sealed.iv, ciphertext: sealed.ciphertext };
            let mut rows = wait(hsm.open_rows(strict, vec![SealedRow { aad: aad.to_vec(), seal }]))?;
            rows.remove(0).map(|row| row.expose().to_vec())
        }
    };
    Ok(digits.map(|digits| String::from_utf8(digits).unwrap()))
}

fn opened(key: &SecretBytes, iv: [u8; 12], aad: &[u8], mut sealed: Vec<u8>) -> Option<Vec<u8>> {
    use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key.expose()).unwrap());
    key.open_in_place(Nonce::assume_unique_for_key(iv), Aad::from(aad), &mut sealed).ok().map(|p| p.to_vec())
}

fn wait<T>(future: tally_domain::ports::Pending<T>) -> T {
    tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(future))
}

/// The thief has the token, too, in a process of their own. It is connected to anew, because what a session has
/// unwrapped while it might it keeps.
fn thief(token: &SoftHsmToken) -> RemoteHsm {
    let program = std::path::Path::new(env!("CARGO_BIN_EXE_tallyd")).with_file_name("hsmd");
    RemoteHsm::connect(RemoteConfig {
        program,
        env: [(token.env.0.to_owned(), token.env.1.clone())].into(),
        module: token.module.clone(),
        token_label: token.label.clone(),
        token_serial: Some(token.serial.clone()),
        pin: PinSource::File(token.pin_file.clone()),
        workers: 1,
        deadline: Duration::from_secs(5),
        role: Role::Only,
        mode: Mode::Production,
        profile: None,
        log_level: "error".into(),
        log_json: false,
    })
    .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_copy_of_the_database_opens_nothing_that_was_shredded_even_with_the_live_token() {
    let mut cluster = Cluster::start().await;
    let client = cluster.client("payouts-1");
    let copies = tempfile::tempdir().unwrap();
    let domains = [("fast-cards", hybrid()), ("safe-cards", strict()), ("gone-cards", hybrid())];
    let mut given = Vec::new();
    for (name, keeping) in domains {
        make_domain(&client, &spec(name, keeping)).await.unwrap();
        let deleted = tokenize(&client, name, CANARY).await.unwrap().token;
        given.push((name, deleted, tokenize(&client, name, &nth_card(1)).await.unwrap().token));
    }
    let data = cluster.nodes[0].dir.join("data");
    // Stopped for the copy, so that it is whole.
    cluster.stop(0);
    let copy = copies.path().join("old.db");
    std::fs::copy(data.join("tally.db"), &copy).unwrap();
    cluster.launch(0, &[]);
    cluster.serving(0).await;
    for (name, deleted, _) in &given {
        delete(&client, name, deleted).await.unwrap();
    }
    let thief = || thief(&cluster.nodes[0].token);
    let hsm = tokio::task::block_in_place(thief);
    // Deleted only: the copy still opens it, which is why there is shredding.
    for (name, deleted, _) in &given {
        assert_eq!(stolen(&hsm, &copy, name, deleted).unwrap().as_deref(), Some(CANARY), "{name}");
    }
    for (name, ..) in &given {
        if *name == "gone-cards" {
            change(&client, name, DomainChange::Delete).await.unwrap();
        } else {
            change(&client, name, DomainChange::Shred).await.unwrap();
            settled(&client, name, true).await;
        }
    }
    drop(hsm);
    let hsm = tokio::task::block_in_place(thief);
    for (name, deleted, kept) in &given {
        for token in [deleted, kept] {
            let outcome = stolen(&hsm, &copy, name, token);
            assert!(matches!(outcome, Err(HsmError::KeyNotFound { .. })), "{name}: {outcome:?}");
        }
        let now = reveal(&client, name, kept).await;
        match *name {
            "gone-cards" => assert_eq!(reason(now), Reason::DomainDeleted),
            _ => assert_eq!(now.unwrap(), nth_card(1)),
        }
    }
    let again = make_domain(&client, &spec("gone-cards", hybrid())).await;
    assert_eq!(reason(again), Reason::KeyExists, "its name stays taken");
    verified(&cluster).await;
}
