//! Which policy bundle a node starts with: the one that was active when it stopped; at its first start the one that its
//! configuration pins (S-2.4); or a directory, in development.

use crate::boot::load_bundle;
use crate::bundles::BUNDLE_MAX_BYTES;
use crate::config::{Config, Mode, Policy};
use crate::node::now;
use anyhow::{Context as _, bail};
use std::io::Read as _;
use tally_domain::activation::BundleName;
use tally_domain::ports::store::{BundleWrite, Store, Write};
use tally_domain::roster::RosterNode;
use tally_policy::{Bundle, SignedBundle, Trust};

/// The bundle, and what is to be written down if the node begins with it.
pub struct First {
    /// What decides.
    pub bundle: Bundle,
    /// That it does.
    pub begin: Option<(Write, Option<Vec<u8>>)>,
}

/// Finds it.
///
/// # Errors
/// A sentence for the operator.
pub fn find(config: &Config, store: &dyn Store) -> anyhow::Result<First> {
    let kept = store.bundles()?;
    check_words(config)?;
    match (&config.policy, &config.bundle_dir) {
        (Some(policy), None) => match kept.iter().find(|row| row.previous.is_none()) {
            Some(first) if first.bundle.digest != policy.pinned.0 => bail!(
                "[policy] pins bundle {}, but this node began with {}: a node never changes its first bundle. Put the \
                     old pin back",
                policy.pinned.0,
                first.bundle.digest
            ),
            Some(_) => reopened(store),
            None => pinned(policy),
        },
        (None, Some(_)) if !kept.is_empty() => {
            bail!("this node has had signed policy bundles and does not go back to a directory: use [policy]")
        }
        (None, Some(dir)) => {
            let bundle = load_bundle(dir)?;
            let name = BundleName { version: bundle.version(), digest: bundle.digest() };
            let begin = Write::Bundle(BundleWrite::Begin { bundle: name, envelope: None, at: now() });
            Ok(First { bundle, begin: Some((begin, None)) })
        }
        _ => bail!(NEEDS_ONE),
    }
}

/// The bundle that the configuration names, as it would be at a first start; of a node that has started before, whatever its
/// times say today.
///
/// # Errors
/// A sentence for the operator.
pub fn configured(config: &Config) -> anyhow::Result<Bundle> {
    check_words(config)?;
    match (&config.policy, &config.bundle_dir) {
        (Some(policy), None) => {
            let pinned = policy.pinned.0;
            let trust = if has_run(config) { Trust::Reopened(pinned) } else { Trust::Pinned(pinned) };
            read_pinned(policy, trust).map(|(bundle, _)| bundle)
        }
        (None, Some(dir)) => load_bundle(dir),
        _ => bail!(NEEDS_ONE),
    }
}

/// Whether the node has started before.
pub fn has_run(config: &Config) -> bool {
    config.data_dir.join("tally.db").exists()
}

/// This node, as the roster of a bundle has it.
///
/// # Errors
/// A sentence for the operator.
pub fn own<'a>(config: &Config, bundle: &'a Bundle) -> anyhow::Result<&'a RosterNode> {
    let (roster, name) = (bundle.roster(), &config.name);
    roster.node(name).with_context(|| {
        let known: Vec<_> = roster.nodes.iter().map(|node| node.name.as_str()).collect();
        format!(
            "the roster of the policy bundle has no node `{name}`, only {}: correct `name`, or use the bundle of this node's \
             cluster",
            known.join(", ")
        )
    })
}

/// That the bundle is of this node's cluster.
///
/// # Errors
/// A sentence for the operator.
pub fn same_cluster(config: &Config, bundle: &Bundle) -> anyhow::Result<()> {
    let (theirs, ours) = (&bundle.roster().cluster, &config.cluster);
    if theirs != ours {
        bail!(
            "the roster is for cluster `{theirs}`, the configuration for `{ours}`: correct `cluster`, or use the bundle of \
             that cluster"
        );
    }
    Ok(())
}

const NEEDS_ONE: &str = "the configuration needs one of [policy] and, in development, `bundle_dir`";

/// What is for development only.
fn check_words(config: &Config) -> anyhow::Result<()> {
    if config.mode != Mode::Production {
        return Ok(());
    }
    if config.policy.as_ref().is_some_and(|policy| policy.delay_max.is_some()) {
        bail!("`delay_max` under [policy] is for `mode = \"development\"` only: remove it");
    }
    if config.policy.is_none() && config.bundle_dir.is_some() {
        bail!(
            "`bundle_dir` is a policy that nobody has signed: that is for `mode = \"development\"` only. Sign it with `tally \
             policy sign` and name the file and its digest under [policy]"
        );
    }
    Ok(())
}

/// The one that was active; its signatures were checked when it came.
fn reopened(store: &dyn Store) -> anyhow::Result<First> {
    let active = store.active_bundle()?.context("the store has policy bundles, and none is active")?;
    let bytes = store.bundle(&active.digest)?.context("the store does not have the active policy bundle")?;
    let signed = SignedBundle::from_bytes(&bytes).context("the active policy bundle in the store is damaged")?;
    let opened = signed.open(Trust::Reopened(active.digest), now());
    let bundle = opened.context("the active policy bundle in the store is damaged")?;
    Ok(First { bundle, begin: None })
}

fn pinned(policy: &Policy) -> anyhow::Result<First> {
    let (bundle, envelope) = read_pinned(policy, Trust::Pinned(policy.pinned.0))?;
    let name = BundleName { version: bundle.version(), digest: bundle.digest() };
    let begin = BundleWrite::Begin { bundle: name, envelope: Some(envelope.clone()), at: now() };
    Ok(First { bundle, begin: Some((Write::Bundle(begin), Some(envelope))) })
}

/// The file and what it holds.
fn read_pinned(policy: &Policy, trust: Trust<'_>) -> anyhow::Result<(Bundle, Vec<u8>)> {
    let path = policy.bundle.display();
    let file = std::fs::File::open(&policy.bundle).with_context(|| {
        format!("cannot read the policy bundle {path}; put it there, or correct `bundle` under [policy]")
    })?;
    let mut envelope = Vec::new();
    let read = file.take(BUNDLE_MAX_BYTES as u64 + 1).read_to_end(&mut envelope);
    read.with_context(|| format!("cannot read the policy bundle {path}"))?;
    if envelope.len() > BUNDLE_MAX_BYTES {
        bail!("the policy bundle {path} is larger than {BUNDLE_MAX_BYTES} bytes");
    }
    let signed = SignedBundle::from_bytes(&envelope).with_context(|| format!("{path} is no signed policy bundle"))?;
    let bundle = signed
        .open(trust, now())
        .with_context(|| {
            format!(
                "the policy bundle {path} is not the one that [policy] pins, or is not valid; compare the digest that `tally \
                 policy show {path}` prints with the other operators', then correct `pinned` or the file"
            )
        })?;
    Ok((bundle, envelope))
}
