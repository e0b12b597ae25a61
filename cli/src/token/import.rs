//! `tally token import`: a file of card numbers, line by line. What was answered is in the output file, whose last line
//! tells where to go on; the node notes how far it is, too.

use crate::output::{Out, Progress, Shown, Usage, field};
use anyhow::Context as _;
use serde::Deserialize;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use tally_client::{CardRow, CardStream, Client, Exit, MESSAGE_ROWS_MAX, Order};
use tally_domain::{Digest, KeyName, RequestId, SecretBytes, Subject};
use tally_tokenization::Call;
use tally_tokenization::call::{Import as Source, ROWS_MAX};
use zeroize::Zeroizing;

/// Longest line: a card number, a subject and what is written around them.
const LINE_MAX_BYTES: u64 = 4_096;

/// Messages on their way: one at the token, one at the disk, one on the wire.
const AHEAD_MAX: usize = 3;

/// `tally token import`
#[derive(Debug, clap::Args)]
pub struct Import {
    /// CSV (card number, then perhaps a subject; a first line `pan,subject` is left out), or NDJSON (`{"pan": ..., "subject": ...}`).
    file: PathBuf,
    /// The token domain.
    #[arg(long, value_name = "DOMAIN")]
    domain: KeyName,
    /// Where line numbers and tokens go, as CSV.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Where lines that were refused go: number, reason, and what is wrong; never what was in the line.
    #[arg(long, value_name = "FILE")]
    rejects: PathBuf,
    /// For people: goes into every log.
    #[arg(long, default_value = "")]
    note: String,
}

/// A line of NDJSON.
#[derive(Deserialize)]
struct Line<'a> {
    pan: &'a str,
    #[serde(default)]
    subject: Option<Subject>,
}

/// How it went.
#[derive(Default)]
struct Tally {
    tokens: u64,
    created: u64,
    rejected: u64,
}

impl Import {
    /// Runs it.
    pub async fn run(self, client: &Client, _printed: Out) -> anyhow::Result<Shown> {
        let source = sha256(&self.file)?;
        let id = import_id(&self.domain, &source)?;
        let (mut out, done) = resumed(&self.out)?;
        let (mut rejects, rejected) = resumed(&self.rejects)?;
        let from = done.max(rejected);
        let call = Call::TokenizeMany { rows_max: ROWS_MAX, import: Some(Source { id, source }) };
        let intent = client.seal(Order::tokens(self.domain.clone(), "", call).note(&self.note))?;
        let mut stream = client.tokenize_many(&intent).await?;
        let progress = Progress::start(&format!("importing from line {}", from + 1), None);
        let mut tally = Tally::default();
        let outcome = all(&mut stream, &self.file, from, (&mut out, &mut rejects), &mut tally).await;
        drop(progress);
        out.sync_all().and_then(|()| rejects.sync_all()).context("cannot write what was answered")?;
        outcome.context("the import stopped; the same command goes on where it was")?;
        let exit = if tally.rejected == 0 { Exit::Done } else { Exit::Other };
        let text = [
            format!("PERMITTED by rule {}", stream.rule),
            field("tokens", format!("{} of them {} new, in {}", tally.tokens, tally.created, self.out.display())),
            field("rejected", format!("{}, in {}", tally.rejected, self.rejects.display())),
            field("lines before", from),
        ];
        let document = json!({
            "verdict": "permitted", "rule": stream.rule, "import": id.to_string(), "tokens": tally.tokens,
            "created": tally.created, "rejected": tally.rejected, "lines_before": from,
        });
        Ok(Shown::with_exit(exit, text.join("\n"), document))
    }
}

/// Reads, sends, and writes down what is answered.
async fn all(
    stream: &mut CardStream,
    file: &Path,
    from: u64,
    (out, rejects): (&mut File, &mut File),
    tally: &mut Tally,
) -> anyhow::Result<()> {
    let mut lines = BufReader::new(File::open(file)?);
    let (mut number, mut ended) = (0, false);
    // Numbers of the lines of messages that are not answered yet.
    let mut waiting: VecDeque<Vec<u64>> = VecDeque::new();
    while !ended || !waiting.is_empty() {
        if !ended && waiting.len() < AHEAD_MAX {
            let mut rows = Vec::with_capacity(MESSAGE_ROWS_MAX);
            while rows.len() < MESSAGE_ROWS_MAX {
                let mut line = Zeroizing::new(Vec::with_capacity(256));
                if lines.by_ref().take(LINE_MAX_BYTES).read_until(b'\n', &mut line)? == 0 {
                    ended = true;
                    break;
                }
                number += 1;
                if number > from {
                    rows.extend(row(&line, number));
                }
            }
            if !rows.is_empty() {
                waiting.push_back(rows.iter().map(|row| row.line).collect());
                if stream.send(rows).await.is_err() {
                    // Why is what comes next.
                    ended = true;
                }
            }
            if ended {
                stream.end();
            }
            continue;
        }
        let Some(answered) = stream.next().await? else { anyhow::bail!("the stream ended early") };
        let sent = waiting.pop_front().unwrap_or_default();
        let (mut good, mut bad) = (String::new(), String::new());
        for (line, row) in sent.into_iter().zip(answered) {
            match row.outcome {
                Ok((token, created)) => {
                    tally.tokens += 1;
                    tally.created += u64::from(created);
                    good.push_str(&format!("{line},{token}\n"));
                }
                Err(refused) => {
                    tally.rejected += 1;
                    bad.push_str(&format!("{line},{},\"{}\"\n", refused.reason.as_str(), refused.detail));
                }
            }
        }
        out.write_all(good.as_bytes()).and_then(|()| rejects.write_all(bad.as_bytes()))?;
    }
    Ok(())
}

/// A card out of a line; nothing out of an empty one or a heading. What is no card is sent all the same: the node says why.
fn row(line: &[u8], number: u64) -> Option<CardRow> {
    let text = line.trim_ascii();
    if text.is_empty() {
        return None;
    }
    let (pan, subject) = if text.first() == Some(&b'{') {
        match serde_json::from_slice::<Line<'_>>(text) {
            Ok(Line { pan, subject }) => (SecretBytes::new(pan.as_bytes().to_vec()), subject),
            // Sent as nothing, and refused as such.
            Err(_) => (SecretBytes::new(Vec::new()), None),
        }
    } else {
        let mut parts = text.splitn(2, |b| *b == b',');
        let pan = parts.next().unwrap_or_default().trim_ascii();
        if number == 1 && pan.eq_ignore_ascii_case(b"pan") {
            return None;
        }
        let subject = parts.next().and_then(|s| std::str::from_utf8(s.trim_ascii()).ok());
        (SecretBytes::new(pan.to_vec()), subject.and_then(|s| Subject::parse(s).ok()))
    };
    Some(CardRow { number: pan, subject, line: number })
}

/// Opens a file to write on, and tells the number of the last line that it is about. A line that was not finished goes.
fn resumed(path: &Path) -> anyhow::Result<(File, u64)> {
    let shown = path.display();
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("cannot write {shown}"))?;
    let mut text = String::new();
    file.read_to_string(&mut text).with_context(|| format!("cannot read {shown}"))?;
    let whole = text.rfind('\n').map_or(0, |end| end + 1);
    let last = match text.get(..whole).and_then(|text| text.lines().next_back()) {
        None => 0,
        Some(line) => line
            .split(',')
            .next()
            .and_then(|number| number.parse().ok())
            .ok_or_else(|| Usage(format!("{shown} is no output of an import; give a new file")))?,
    };
    file.set_len(whole as u64)?;
    file.seek(SeekFrom::End(0))?;
    Ok((file, last))
}

fn sha256(path: &Path) -> anyhow::Result<Digest> {
    let mut file = File::open(path).map_err(|e| Usage(format!("cannot read {}: {e}", path.display())))?;
    let (mut hash, mut buffer) = (Sha256::new(), Zeroizing::new(vec![0; 64 * 1024]));
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(Digest(hash.finalize().into())),
            n => hash.update(buffer.get(..n).unwrap_or_default()),
        }
    }
}

/// The same file into the same domain is the same import.
fn import_id(domain: &KeyName, source: &Digest) -> anyhow::Result<RequestId> {
    let hash = tally_domain::digest::TaggedHash::new("tally/v1/token-import")
        .field(domain.as_str().as_bytes())
        .field(&source.0)
        .finish();
    hash.0.get(..16).and_then(RequestId::from_slice).context("no id for the import")
}
