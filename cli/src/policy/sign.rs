//! `tally policy sign`: several admins sign one bundle, one after the other.

use super::{diff, read, show};
use crate::bundle;
use crate::output::{Shown, Usage, field};
use anyhow::{Context as _, bail};
use serde_json::{Value, json};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use tally_domain::dsse::SigningKey;
use tally_policy::{Admins, Bundle, Files, SignedBundle, VALIDITY_MAX_MS, Validity};

const DAY_MS: u64 = 24 * 3_600_000;

/// `tally policy sign`
#[derive(Debug, clap::Args)]
pub struct Sign {
    /// The bundle's directory.
    dir: PathBuf,
    /// The signed bundle that this one follows; none for the first of a cluster.
    #[arg(long, value_name = "FILE")]
    previous: Option<PathBuf>,
    /// An admin's private key, in a file that only its owner can read; may be given more than once.
    #[arg(long = "key", value_name = "FILE")]
    keys: Vec<PathBuf>,
    /// Where the signed bundle goes. If it is there already and is of this directory, the signature is added to it.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// For how many days the bundle is valid from now on, if it is packed here.
    #[arg(long, default_value_t = VALIDITY_MAX_MS / DAY_MS)]
    days: u64,
    /// Show what would be signed, and write nothing.
    #[arg(long)]
    dry_run: bool,
}

impl Sign {
    pub fn run(self) -> anyhow::Result<Shown> {
        if !self.dry_run && (self.keys.is_empty() || self.out.is_none()) {
            return Err(Usage("--key and --out are needed, or --dry-run".into()).into());
        }
        let files = bundle::files(&self.dir)?;
        let bundle = bundle::of(&self.dir, &files)?;
        let previous = self.previous.as_deref().map(read::any).transpose()?.map(|read| read.bundle);
        let mut signed = self.packed(&files, previous.as_ref())?;
        let admins = previous.as_ref().unwrap_or(&bundle).admins();
        if !self.dry_run {
            for path in &self.keys {
                let key = tally_client::signing_key(path).map_err(|e| Usage(e.to_string()))?;
                add(&mut signed, &key, admins, path)?;
            }
            if let Some(out) = &self.out {
                write(out, &signed.to_bytes())?;
            }
        }
        shown(&signed, admins, previous.as_ref().map(|previous| diff::between(previous, &bundle)))
    }

    /// What others have signed already, if it is of these files, or else a new envelope.
    fn packed(&self, files: &Files, previous: Option<&Bundle>) -> anyhow::Result<SignedBundle> {
        let existing = self.out.as_deref().filter(|out| out.exists());
        let Some(out) = existing else {
            let not_before = read::now();
            let validity = Validity { not_before, not_after: not_before.plus(self.days.saturating_mul(DAY_MS)) };
            return Ok(SignedBundle::pack(files, previous, validity)?);
        };
        let signed = read::signed(out)?;
        if signed.files()? != *files || signed.header().previous != previous.map(Bundle::digest) {
            let (out, dir) = (out.display(), self.dir.display());
            bail!(
                "{out} is not the bundle of {dir} after that previous one; name another file, or pack from what it holds"
            );
        }
        Ok(signed)
    }
}

/// Signs, if the key is of an admin and the signatures that are there are good.
fn add(signed: &mut SignedBundle, key: &SigningKey, admins: &Admins, path: &Path) -> anyhow::Result<()> {
    signed.signers(admins)?;
    signed.sign(key);
    if signed.signers(admins).is_err() {
        let names: Vec<_> = admins.names().into_iter().collect();
        let (path, key, names) = (path.display(), key.verifying_key(), names.join(", "));
        return Err(Usage(format!("{path} holds the key of {key}, which is of none of the admins: {names}")).into());
    }
    Ok(())
}

/// Whole or not at all: a reader never sees half of it.
fn write(out: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let dir = out.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file =
        tempfile::NamedTempFile::new_in(dir).with_context(|| format!("cannot write to {}", dir.display()))?;
    file.write_all(bytes).with_context(|| format!("cannot write {}", out.display()))?;
    // Nothing in it is secret, and other admins and nodes read it.
    let readable = std::fs::Permissions::from_mode(0o644);
    file.as_file().set_permissions(readable).with_context(|| format!("cannot write {}", out.display()))?;
    file.persist(out).with_context(|| format!("cannot write {}", out.display()))?;
    Ok(())
}

fn shown(signed: &SignedBundle, admins: &Admins, changes: Option<(Vec<String>, Value)>) -> anyhow::Result<Shown> {
    let (header, digest) = (signed.header(), signed.digest().to_string());
    let names: Vec<_> = signed.signers(admins)?.into_iter().collect();
    let needed = admins.needed();
    let mut lines = vec![format!("bundle {digest}"), field("version", header.version)];
    lines.extend(show::header_lines(header));
    let short = needed.map_or(0, |needed| needed.saturating_sub(names.len()));
    lines.push(match (needed, short) {
        (None, _) => field("signed by", "nobody: the roster names no admins"),
        (_, 0) => field("signed by", format!("{}; that is enough", names.join(", "))),
        (_, short) if names.is_empty() => field("signed by", format!("nobody; {short} needed")),
        (_, short) => field("signed by", format!("{}; {short} more needed", names.join(", "))),
    });
    let (change_lines, change_json) = changes.unzip();
    lines.extend(
        change_lines.unwrap_or_else(|| vec!["the first bundle: its digest is to be pinned at each node".into()]),
    );
    let json = json!({
        "bundle": show::header_json(header, &digest), "signed_by": names, "missing": short, "diff": change_json,
    });
    Ok(Shown::done(lines.join("\n"), json))
}
