//! `roster.toml`: who takes part. No name, key or certificate stands for two (S-3.20).

use super::admins::{AdminToml, Admins};
use super::reading::{self, NAME_FORM, Source, plain_name};
use crate::error::{BundleError, Problem};
use std::collections::BTreeSet;
use tally_domain::boot::Believed;
use tally_domain::dsse::VerifyingKey;
use tally_domain::quorum::{Quorum, Tolerance};
use tally_domain::roster::{NodeRole, Roster, RosterClient, RosterNode};
use tally_domain::{ClientId, ClusterId, NodeName, Tenant};
use toml::Spanned;

const KEY_FORM: &str = "`ed25519:` and 64 hex digits, or `p256:` and a compressed point in 66 hex digits";

const PUBLIC_KEY: &str = "public key";

/// Longest host name (RFC 1035) with a colon and a port.
const ADDRESS_MAX_BYTES: usize = 253 + 6;

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct RosterToml {
    cluster: Spanned<String>,
    /// Groups that may have no client yet.
    #[serde(default)]
    groups: Vec<Spanned<String>>,
    #[serde(default)]
    node: Vec<NodeToml>,
    #[serde(default)]
    client: Vec<ClientToml>,
    voting: Option<Spanned<VotingToml>>,
    #[serde(default)]
    admin: Vec<AdminToml>,
    /// How many admins sign the next bundle.
    admins_needed: Option<Spanned<usize>>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct VotingToml {
    faulty: u8,
    restored: u8,
}

/// What `roster.toml` says.
pub(crate) struct Loaded {
    pub(crate) roster: Roster,
    /// Every group that a rule can name: those of clients and those of the top-level `groups`.
    pub(crate) groups: BTreeSet<String>,
    pub(crate) admins: Admins,
    /// Every public key, as it is printed: nobody else may have one of them.
    pub(crate) keys: BTreeSet<String>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct NodeToml {
    name: Spanned<String>,
    role: Spanned<String>,
    address: Spanned<String>,
    identity: Spanned<String>,
    tls_spki_sha256: Spanned<String>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct ClientToml {
    id: Spanned<String>,
    tenant: Spanned<String>,
    intent_key: Spanned<String>,
    tls_spki_sha256: Vec<Spanned<String>>,
    #[serde(default)]
    groups: Vec<Spanned<String>>,
}

/// Reads the file.
pub(crate) fn load(file: &str, text: &str) -> Result<Loaded, BundleError> {
    let rows: RosterToml = reading::toml(file, text)?;
    let mut reader = Reader { source: Source { file, text }, seen: BTreeSet::new() };
    let cluster = reader.name(&rows.cluster, "cluster", |s| ClusterId::parse(s).ok())?;
    let nodes = rows.node.iter().map(|n| reader.node(n)).collect::<Result<Vec<_>, _>>()?;
    let clients = rows.client.iter().map(|c| reader.client(c)).collect::<Result<Vec<_>, _>>()?;
    let named = rows.groups.iter().map(|g| reader.name(g, "group", plain_name)).collect::<Result<Vec<_>, _>>()?;
    let groups = clients.iter().flat_map(|c| c.groups.iter().cloned()).chain(named).collect();
    let tolerance = reader.tolerance(rows.voting.as_ref(), &nodes)?;
    let needed = rows.admins_needed.as_ref();
    let admins = Admins::load(&Source { file, text }, &rows.admin, needed, |given| reader.key(given))?;
    let keys = reader.seen.into_iter().filter(|(what, _)| *what == PUBLIC_KEY).map(|(_, key)| key).collect();
    Ok(Loaded {
        roster: Roster { cluster, nodes, clients, tolerance, boots: Believed::default() },
        groups,
        admins,
        keys,
    })
}

struct Reader<'a> {
    source: Source<'a>,
    seen: BTreeSet<(&'static str, String)>,
}

impl Reader<'_> {
    fn node(&mut self, row: &NodeToml) -> Result<RosterNode, BundleError> {
        Ok(RosterNode {
            name: {
                self.once("node", &row.name, row.name.get_ref())?;
                self.name(&row.name, "node name", |s| NodeName::parse(s).ok())?
            },
            role: self.source.value(&row.role, "role", "`signer` or `witness`", NodeRole::parse)?,
            address: self.source.value(&row.address, "address", "host:port", host_and_port)?,
            identity: self.key(&row.identity)?,
            tls_spki_sha256: self.spki(&row.tls_spki_sha256)?,
        })
    }

    /// A tolerance that no quorum of these nodes has would leave every limited key unable to sign.
    fn tolerance(&self, row: Option<&Spanned<VotingToml>>, nodes: &[RosterNode]) -> Result<Tolerance, BundleError> {
        let signers = nodes.iter().filter(|n| n.role == NodeRole::Signer).count();
        let Some(row) = row else { return Ok(Tolerance::usual(signers, nodes.len())) };
        let VotingToml { faulty, restored } = *row.get_ref();
        let tolerance = Tolerance { faulty, restored };
        if Quorum::new(nodes.iter().map(|n| n.name.clone()).collect(), tolerance).spare().is_some() {
            return Ok(tolerance);
        }
        let given = format!("faulty = {faulty}, restored = {restored}");
        let want = "together fewer than the nodes";
        Err(self.source.error(row, Problem::Value { what: "tolerance", given, want }))
    }

    fn client(&mut self, row: &ClientToml) -> Result<RosterClient, BundleError> {
        Ok(RosterClient {
            id: {
                self.once("client", &row.id, row.id.get_ref())?;
                self.name(&row.id, "client", |s| ClientId::parse(s).ok())?
            },
            tenant: self.name(&row.tenant, "tenant", |s| Tenant::parse(s).ok())?,
            intent_key: self.key(&row.intent_key)?,
            tls_spki_sha256: row.tls_spki_sha256.iter().map(|s| self.spki(s)).collect::<Result<_, _>>()?,
            groups: row.groups.iter().map(|g| self.name(g, "group", plain_name)).collect::<Result<_, _>>()?,
        })
    }

    fn name<T>(
        &self,
        given: &Spanned<String>,
        what: &'static str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T, BundleError> {
        self.source.value(given, what, NAME_FORM, read)
    }

    fn key(&mut self, given: &Spanned<String>) -> Result<VerifyingKey, BundleError> {
        let key = self.source.value(given, PUBLIC_KEY, KEY_FORM, |s| VerifyingKey::parse(s).ok())?;
        // Compared as it is printed: hex digits may come in either case.
        self.once(PUBLIC_KEY, given, &key.to_string())?;
        Ok(key)
    }

    fn spki(&mut self, given: &Spanned<String>) -> Result<String, BundleError> {
        let spki = self.source.value(given, "SHA-256", "64 hex digits", |s| {
            (s.len() == 64 && s.bytes().all(|b| b.is_ascii_hexdigit())).then(|| s.to_ascii_lowercase())
        })?;
        self.once("certificate", given, &spki)?;
        Ok(spki)
    }

    fn once(&mut self, what: &'static str, at: &Spanned<String>, value: &str) -> Result<(), BundleError> {
        if self.seen.insert((what, value.to_owned())) {
            return Ok(());
        }
        Err(self.source.error(at, Problem::Duplicate { what, value: value.into() }))
    }
}

fn host_and_port(text: &str) -> Option<String> {
    let (host, port) = text.rsplit_once(':')?;
    let port: u16 = port.parse().ok()?;
    let plain = host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b':' | b'[' | b']'));
    (!host.is_empty() && plain && port != 0 && text.len() <= ADDRESS_MAX_BYTES).then(|| text.to_owned())
}
