//! `tally wrap`: keys that wrap other keys, and what they wrap.

mod call;
mod life;
mod show;
mod text;

use crate::intents::Kept;
use crate::output::{Out, Shown};
use crate::profile::ProfileArg;
use call::{Generate, Rewrap, Seal, Unwrap};
use life::{Create, Destroy, OfKek, OfVersion};
use tally_domain::{KekChange, KeyName};

/// `tally wrap ...`
#[derive(Debug, clap::Subcommand)]
pub enum Wrap {
    /// Create a KEK in the HSM of one node.
    Create(Create),
    /// Have a KEK draw a data key, and wrap it.
    Generate(Generate),
    /// Wrap what you have: at most 4096 bytes. Data is encrypted with a data key, and the data key is wrapped.
    #[command(name = "wrap")]
    Seal(Seal),
    /// Open what a KEK has wrapped.
    Unwrap(Unwrap),
    /// Wrap anew what a KEK has wrapped, with its newest version, and show it to nobody.
    Rewrap(Rewrap),
    /// Make a new version, which wraps from then on. Older ones still open what they wrapped.
    Rotate(OfKek),
    /// Switch a version off: it neither wraps nor opens.
    Disable(OfVersion),
    /// Switch a version on again.
    Enable(OfVersion),
    /// Destroy a version after a delay, and with it all that it wrapped. Asks for --yes.
    Destroy(Destroy),
    /// Do not destroy a version; it is left disabled.
    Cancel(OfVersion),
    /// One KEK with its versions.
    Show {
        /// Its name.
        name: KeyName,
    },
    /// All KEKs.
    List,
}

impl Wrap {
    /// Runs it.
    pub async fn run(self, profile: &ProfileArg, printed: Out) -> anyhow::Result<Shown> {
        let (client, kept) = (profile.client()?, Kept::beside(profile.path()?));
        match self {
            Self::Create(create) => create.run(&client, &kept).await,
            Self::Generate(generate) => generate.run(&client, &kept, printed).await,
            Self::Seal(seal) => seal.run(&client, &kept).await,
            Self::Unwrap(unwrap) => unwrap.run(&client, &kept, printed).await,
            Self::Rewrap(rewrap) => rewrap.run(&client, &kept).await,
            Self::Rotate(of) => of.run(&client, &kept, KekChange::Rotate).await,
            Self::Disable(of) => of.run(&client, &kept, KekChange::Disable).await,
            Self::Enable(of) => of.run(&client, &kept, KekChange::Enable).await,
            Self::Destroy(destroy) => destroy.run(&client, &kept).await,
            Self::Cancel(of) => of.run(&client, &kept, KekChange::Cancel).await,
            Self::Show { name } => Ok(show::kek(&client.kek(&name).await?)),
            Self::List => Ok(show::list(&client.keks().await?)),
        }
    }
}
