//! A file of card numbers is imported by the program, which is killed, as the node is: every line ends up in one of its two
//! files, once.

use crate::harness::cards::*;
use crate::harness::cluster::Cluster;
use crate::harness::vault::verified;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};
use tally_domain::token::{Reuse, Token};
use tally_tokenization::DomainSpec;

/// Lines of the file. `cargo xtask long` imports a million.
fn lines() -> u64 {
    std::env::var("TALLY_IMPORT_LINES").map_or(6_000, |lines| lines.parse().unwrap())
}

/// A line that is refused, and what for.
const BAD: [(u64, &str, &str); 5] = [
    (17, "4111111111111112", "CARD_INVALID,\"the card number's check digit"),
    (700, "nothing", "CARD_INVALID,\"a card number has digits only"),
    (1_500, "4111111111111111,sub ject", "MALFORMED,\"the second column is no subject"),
    (1_501, "{\"pan\": 4111111111111111}", "MALFORMED,\"not a JSON object"),
    (5_999, "41111111111", "CARD_INVALID,\"a card number has 12 to 19"),
];

/// CSV and NDJSON lines, with a heading, an empty line, and bad ones among them.
fn written(file: &Path) -> BTreeMap<u64, String> {
    let mut text = String::from("pan,subject\n");
    let mut cards = BTreeMap::new();
    for line in 2..=lines() {
        let card = nth_card(line);
        match (BAD.iter().find(|(bad, ..)| *bad == line), line % 3) {
            (Some((_, bad, _)), _) => text += &format!("{bad}\n"),
            (None, _) if line == 9 => text += "\n",
            (None, 0) => text += &format!("{{\"pan\": \"{card}\", \"subject\": \"s-{}\"}}\n", line % 7),
            (None, 1) => text += &format!("{card},s-{}\n", line % 7),
            (None, _) => text += &format!(" {card} \n"),
        }
        if line != 9 && BAD.iter().all(|(bad, ..)| *bad != line) {
            cards.insert(line, card);
        }
    }
    std::fs::write(file, text).unwrap();
    cards
}

fn import(cluster: &Cluster) -> Child {
    import_into(cluster, ["out.csv", "rejects.csv"])
}

fn import_into(cluster: &Cluster, [out, rejects]: [&str; 2]) -> Child {
    // Beside the node, where all programs of the workspace are built.
    let program = Path::new(env!("CARGO_BIN_EXE_tallyd")).with_file_name("tally");
    let dir = cluster.dir.path();
    Command::new(program)
        .args(["token", "import", "cards.csv", "--domain", "cards", "--out", out, "--rejects", rejects])
        .arg("--json")
        .env("TALLY_PROFILE", dir.join("payouts-1/profile.toml"))
        .current_dir(dir)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

async fn ended(child: Child) -> Output {
    tokio::task::spawn_blocking(move || child.wait_with_output().unwrap()).await.unwrap()
}

/// (line, rest) of each line of an output.
fn told(cluster: &Cluster, file: &str) -> Vec<(u64, String)> {
    let text = std::fs::read_to_string(cluster.dir.path().join(file)).unwrap_or_default();
    let line = |line: &str| line.split_once(',').map(|(line, rest)| (line.parse().unwrap(), rest.to_owned()));
    text.lines().skip(1).filter_map(line).collect()
}

/// Waits until the output has so many lines.
async fn reached(cluster: &Cluster, wanted: u64) {
    let end = Instant::now() + Duration::from_secs(60 + lines() / 500);
    let lines_of = |bytes: &[u8]| bytes.iter().filter(|byte| **byte == b'\n').count() as u64;
    while std::fs::read(cluster.dir.path().join("out.csv")).map_or(0, |bytes| lines_of(&bytes)) <= wanted {
        assert!(Instant::now() < end, "{}", cluster.log_of(0));
        tokio::time::sleep(Duration::from_millis(2 + lines() / 2_000)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_import_goes_on_after_the_node_and_the_program_were_killed_and_each_line_is_told_of_once() {
    let mut cluster = Cluster::start().await;
    let client = cluster.client("payouts-1");
    make_domain(&client, &DomainSpec { reuse: Reuse::PerSubject, ..spec("cards", hybrid()) }).await.unwrap();
    let cards = written(&cluster.dir.path().join("cards.csv"));

    let running = import(&cluster);
    reached(&cluster, lines() / 2).await;
    cluster.kill(0);
    let stopped = ended(running).await;
    let said = String::from_utf8_lossy(&stopped.stderr).into_owned() + &String::from_utf8_lossy(&stopped.stdout);
    assert!(!stopped.status.success() && said.contains("the same command goes on where it was"), "{said}");
    cluster.launch(0, &[]);
    cluster.serving(0).await;
    // What was answered before the kill is there, and what its output does not have yet is asked again.
    let before = told(&cluster, "out.csv");
    for (line, token) in before.iter().step_by(239) {
        assert_eq!(reveal(&client, "cards", &Token::parse(token).unwrap()).await.unwrap(), cards[line]);
    }
    let mut running = import(&cluster);
    reached(&cluster, before.len() as u64 + lines() / 6).await;
    running.kill().unwrap();
    ended(running).await;
    let done = ended(import(&cluster)).await;
    assert_eq!(done.status.code(), Some(1), "{}", String::from_utf8_lossy(&done.stderr));

    let (out, rejects) = (told(&cluster, "out.csv"), told(&cluster, "rejects.csv"));
    assert_eq!(out.iter().map(|(line, _)| line).collect::<Vec<_>>(), cards.keys().collect::<Vec<_>>());
    for (line, token) in out.iter().step_by(997) {
        assert_eq!(search(&client, "cards", &cards[line]).await.unwrap().tokens, [Token::parse(token).unwrap()]);
    }
    assert_eq!(rejects.len(), BAD.len());
    for ((line, why), (bad, card, wanted)) in rejects.iter().zip(BAD) {
        assert!(*line == bad && why.starts_with(wanted) && !why.contains(card), "{line} {why}");
    }
    assert_eq!(delete_subject(&client, "cards", "s-3").await.unwrap().deleted as usize, subjects(&cards, 3));

    // Once more, it has nothing to do; with other files it gives the same tokens.
    let again = ended(import(&cluster)).await;
    let document: serde_json::Value = serde_json::from_slice(&again.stdout).unwrap();
    assert_eq!((&document["tokens"], &document["created"]), (&0.into(), &0.into()));
    assert_eq!((document["rejected"].as_u64(), again.status.code()), (Some(BAD.len() as u64), Some(1)));
    assert_eq!(told(&cluster, "out.csv"), out);
    // Another file is another import: its answers are not taken to be there already, and nothing is written over.
    let (cards, other) = (cluster.dir.path().join("cards.csv"), format!("{}\n", nth_card(1)));
    for text in [other.as_str(), other.trim_end()] {
        std::fs::write(&cards, text).unwrap();
        for files in [["out.csv", "rejects.csv"], ["cards.csv", "new.csv"], ["new.csv", "new.csv"]] {
            let refused = ended(import_into(&cluster, files)).await;
            let said = String::from_utf8_lossy(&[refused.stdout, refused.stderr].concat()).into_owned();
            assert!(!refused.status.success() && !said.contains(&nth_card(1)), "{said}");
            assert!(said.contains("give a new file") || said.contains("must be three files"), "{said}");
        }
        assert_eq!(std::fs::read_to_string(&cards).unwrap(), text);
    }
    assert_eq!(told(&cluster, "out.csv"), out);
    verified(&cluster).await;
}

/// How many cards of the file are of this subject.
fn subjects(cards: &BTreeMap<u64, String>, subject: u64) -> usize {
    cards.keys().filter(|line| *line % 3 != 2 && *line % 7 == subject).count()
}
