//! Reading what a command is given: files with a limit, `-` for standard input, and words that clap parses.

use crate::output::Usage;
use anyhow::Context as _;
use std::io::Read;
use std::path::Path;
use tally_domain::{DerivationPath, RequestId};

/// Largest file to sign: four times what an intent may hold, so that hex of it fits too.
pub const INPUT_MAX_BYTES: u64 = 4 * 64 * 1024;

/// A file's bytes; `-` is standard input.
pub fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    if path == Path::new("-") {
        return limited(std::io::stdin().lock(), "standard input", INPUT_MAX_BYTES);
    }
    file(path, INPUT_MAX_BYTES)
}

/// A file's bytes, if there are not more than `most`.
pub fn file(path: &Path, most: u64) -> anyhow::Result<Vec<u8>> {
    let name = path.display().to_string();
    let file = std::fs::File::open(path).map_err(|e| Usage(format!("cannot read {name}: {e}")))?;
    limited(file, &name, most)
}

fn limited(reader: impl Read, name: &str, most: u64) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.take(most + 1).read_to_end(&mut bytes).with_context(|| format!("cannot read {name}"))?;
    if bytes.len() as u64 > most {
        return Err(Usage(format!("{name} is larger than {most} bytes")).into());
    }
    Ok(bytes)
}

/// Reads a request id: 32 hex digits.
pub fn request_id(text: &str) -> Result<RequestId, String> {
    RequestId::from_hex(text).ok_or_else(|| "a request id is 32 hex digits, not all zero".into())
}

/// Reads `m/0/7`.
pub fn path(text: &str) -> Result<DerivationPath, String> {
    DerivationPath::parse(text).map_err(|e| e.to_string())
}

/// Reads a span such as `30m`, in milliseconds.
pub fn span(text: &str) -> Result<u64, String> {
    let seconds = tally_domain::time::parse_span(text).filter(|seconds| *seconds > 0);
    seconds.map(|seconds| u64::from(seconds) * 1_000).ok_or_else(|| "a span is such as 90s, 30m, 8h or 1d".into())
}
