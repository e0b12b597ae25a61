//! Where the tour looks for the card number once it is gone, and that it looks where something is.

use super::collector::Collector;
use super::token::CARD;
use super::tour::{Told, Tour};
use crate::dev::cluster::NODE_LOG;
use anyhow::{Context as _, ensure};
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// What a node's log says before the address of its metrics.
const SHOWS_METRICS: &str = "shows metrics address=";

/// The call by which the card got in, as traces name it.
const TRACED: &str = "TokenService/Tokenize";

/// The same as metrics count it.
const COUNTED: &str = "method=\"Tokenize\"";

/// Longest wait for a page of metrics, which is made at once.
const PAGE_MAX: Duration = Duration::from_secs(10);

/// Has every node of a directory, before it starts, show metrics and send its spans to a collector.
pub fn watch(dir: &Path, collector: &Collector) -> anyhow::Result<()> {
    for node in nodes(dir)? {
        let path = node.join("node.toml");
        let added =
            format!("\n[metrics]\nlisten = \"127.0.0.1:0\"\n\n[traces]\nendpoint = \"{}\"\n", collector.endpoint());
        let file = std::fs::OpenOptions::new().append(true).open(&path);
        file.and_then(|mut file| file.write_all(added.as_bytes()))
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// The last step: everything that the tour has left behind, after the nodes have sent their last spans and started anew.
pub async fn everything(tour: &Tour) -> Told {
    let traces = tour.collector()?.bytes()?;
    ensure!(holds(&traces, TRACED), "the traces do not have the calls with the card");
    ensure!(!holds(&traces, CARD), "the card number is in the traces");
    let mut line = format!("{} bytes of traces", traces.len());
    let (pages, _) = metrics(&tour.dir).await?;
    let files = files(&tour.dir)?;
    // Writing to a string does not fail.
    let _ = write!(line, ", {pages} pages of metrics, {files} files of databases, logs and tokens");
    Ok(vec![format!("{line} searched for the card number: 0 hits")])
}

/// How many pages of metrics were looked at, one for each node, and whether one of them has counted the card's call.
pub async fn metrics(dir: &Path) -> anyhow::Result<(usize, bool)> {
    let (nodes, mut counted) = (nodes(dir)?, false);
    for node in &nodes {
        let page = tokio::time::timeout(PAGE_MAX, page(node)).await.context("a node does not show its metrics")??;
        ensure!(holds(&page, "tally_build_info"), "{} shows no metrics", node.display());
        ensure!(!holds(&page, CARD), "the card number is in the metrics of {}", node.display());
        counted |= holds(&page, COUNTED);
    }
    Ok((nodes.len(), counted))
}

/// How many files there are; none of them has the card number.
pub fn files(dir: &Path) -> anyhow::Result<usize> {
    let (mut dirs, mut files, mut hits) = (vec![dir.to_owned()], 0, Vec::new());
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir)? {
            let path = entry?.path();
            if path.is_dir() {
                dirs.push(path);
                continue;
            }
            // A file may go while it is looked for, as a write-ahead log does.
            let Ok(content) = std::fs::read(&path) else { continue };
            files += 1;
            if holds(&content, CARD) {
                hits.push(path);
            }
        }
    }
    ensure!(hits.is_empty(), "the card number is in {hits:?}");
    Ok(files)
}

/// What a node answers to `GET /metrics`, at the address that its log named last.
async fn page(node: &Path) -> anyhow::Result<Vec<u8>> {
    let log = std::fs::read_to_string(node.join(NODE_LOG)).context("cannot read a node's log")?;
    let address = log.lines().rev().find_map(|line| line.split_once(SHOWS_METRICS));
    let (_, address) = address.with_context(|| format!("{} shows no metrics", node.display()))?;
    let mut stream = TcpStream::connect(address.trim()).await.context("cannot reach a node's metrics")?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: node\r\nconnection: close\r\n\r\n").await?;
    let mut page = Vec::new();
    stream.read_to_end(&mut page).await?;
    Ok(page)
}

/// Directories of nodes.
fn nodes(dir: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let all = std::fs::read_dir(dir)?.flatten().map(|entry| entry.path());
    let mut nodes: Vec<_> = all.filter(|path| path.join("node.toml").exists()).collect();
    nodes.sort();
    Ok(nodes)
}

fn holds(place: &[u8], text: &str) -> bool {
    place.windows(text.len()).any(|window| window == text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_number_is_found_wherever_a_file_has_it() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("node-1")).unwrap();
        std::fs::write(dir.path().join("node-1/tally.db"), [&[0, 255], CARD.as_bytes(), &[7]].concat()).unwrap();
        let found = files(dir.path()).unwrap_err().to_string();
        assert!(found.contains("tally.db"), "{found}");
        std::fs::write(dir.path().join("node-1/tally.db"), &CARD.as_bytes()[1..]).unwrap();
        assert_eq!(files(dir.path()).unwrap(), 1);
    }
}
