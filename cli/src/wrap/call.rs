//! `tally wrap generate|wrap|unwrap|rewrap`

use super::{show, text};
use crate::input;
use crate::intents::Kept;
use crate::output::{Out, Shown, Usage};
use anyhow::Context as _;
use std::path::{Path, PathBuf};
use tally_client::{Client, Order, Plain};
use tally_domain::{EncryptionContext, KekNumber, KeyName, RequestId, SecretBytes};

/// What all four have.
#[derive(Debug, clap::Args)]
struct Common {
    /// The KEK.
    name: KeyName,
    /// What the data is bound to, and must be opened with: KEY=VALUE, as often as needed. Not secret: it is in every log.
    #[arg(long = "context", value_parser = pair, value_name = "KEY=VALUE")]
    context: Vec<(String, String)>,
    /// Names the request: 32 hex digits, as for `tally sign`.
    #[arg(long, value_parser = input::request_id, value_name = "HEX32")]
    request_id: Option<RequestId>,
    /// For people: goes into every log.
    #[arg(long, default_value = "")]
    note: String,
}

impl Common {
    fn context(&self) -> Result<EncryptionContext, Usage> {
        EncryptionContext::from_pairs(self.context.iter().cloned()).map_err(|e| Usage(e.to_string()))
    }
}

/// `tally wrap generate`
#[derive(Debug, clap::Args)]
pub struct Generate {
    #[command(flatten)]
    common: Common,
    /// Length of the data key.
    #[arg(long, default_value_t = 32, value_name = "N")]
    bytes: usize,
    /// Where the wrapped key goes, as one line of text; `-` is standard output. Without it, it is shown among the rest.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Where the key itself goes, byte for byte: a new file that only you can read, or `-` for standard output. Without it,
    /// nobody is shown the key.
    #[arg(long, value_name = "FILE")]
    plaintext_out: Option<PathBuf>,
}

/// `tally wrap wrap`
#[derive(Debug, clap::Args)]
pub struct Seal {
    #[command(flatten)]
    common: Common,
    /// What to wrap, byte for byte. `-` is standard input.
    #[arg(long = "in", value_name = "FILE")]
    input: PathBuf,
    /// Where the wrapped data goes, as one line of text; `-` is standard output. Without it, it is shown among the rest.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// `tally wrap unwrap`
#[derive(Debug, clap::Args)]
pub struct Unwrap {
    #[command(flatten)]
    common: Common,
    /// The wrapped data. `-` is standard input.
    #[arg(long = "in", value_name = "FILE")]
    input: PathBuf,
    /// Where the plaintext goes, byte for byte: a new file that only you can read, or `-` for standard output.
    #[arg(long, value_name = "FILE")]
    plaintext_out: PathBuf,
}

/// `tally wrap rewrap`
#[derive(Debug, clap::Args)]
pub struct Rewrap {
    #[command(flatten)]
    common: Common,
    /// The wrapped data. `-` is standard input.
    #[arg(long = "in", value_name = "FILE")]
    input: PathBuf,
    /// Where the new wrapped data goes, as one line of text; `-` is standard output. Without it, it is shown among the rest.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// The version to wrap with; without it the newest that is enabled.
    #[arg(long, value_name = "N", value_parser = super::life::number)]
    version: Option<KekNumber>,
}

impl Generate {
    /// Runs it.
    pub async fn run(self, client: &Client, kept: &Kept, printed: Out) -> anyhow::Result<Shown> {
        let Self { common, bytes, out, plaintext_out } = self;
        if let Some(path) = &plaintext_out {
            text::check_place(path, printed)?;
            if text::is_stdout(path) && out.as_deref().is_none_or(text::is_stdout) {
                return Err(Usage("with the key on standard output, the wrapped key needs --out FILE".into()).into());
            }
        }
        text::check_new(out.as_deref())?;
        if out.is_some() && out == plaintext_out {
            return Err(Usage("the key and the wrapped key need a file each".into()).into());
        }
        let shown = plaintext_out.is_some();
        let order = Order::generate_data_key(common.name.clone(), common.context()?, bytes, shown).note(&common.note);
        let asked = kept.seal(client, order, common.request_id)?;
        let key = kept.settle(&asked, client.generate_data_key(&asked.intent).await)?;
        // The wrapped key first: without it the other is no use.
        written(out.as_deref(), &key.wrapped.blob)?;
        if let Some(path) = &plaintext_out {
            text::write_plaintext(path, key.plaintext.as_ref().context("the node did not show the data key")?)?;
        }
        Ok(show::sealed(&common.name, &asked.intent, &key.wrapped, out.as_deref(), plaintext_out.as_deref()))
    }
}

impl Seal {
    /// Runs it.
    pub async fn run(self, client: &Client, kept: &Kept) -> anyhow::Result<Shown> {
        let Self { common, input, out } = self;
        text::check_new(out.as_deref())?;
        let plaintext: SecretBytes = text::plaintext(&input)?;
        let id = match common.request_id {
            Some(id) => id,
            None => client.draw_request_id()?,
        };
        let plain = Plain::new(client.profile(), id, plaintext)?;
        let order = Order::wrap(common.name.clone(), common.context()?, &plain).note(&common.note).request_id(id);
        let asked = kept.seal(client, order, common.request_id)?;
        let wrapped = kept.settle(&asked, client.wrap(&asked.intent, &plain).await)?;
        written(out.as_deref(), &wrapped.blob)?;
        Ok(show::sealed(&common.name, &asked.intent, &wrapped, out.as_deref(), None))
    }
}

impl Unwrap {
    /// Runs it.
    pub async fn run(self, client: &Client, kept: &Kept, printed: Out) -> anyhow::Result<Shown> {
        let Self { common, input, plaintext_out } = self;
        text::check_place(&plaintext_out, printed)?;
        let blob = text::blob(&input)?;
        let order = Order::unwrap(common.name.clone(), common.context()?, &blob).note(&common.note);
        let asked = kept.seal(client, order, common.request_id)?;
        let opened = kept.settle(&asked, client.unwrap(&asked.intent, &blob).await)?;
        text::write_plaintext(&plaintext_out, &opened.plaintext)?;
        Ok(show::opened(&common.name, &asked.intent, &opened, &plaintext_out))
    }
}

impl Rewrap {
    /// Runs it.
    pub async fn run(self, client: &Client, kept: &Kept) -> anyhow::Result<Shown> {
        let Self { common, input, out, version } = self;
        text::check_new(out.as_deref())?;
        let blob = text::blob(&input)?;
        let order = Order::rewrap(common.name.clone(), common.context()?, &blob, version).note(&common.note);
        let asked = kept.seal(client, order, common.request_id)?;
        let wrapped = kept.settle(&asked, client.rewrap(&asked.intent, &blob).await)?;
        written(out.as_deref(), &wrapped.blob)?;
        Ok(show::sealed(&common.name, &asked.intent, &wrapped, out.as_deref(), None))
    }
}

fn written(out: Option<&Path>, blob: &[u8]) -> anyhow::Result<()> {
    out.filter(|path| !text::is_stdout(path)).map_or(Ok(()), |path| text::write_blob(path, blob))
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("a pair of a context is KEY=VALUE")?;
    Ok((key.into(), value.into()))
}
