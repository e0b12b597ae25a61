//! `tallyd --check-config`: everything that can be known to be wrong without starting, all at once, each with what to do.
//!
//! The token is not logged in to: a wrong PIN counts there. `tally hsm doctor` tries it.

use crate::config::{self, Config, Isolation};
use crate::first_bundle;
use crate::rpc;
use crate::tls::{self, Tls};
use crate::token;
use anyhow::{Context as _, anyhow, ensure};
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use tally_hsm_adapter::PinSource;
use tally_policy::Bundle;

/// Faults of a configuration, each a sentence; none if it is good.
pub fn faults(file: &Path) -> Vec<String> {
    let config = match Config::load(file) {
        Ok(config) => config,
        // What is not read cannot be checked.
        Err(error) => return vec![format!("{error:#}")],
    };
    let read = first_bundle::configured(&config);
    let bundle = read.as_ref().ok();
    let mut outcomes = vec![config.log.filter().map(drop), data_dir(&config.data_dir)];
    outcomes.extend(listeners(&config));
    outcomes.push(read.as_ref().map(drop).map_err(|error| anyhow!("{error:#}")));
    outcomes.extend(bundle.into_iter().flat_map(|bundle| {
        [first_bundle::same_cluster(&config, bundle), first_bundle::own(&config, bundle).map(drop)]
    }));
    outcomes.extend(certificates(&config, bundle));
    outcomes.extend(tokens(&config));
    outcomes.extend(config.rpc.as_ref().map(|rpc| endpoint(&config, rpc, bundle)));
    outcomes.into_iter().filter_map(Result::err).map(|error| format!("{error:#}")).collect()
}

/// Made at the start if it is not there; but then where it is to be must be there.
fn data_dir(dir: &Path) -> anyhow::Result<()> {
    let there = dir.ancestors().find(|dir| dir.exists()).unwrap_or(Path::new("/"));
    let (shown, there_shown) = (dir.display(), there.display());
    ensure!(
        there.is_dir(),
        "`data_dir` {shown} cannot be made, because {there_shown} is no directory: name another directory"
    );
    let writable = rustix::fs::access(there, rustix::fs::Access::WRITE_OK);
    writable.with_context(|| {
        format!(
            "`data_dir` {shown}: this user cannot write in {there_shown}; make the directory, and give it to this user"
        )
    })
}

/// Each address is this machine's, and no two are the same. Whether a port is free is seen at the start: a node that runs has it.
fn listeners(config: &Config) -> Vec<anyhow::Result<()>> {
    let metrics = config.metrics.as_ref().map(|metrics| ("metrics.listen", metrics.listen));
    let rpc = config.rpc.as_ref().map(|rpc| ("rpc.listen", rpc.listen));
    let all: Vec<_> = [Some(("listen", config.listen)), metrics, rpc].into_iter().flatten().collect();
    let pairs = all.iter().enumerate().flat_map(|(i, one)| all.iter().skip(i + 1).map(move |other| (one, other)));
    let apart = pairs.map(|((one, address), (other, same))| {
        // With port 0 the system picks one that is free.
        ensure!(
            address != same || address.port() == 0,
            "`{one}` and `{other}` are both {address}: give each a port of its own"
        );
        Ok(())
    });
    let own = all.iter().map(|(name, address)| is_own(name, *address));
    apart.chain(own).collect()
}

fn is_own(name: &str, address: SocketAddr) -> anyhow::Result<()> {
    let bound = TcpListener::bind((address.ip(), 0));
    let foreign = bound.is_err_and(|error| error.kind() == ErrorKind::AddrNotAvailable);
    let ip = address.ip();
    ensure!(
        !foreign,
        "`{name}` is {address}, and this machine has no address {ip}: use one that it has, or 0.0.0.0 for all"
    );
    Ok(())
}

/// Each file by itself; and what they are together, once each is there.
fn certificates(config: &Config, bundle: Option<&Bundle>) -> Vec<anyhow::Result<()>> {
    let files = &config.tls;
    let each = [
        tls::certificates(&files.ca, "ca").map(drop),
        tls::certificates(&files.cert, "cert").map(drop),
        tls::check_private(&files.key).context("[tls] `key`"),
    ];
    if each.iter().any(Result::is_err) {
        return each.into();
    }
    let own = bundle.map(Bundle::roster).and_then(|roster| Some((roster, roster.node(&config.name)?)));
    vec![Tls::load(files).and_then(|tls| own.map_or(Ok(()), |(roster, own)| tls.check(roster, own)))]
}

fn tokens(config: &Config) -> Vec<anyhow::Result<()>> {
    let hsm = &config.hsm;
    let mut outcomes = vec![
        module("[hsm] `module`", &hsm.module),
        softhsm("[hsm]", &hsm.env),
        pin("[hsm]", &hsm.pin()),
        token::profile(hsm.profile.as_deref()).map(drop),
    ];
    if hsm.isolation == Isolation::Process {
        outcomes.push(tally_hsm_adapter::beside_this_program().map_err(anyhow::Error::from).and_then(|program| {
            let todo = "install `hsmd` beside `tallyd`, or set `isolation = \"thread\"` under [hsm]";
            file_is_there("the module's own process", &program, todo)
        }));
    }
    if let Some(standby) = &hsm.standby {
        outcomes.push(module("[hsm.standby] `module`", &standby.module));
        outcomes.extend(standby.env.as_ref().map(|env| softhsm("[hsm.standby]", env)));
        outcomes.push(pin("[hsm.standby]", &standby.pin()));
        outcomes.push(token::profile(standby.profile.as_deref()).map(drop));
    }
    outcomes
}

/// A library that has the one function by which a PKCS#11 module is entered. It is not loaded: that would run it.
fn module(what: &str, path: &Path) -> anyhow::Result<()> {
    file_is_there(what, path, "install the PKCS#11 module, or correct the path")?;
    let shown = path.display();
    let library = std::fs::read(path).with_context(|| format!("{what}: cannot read {shown}"))?;
    // Names of functions stand in a library as they are.
    let named = library.windows(ENTRY.len()).any(|at| at == ENTRY);
    ensure!(
        named,
        "{what}: {shown} is no PKCS#11 module, because it has no function C_GetFunctionList: correct the path"
    );
    Ok(())
}

/// PKCS#11, 5.2.
const ENTRY: &[u8] = b"C_GetFunctionList";

/// Without its file SoftHSM goes on with the system's tokens. Of other modules it is not known what their variables name.
fn softhsm(section: &str, env: &BTreeMap<String, PathBuf>) -> anyhow::Result<()> {
    let Some(file) = env.get("SOFTHSM2_CONF") else { return Ok(()) };
    file_is_there(&format!("{section} `env`"), file, "put SoftHSM's configuration there, or correct `SOFTHSM2_CONF`")
}

fn pin(section: &str, source: &anyhow::Result<PinSource>) -> anyhow::Result<()> {
    // A descriptor can be read once, and a credential is there only when systemd starts the node.
    let Ok(source @ PinSource::File(_)) = source else { return Ok(()) };
    let read = source.read().map(drop);
    read.map_err(|error| {
        anyhow!("{section}: {error}; `pin_file` is a file with one line, the PIN, that only its owner can read")
    })
}

/// A client that is not there yet may come with a later bundle, which only a node that has run knows.
fn endpoint(config: &Config, rpc: &config::Rpc, bundle: Option<&Bundle>) -> anyhow::Result<()> {
    let key = rpc::intent_key(&rpc.intent_key).context("[rpc] `intent_key`")?;
    let may_be_later = config.policy.is_some() && first_bundle::has_run(config);
    let Some(bundle) = bundle.filter(|_| !may_be_later) else { return Ok(()) };
    let (client, shown) = (&rpc.client, rpc.intent_key.display());
    let known = bundle.roster().client(client).with_context(|| {
        format!("[rpc] `client`: the roster has no client `{client}`: correct the name, or have it added to the policy bundle")
    })?;
    ensure!(
        known.intent_key == key.verifying_key(),
        "[rpc] `intent_key`: {shown} is not the key that the roster names for client `{client}`: use that client's own file"
    );
    Ok(())
}

fn file_is_there(what: &str, path: &Path, todo: &str) -> anyhow::Result<()> {
    ensure!(path.is_file(), "{what}: {} is no file: {todo}", path.display());
    Ok(())
}
