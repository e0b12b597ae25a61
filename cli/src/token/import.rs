//! `tally token import`: a file of card numbers, line by line. What was answered is in the output file, whose last line
//! tells where to go on; the node notes how far it is, too. Of each message the lines that were refused are written first, so
//! that whatever is missing after a crash comes after the output's last line, and is asked again.

use crate::output::{Progress, Shown, Usage, field};
use anyhow::Context as _;
use serde::Deserialize;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use tally_client::{CardRow, CardStream, Client, Exit, GivenToken, MESSAGE_ROWS_MAX, Order, Row};
use tally_domain::{Digest, KeyName, RequestId, SecretBytes, Subject};
use tally_tokenization::Call;
use tally_tokenization::call::{Import as Source, ROWS_MAX};
use zeroize::Zeroizing;

/// Longest line: a card number, a subject and what is written around them.
const LINE_MAX_BYTES: u64 = 4_096;

/// U+FEFF in UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

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
    /// Where line numbers and tokens go, as CSV; the first line says which import it is.
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
    pub async fn run(self, client: &Client) -> anyhow::Result<Shown> {
        let (source, lines) = measured(&self.file)?;
        let id = import_id(&self.domain, &source)?;
        self.check_files()?;
        let heading = format!("import,{id}\n");
        let (mut out, from, _) = resumed(&self.out, &heading, None)?;
        let (mut rejects, _, rejected_before) = resumed(&self.rejects, &heading, Some(from))?;
        // No more than are left: rules and limits are asked about as many.
        let left = u32::try_from(lines.saturating_sub(from)).unwrap_or(u32::MAX);
        let rows_max = left.max(1);
        if rows_max > ROWS_MAX {
            return Err(Usage(format!("the file has more than {ROWS_MAX} lines; split it")).into());
        }
        let call = Call::TokenizeMany { rows_max, import: Some(Source { id, source }) };
        let intent = client.seal(Order::tokens(self.domain.clone(), "", call).note(&self.note))?;
        let mut stream = client.tokenize_many(&intent).await?;
        let size = std::fs::metadata(&self.file)?.len();
        let (progress, read) = Progress::counted(&format!("importing from line {}", from + 1), size);
        let mut tally = Tally::default();
        let outcome = all(&mut stream, (&self.file, from, &read), (&mut out, &mut rejects), &mut tally).await;
        drop(progress);
        out.sync_all().and_then(|()| rejects.sync_all()).context("cannot write what was answered")?;
        outcome.context("the import stopped; the same command goes on where it was")?;
        let rejected = tally.rejected + rejected_before;
        let exit = if rejected == 0 { Exit::Done } else { Exit::Other };
        let text = [
            format!("PERMITTED by rule {}", stream.rule),
            field("tokens", format!("{} of them {} new, in {}", tally.tokens, tally.created, self.out.display())),
            field("rejected", format!("{rejected}, in {}", self.rejects.display())),
            field("lines before", from),
        ];
        let document = json!({
            "verdict": "permitted", "rule": stream.rule, "import": id.to_string(), "tokens": tally.tokens,
            "created": tally.created, "rejected": rejected, "lines_before": from,
        });
        Ok(Shown::with_exit(exit, text.join("\n"), document))
    }

    /// Whoever writes over the cards, or tokens among the rejects, has lost them.
    fn check_files(&self) -> anyhow::Result<()> {
        let ids =
            [&self.file, &self.out, &self.rejects].map(|path| std::fs::metadata(path).map(|m| (m.dev(), m.ino())));
        let same = |a: usize, b: usize| matches!((ids.get(a), ids.get(b)), (Some(Ok(a)), Some(Ok(b))) if a == b);
        if same(0, 1) || same(0, 2) || same(1, 2) || self.out == self.rejects {
            return Err(Usage("the cards, --out and --rejects must be three files".into()).into());
        }
        Ok(())
    }
}

/// What is read of a line.
enum Read {
    /// Nothing: it is empty, or a heading.
    Nothing,
    /// A card, which the node may refuse.
    Card(CardRow),
    /// It is not sent, for this reason.
    Bad(&'static str),
}

/// Lines of a message that is not answered yet.
#[derive(Default)]
struct Message {
    sent: Vec<u64>,
    bad: Vec<(u64, &'static str)>,
}

/// The lines of the file.
struct Lines {
    file: BufReader<File>,
    number: u64,
}

impl Lines {
    /// The next line; nothing at the end.
    fn next(&mut self) -> std::io::Result<Option<(u64, Read, u64)>> {
        let mut line = Zeroizing::new(Vec::with_capacity(256));
        let mut bytes = self.file.by_ref().take(LINE_MAX_BYTES).read_until(b'\n', &mut line)? as u64;
        if bytes == 0 {
            return Ok(None);
        }
        self.number += 1;
        let read = if bytes == LINE_MAX_BYTES && !line.ends_with(b"\n") {
            bytes += self.file.skip_until(b'\n')? as u64;
            Read::Bad("the line is too long")
        } else {
            row(&line, self.number)
        };
        Ok(Some((self.number, read, bytes)))
    }
}

/// Reads, sends, and writes down what is answered.
async fn all(
    stream: &mut CardStream,
    (file, from, read): (&Path, u64, &AtomicU64),
    (out, rejects): (&mut File, &mut File),
    tally: &mut Tally,
) -> anyhow::Result<()> {
    let mut lines = Lines { file: BufReader::new(File::open(file)?), number: 0 };
    let mut ended = false;
    let mut waiting: VecDeque<Message> = VecDeque::new();
    while !ended || !waiting.is_empty() {
        if !ended && waiting.len() < AHEAD_MAX {
            let (mut message, mut rows) = (Message::default(), Vec::with_capacity(MESSAGE_ROWS_MAX));
            while rows.len() < MESSAGE_ROWS_MAX {
                let Some((number, line, bytes)) = lines.next()? else {
                    ended = true;
                    break;
                };
                read.fetch_add(bytes, Ordering::Relaxed);
                match line {
                    _ if number <= from => {}
                    Read::Nothing => {}
                    Read::Card(row) => {
                        message.sent.push(number);
                        rows.push(row);
                    }
                    Read::Bad(why) => message.bad.push((number, why)),
                }
            }
            // Why it does not go out is what comes next.
            ended |= !rows.is_empty() && stream.send(rows).await.is_err();
            waiting.push_back(message);
            if ended {
                stream.end();
            }
            continue;
        }
        let Some(message) = waiting.pop_front() else { break };
        let answered = match message.sent.len() {
            0 => Vec::new(),
            _ => stream.next().await?.context("the stream ended early")?,
        };
        let (good, bad) = told(message, answered, tally);
        rejects.write_all(bad.as_bytes()).and_then(|()| out.write_all(good.as_bytes()))?;
    }
    Ok(())
}

/// What goes into the two files of a message.
fn told(message: Message, answered: Vec<Row<GivenToken>>, tally: &mut Tally) -> (String, String) {
    let mut good = String::new();
    let mut bad: Vec<(u64, String)> =
        message.bad.into_iter().map(|(line, why)| (line, format!("MALFORMED,\"{why}\""))).collect();
    for (line, row) in message.sent.into_iter().zip(answered) {
        match row.outcome {
            Ok((token, created)) => {
                tally.tokens += 1;
                tally.created += u64::from(created);
                good.push_str(&format!("{line},{token}\n"));
            }
            Err(refused) => bad.push((line, format!("{},\"{}\"", refused.reason.as_str(), refused.detail))),
        }
    }
    tally.rejected += bad.len() as u64;
    bad.sort();
    (good, bad.into_iter().map(|(line, why)| format!("{line},{why}\n")).collect())
}

/// A column without the quotes around it. Nothing that belongs in one has a quote or a comma.
fn unquoted(column: &[u8]) -> Option<&[u8]> {
    let column = column.trim_ascii();
    let inner = column.strip_prefix(b"\"").map_or(Some(column), |rest| rest.strip_suffix(b"\""));
    inner.filter(|inner| !inner.contains(&b'"')).map(<[u8]>::trim_ascii)
}

/// A card out of a line. What is no card is sent all the same: the node says why.
fn row(line: &[u8], number: u64) -> Read {
    // Spreadsheets begin a file with this.
    let line = if number == 1 { line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line) } else { line };
    let text = line.trim_ascii();
    if text.is_empty() {
        return Read::Nothing;
    }
    let (pan, subject) = if text.first() == Some(&b'{') {
        match serde_json::from_slice::<Line<'_>>(text) {
            Ok(Line { pan, subject }) => (pan.as_bytes(), subject),
            Err(_) => return Read::Bad("not a JSON object with `pan`, and perhaps a plain `subject`, as text"),
        }
    } else {
        let mut columns = text.splitn(2, |b| *b == b',');
        let [pan, subject] = [columns.next(), columns.next()].map(|column| unquoted(column.unwrap_or_default()));
        let (Some(pan), Some(subject)) = (pan, subject) else {
            return Read::Bad("a quote without its other one; neither column needs quotes");
        };
        if number == 1 && pan.eq_ignore_ascii_case(b"pan") {
            return Read::Nothing;
        }
        let subject = match std::str::from_utf8(subject).map(|s| (s, Subject::parse(s))) {
            Ok(("", _)) => None,
            Ok((_, Ok(subject))) => Some(subject),
            Ok((_, Err(_))) | Err(_) => return Read::Bad("the second column is no subject, or there is a third"),
        };
        (pan, subject)
    };
    Read::Card(CardRow { number: SecretBytes::new(pan.to_vec()), subject, line: number })
}

/// Opens a file to write on, which begins with the import that it is of; tells the number of the last line that it is about,
/// and how many there are. A line that was not finished goes, and so does what is about lines after `last`.
fn resumed(path: &Path, heading: &str, last: Option<u64>) -> anyhow::Result<(File, u64, u64)> {
    let shown = path.display();
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("cannot write {shown}"))?;
    let mut text = Zeroizing::new(String::new());
    // What is in a file that is not ours may be cards: it is neither changed nor shown.
    let others = || Usage(format!("{shown} is not of an import of this very file into this domain; give a new file"));
    file.read_to_string(&mut text).map_err(|_| others())?;
    let Some(lines) = text.strip_prefix(heading) else {
        if !heading.starts_with(text.as_str()) {
            return Err(others().into());
        }
        file.set_len(0)?;
        file.seek(SeekFrom::Start(0))?;
        file.write_all(heading.as_bytes()).with_context(|| format!("cannot write {shown}"))?;
        return Ok((file, 0, 0));
    };
    let (mut kept, mut known, mut count) = (heading.len(), 0, 0);
    for line in lines.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
        let number = line.split(',').next().and_then(|number| number.parse::<u64>().ok()).ok_or_else(others)?;
        if last.is_some_and(|last| number > last) {
            break;
        }
        (kept, known, count) = (kept + line.len(), number, count + 1);
    }
    file.set_len(kept as u64)?;
    file.seek(SeekFrom::End(0))?;
    Ok((file, known, count))
}

/// The digest of a file, and how many lines it has.
fn measured(path: &Path) -> anyhow::Result<(Digest, u64)> {
    let (mut lines, mut last) = (0, b'\n');
    let mut file = File::open(path).map_err(|e| Usage(format!("cannot read {}: {e}", path.display())))?;
    let (mut hash, mut buffer) = (Sha256::new(), Zeroizing::new(vec![0; 64 * 1024]));
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok((Digest(hash.finalize().into()), lines + u64::from(last != b'\n'))),
            n => {
                let piece = buffer.get(..n).unwrap_or_default();
                lines += piece.iter().filter(|byte| **byte == b'\n').count() as u64;
                last = piece.last().copied().unwrap_or(last);
                hash.update(piece);
            }
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

#[cfg(test)]
mod tests;
