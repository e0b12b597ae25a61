//! Start of a node: bundle, token, store, a new incarnation and its boot certificate.

use crate::admission::Admission;
use crate::approvals::Approvals;
use crate::bundles::Bundles;
use crate::checkpoint::Checkpointer;
use crate::config::Config;
use crate::first_bundle::{self, First};
use crate::freezes::Freezes;
use crate::hsm_keys::HsmKeys;
use crate::keks::Keks;
use crate::keys::Keys;
use crate::limits::NamedLines;
use crate::lines::Lines;
use crate::log_check::{self, Unread};
use crate::metrics::{Metrics, token::Metered};
use crate::node::{Node, fresh_rng, now};
use crate::peers::Peers;
use crate::reload::LastReload;
use crate::signed::Signed;
use crate::tls::Tls;
use crate::token;
use crate::vault::Vaults;
use crate::written::Written;
use anyhow::{Context as _, bail};
use rand::Rng as _;
use std::collections::BTreeMap;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use tally_audit::event::{BundleEvent, What};
use tally_domain::ports::hsm::Hsm;
use tally_domain::ports::store::{Step, Store, Write};
use tally_domain::{Incarnation, NodeName};
use tally_policy::Bundle;
use tally_signer::boot::{BootIdentity, Uncertified};
use tally_store::SqliteStore;

/// Most files of a bundle, and most bytes of one: more is not a bundle but the wrong directory.
const BUNDLE_FILES_MAX: usize = 1_000;
const BUNDLE_FILE_MAX_BYTES: u64 = 4 * 1024 * 1024;

/// Reads a bundle's directory.
///
/// # Errors
/// When it cannot be read, or is not a valid bundle: with file, line and column.
pub fn load_bundle(dir: &Path) -> anyhow::Result<Bundle> {
    let mut files = BTreeMap::new();
    read_files(dir, dir, &mut files)?;
    let shown = dir.display();
    Bundle::load(&files)
        .with_context(|| format!("the policy bundle {shown} is not valid (`tally policy check {shown}`)"))
}

fn read_files(root: &Path, dir: &Path, files: &mut BTreeMap<String, Vec<u8>>) -> anyhow::Result<()> {
    let entries = std::fs::read_dir(dir).with_context(|| {
        format!("cannot read the policy bundle {}; name the directory that has bundle.toml", dir.display())
    })?;
    for entry in entries {
        let path = entry.context("cannot read the policy bundle")?.path();
        if path.is_dir() {
            read_files(root, &path, files)?;
            continue;
        }
        let size = path.metadata().with_context(|| format!("cannot read {}", path.display()))?.len();
        if size > BUNDLE_FILE_MAX_BYTES || files.len() >= BUNDLE_FILES_MAX {
            bail!("{} is too large for a policy bundle, or there are too many files", path.display());
        }
        let name = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned();
        let content = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        files.insert(name, content);
    }
    Ok(())
}

/// Everything that must hold before the node serves, and what of the log is to be checked while it does.
///
/// # Errors
/// A sentence for the operator.
pub async fn boot(config: Config) -> anyhow::Result<(Arc<Node>, Tls, Unread)> {
    let store = open_store(&config)?;
    let vaults = Vaults::new(store.clone());
    let store: Arc<dyn Store> = store;
    let First { bundle, begin } = first_bundle::find(&config, &*store)?;
    let bundle = Arc::new(bundle);
    let roster = Arc::new(bundle.roster().clone());
    let own = first_bundle::own(&config, &bundle)?.clone();
    first_bundle::same_cluster(&config, &bundle)?;
    let tls = Tls::load(&config.tls)?;
    if tls.spki_sha256()? != own.tls_spki_sha256 {
        bail!("the key of {} is not the one that the roster names for `{}`", config.tls.cert.display(), config.name);
    }
    // It starts all the same: what is wrong may be the clock, and a reload mends a certificate.
    if let Err(fault) = tls.check(&roster, &own) {
        tracing::error!(fault = format!("{fault:#}"), "peers and clients will refuse this node");
    }
    let metrics = Arc::new(Metrics::default());
    let hsm = token::connect(&config).context("cannot use the token")?;
    let hsm: Arc<dyn Hsm> = Arc::new(Metered::new(hsm, metrics.clone()));
    if hsm.identity() != own.identity {
        bail!("the token's identity key is not the one that the roster names for `{}`", config.name);
    }
    let unread = log_check::begin(&*store, &config, &hsm.identity())?;
    let boot = Arc::new(incarnate(&config, &*store, &*hsm, &bundle, begin).await?);
    report_interrupted_checks(&*store, &boot).await?;
    let keys = Keys::load(&*store)?;
    let hsm_keys = HsmKeys::load(&*store)?;
    let keks = Keks::load(&*store)?;
    let freezes = Freezes::load(&*store)?;
    let signed = Signed::load(&*store).context("cannot read the end of the log")?;
    let peers = Peers::new(&config.name, &roster, &tls)?;
    let node = Node {
        config,
        bundles: Bundles::new(bundle),
        boot,
        store,
        hsm,
        keys,
        hsm_keys,
        keks,
        vaults,
        freezes,
        approvals: Approvals::default(),
        peers,
        sessions: Arc::default(),
        inflight: Arc::default(),
        placing: tokio::sync::Mutex::default(),
        holds: Arc::default(),
        lines: Lines::default(),
        named_lines: NamedLines::default(),
        written: Written::default(),
        checkpoints: Checkpointer::default(),
        admission: Arc::new(Admission::new(metrics.clone())),
        metrics,
        reload: LastReload::default(),
        signed,
        started_at: now(),
        recovering: AtomicBool::new(false),
    };
    node.checkpoints.note(&node).await.context("cannot sign a checkpoint of the log")?;
    node.peers.load_fences(&*node.store).context("cannot read what peers have shown")?;
    Ok((Arc::new(node), tls, unread))
}

fn open_store(config: &Config) -> anyhow::Result<Arc<SqliteStore>> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&config.data_dir)
        .with_context(|| format!("cannot make the data directory {}", config.data_dir.display()))?;
    let path = config.data_dir.join("tally.db");
    let store = SqliteStore::open(&path).with_context(|| format!("cannot open the store {}", path.display()))?;
    Ok(Arc::new(store))
}

/// Makes this node, which must be stopped, accept what a peer is now, after the peer was restored from an older copy.
///
/// # Errors
/// When the store is in use or cannot be written.
pub fn accept_restore(config: &Config, peer: &NodeName) -> anyhow::Result<()> {
    let path = config.data_dir.join("tally.db");
    let store = SqliteStore::open(&path).with_context(|| format!("cannot open the store {}", path.display()))?;
    let step = Step { writes: vec![Write::AcceptPeer { node: peer.clone() }], leaves: Vec::new() };
    let runtime = tokio::runtime::Builder::new_current_thread().build().context("cannot start the runtime")?;
    runtime.block_on(store.commit(step))?;
    Ok(())
}

/// The next start of this node, with a fresh boot key that the identity certifies.
async fn incarnate(
    config: &Config,
    store: &dyn Store,
    hsm: &dyn Hsm,
    bundle: &Bundle,
    begin: Option<(Write, Option<Vec<u8>>)>,
) -> anyhow::Result<BootIdentity> {
    let incarnation = Incarnation(store.incarnation()?.0 + 1);
    let mut seed = [0; 32];
    fresh_rng().fill_bytes(&mut seed);
    let uncertified = Uncertified::new(config.cluster.clone(), config.name.clone(), incarnation, &seed);
    let signature = hsm.sign_identity(uncertified.to_sign()).await.context("the token cannot sign as this node")?;
    let boot = uncertified.certified(hsm.identity().to_string(), signature);
    let leaf = boot.leaf(
        now(),
        What::Boot {
            boot_cert: boot.cert().clone(),
            bundle: bundle.digest(),
            version: env!("CARGO_PKG_VERSION").into(),
        },
    );
    let (mut writes, mut leaves) = (vec![Write::Incarnation(incarnation)], vec![leaf]);
    if let Some((begin, envelope)) = begin {
        writes.push(begin);
        let began = |envelope| boot.leaf(now(), What::Bundle(BundleEvent::Began { envelope }));
        leaves.extend(envelope.map(began));
    }
    store.commit(Step { writes, leaves }).await?;
    Ok(boot)
}

/// Checks of peers' messages that were going on when the node went down: each is written to the log for the operator,
/// because a peer that can crash a check learns what a failing one would tell it (S-3.16).
async fn report_interrupted_checks(store: &dyn Store, boot: &BootIdentity) -> anyhow::Result<()> {
    for check in store.pending_checks()? {
        let peers: Vec<_> = check.peers.iter().map(ToString::to_string).collect();
        tracing::warn!(key = %check.key, peers = peers.join(","), "a session was interrupted during its checks; if this recurs with one peer, treat it as an attack");
        let what = What::SessionFailed {
            request_id: None,
            what: "CHECK_INTERRUPTED".into(),
            culprit: None,
            missing: Vec::new(),
        };
        let writes = vec![Write::CheckDone { session: check.session }];
        store.commit(Step { writes, leaves: vec![boot.leaf(now(), what)] }).await?;
    }
    Ok(())
}
