//! `SIGHUP`: the files of `[tls]` are read again. What does not check changes nothing, and is shown until it does.

use crate::boot::load_bundle;
use crate::metrics::names::RELOAD_FAILED;
use crate::node::{Node, now};
use crate::tls::Tls;
use std::sync::{Arc, Mutex, PoisonError};
use tally_domain::UnixMillis;
use tokio::signal::unix::{SignalKind, signal};

/// How a reload ended.
#[derive(Debug, Clone)]
pub struct Reloaded {
    /// When.
    pub at: UnixMillis,
    /// Why what was there before stays in use; nothing, if the new files are in use.
    pub fault: Option<String>,
}

/// The last reload.
#[derive(Default)]
pub struct LastReload(Mutex<Option<Reloaded>>);

impl LastReload {
    /// How it ended, if there was one since the start.
    pub fn get(&self) -> Option<Reloaded> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Reloads whenever the process is told to.
pub async fn on_hangup(node: Arc<Node>, tls: Tls) {
    let mut told = match signal(SignalKind::hangup()) {
        Ok(told) => told,
        Err(error) => return tracing::warn!(%error, "SIGHUP will end this process: it cannot be listened for"),
    };
    while told.recv().await.is_some() {
        let (of, tls) = (node.clone(), tls.clone());
        // Files are read on a thread for that.
        let _ = tokio::task::spawn_blocking(move || reload(&of, &tls)).await;
    }
}

fn reload(node: &Node, tls: &Tls) {
    let bundle = node.bundle();
    let outcome = tls.reload(bundle.roster(), node.name()).and_then(|()| same_directory(node));
    let fault = outcome.err().map(|error| format!("{error:#}"));
    match &fault {
        None => tracing::info!("reloaded: new connections use the new certificates"),
        Some(fault) => tracing::error!(fault, "reload refused: what was there before stays in use"),
    }
    node.metrics.set(&RELOAD_FAILED, &[], f64::from(u8::from(fault.is_some())));
    *node.reload.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Reloaded { at: now(), fault });
}

/// A bundle, and the roster in it, is changed by those who may sign one, not by a file; a directory is for development.
fn same_directory(node: &Node) -> anyhow::Result<()> {
    let Some(dir) = &node.config.bundle_dir else { return Ok(()) };
    if load_bundle(dir)?.digest() != node.bundle().digest() {
        anyhow::bail!(
            "the certificates are in use, but {} has changed and is not: a directory is read at the start only. Signed \
             bundles change clients, persons and rules while nodes run (`tally policy propose`)",
            dir.display()
        );
    }
    Ok(())
}
