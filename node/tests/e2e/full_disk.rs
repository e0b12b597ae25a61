//! A disk that is full where something must be written down before it leaves: nothing leaves, the node says why, and goes on
//! when there is room.

use crate::harness::cards::*;
use crate::harness::cluster::Cluster;
use crate::harness::orders::*;
use crate::harness::vault::found_in_files;
use std::path::PathBuf;
use tally_client::{Order, RequestState};
use tally_domain::{KeySpec, Purpose, Reason, RequestId, Scheme, Threshold};

/// A cluster whose nodes' disks a test fills.
struct Disks {
    cluster: Cluster,
    files: Vec<PathBuf>,
}

impl Disks {
    async fn start() -> Self {
        let mut cluster = Cluster::prepare(3);
        let files: Vec<_> = (0..3).map(|i| cluster.nodes[i].dir.join("full")).collect();
        for (i, file) in files.iter().enumerate() {
            cluster.launch(i, &[("TALLY_DISK_FULL", file.to_str().unwrap())]);
        }
        cluster.all_serving().await;
        Self { cluster, files }
    }

    fn fill(&self, nodes: &[usize], with: &str) {
        nodes.iter().for_each(|i| std::fs::write(&self.files[*i], with).unwrap());
    }

    fn make_room(&self) {
        self.files.iter().for_each(|file| drop(std::fs::remove_file(file)));
    }

    fn rows(&self, i: usize, sql: &str) -> i64 {
        let file = self.cluster.nodes[i].dir.join("data/tally.db");
        rusqlite::Connection::open(file).unwrap().query_row(sql, [], |row| row.get(0)).unwrap()
    }

    fn says_why(&self, i: usize, place: &str) {
        let log = self.cluster.log_of(i);
        assert!(
            log.contains("the store does not write") && log.contains(&format!("full: a test says so of {place}")),
            "{log}"
        );
    }
}

const VOTES: &str = "SELECT count(*) FROM attempt WHERE statement IS NOT NULL";
const PARTIALS: &str = "SELECT count(*) FROM attempt WHERE partial IS NOT NULL";
const PROMISES: &str = "SELECT count(*) FROM attempt WHERE abandoned IS NOT NULL";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s_5_1_a_full_disk_keeps_shares_votes_partials_promises_and_tokens_in_and_room_lets_them_out() {
    let disks = Disks::start().await;
    let client = disks.cluster.at(0);

    // A share: the key is made when all can keep theirs, by the same request.
    let fast = KeySpec { scheme: Scheme::Ed25519, threshold: Threshold::new(2, 3).unwrap(), purpose: Purpose::Message };
    let intent = client.seal(Order::create_key(key("fast"), fast)).unwrap();
    disks.fill(&[1], "share");
    let refused = reason(client.create_key(&intent).await);
    assert!([Reason::Storage, Reason::SessionAborted, Reason::Participants].contains(&refused), "{refused:?}");
    disks.says_why(1, "share");
    for i in 0..3 {
        assert_eq!(disks.rows(i, "SELECT count(*) FROM key WHERE certificate IS NOT NULL"), 0, "node {i}");
    }
    disks.make_room();
    client.create_key(&intent).await.unwrap();

    // Votes: nobody can give one, so nothing is promised to anyone.
    disks.fill(&[0, 1, 2], "vote");
    let id = RequestId([1; 16]);
    let intent = client.seal(say("votes").request_id(id)).unwrap();
    assert_eq!(reason(client.sign(&intent).await), Reason::Storage);
    assert!(matches!(client.request(id).await.unwrap().state, RequestState::Received));
    (0..3).for_each(|i| assert_eq!(disks.rows(i, VOTES), 0, "node {i}"));
    disks.says_why(0, "vote");
    // One that has no room is left out.
    disks.fill(&[1], "vote");
    std::fs::remove_file(&disks.files[0]).unwrap();
    std::fs::remove_file(&disks.files[2]).unwrap();
    sign(&client, say("without node 2")).await.unwrap();
    disks.make_room();
    client.sign(&intent).await.unwrap();

    // Partials: all have voted, and not one of the two signatures' halves exists.
    let before: Vec<_> = (0..3).map(|i| disks.rows(i, PARTIALS)).collect();
    disks.fill(&[0, 1, 2], "release");
    let intent = client.seal(say("partials")).unwrap();
    assert_eq!(reason(client.sign(&intent).await), Reason::Storage);
    assert_eq!((0..3).map(|i| disks.rows(i, PARTIALS)).collect::<Vec<_>>(), before);
    disks.says_why(0, "release");

    // A promise: what all have voted for is not begun anew before somebody has promised in writing to let it be.
    disks.fill(&[0, 1, 2], "release promise");
    let promised: Vec<_> = (0..3).map(|i| disks.rows(i, PROMISES)).collect();
    assert!([Reason::Storage, Reason::InDoubt].contains(&reason(client.sign(&intent).await)));
    assert_eq!((0..3).map(|i| disks.rows(i, PROMISES)).collect::<Vec<_>>(), promised);
    disks.make_room();
    client.sign(&intent).await.unwrap();

    // A token: no row, no answer that says one.
    make_domain(&client, &spec("cards", hybrid())).await.unwrap();
    disks.fill(&[0], "keep");
    assert_eq!(reason(tokenize(&client, "cards", CANARY).await), Reason::Storage);
    assert_eq!(disks.rows(0, "SELECT count(*) FROM token"), 0);
    disks.says_why(0, "keep");
    disks.make_room();
    let given = tokenize(&client, "cards", CANARY).await.unwrap();
    assert_eq!(reveal(&client, "cards", &given.token).await.unwrap(), CANARY);
    assert!(found_in_files(&disks.cluster, CANARY.as_bytes()).is_empty());
}
