//! What a caller is shown of what belongs to tenants: its own tenant's. Clients of the group `auditors` are shown everything.

use super::is_auditor;
use crate::convert;
use crate::node::Node;
use tally_domain::freeze::Scope;
use tally_domain::roster::{Roster, RosterClient};
use tally_domain::{ClientId, KeyName, Tenant};
use tally_policy::LimitShown;
use tally_proto::v1;

/// Fields of a limit that tie what it counts to a tenant.
const TIES: [&str; 3] = ["key", "domain", "client"];

/// What one caller is shown.
pub struct Sees {
    tenant: Tenant,
    auditor: bool,
    /// The cluster has no other tenant's clients: what nothing ties to a tenant is this one's.
    alone: bool,
}

impl Sees {
    /// What a client of the roster is shown.
    pub fn of(client: &RosterClient, roster: &Roster) -> Self {
        let alone = roster.clients.iter().all(|other| other.tenant == client.tenant);
        Self { tenant: client.tenant.clone(), auditor: is_auditor(client), alone }
    }

    /// Whether it is shown what has this owner; none is one that this node does not know.
    pub fn owned_by(&self, owner: Option<&Tenant>) -> bool {
        self.auditor || owner.map_or(self.alone, |owner| *owner == self.tenant)
    }

    /// Whether it is shown what belongs to a key.
    pub fn key(&self, node: &Node, key: &KeyName) -> bool {
        self.owned_by(owner(node, key).as_ref())
    }

    /// Freezes in force that it is shown: of everything, and of its keys.
    pub fn freezes(&self, node: &Node) -> Vec<v1::Freeze> {
        let known = node.freezes.known();
        let shown = known.in_force().filter(|frozen| match &frozen.freeze.scope {
            Scope::All => true,
            Scope::Key(key) => self.key(node, key),
        });
        shown.map(convert::freeze_out).collect()
    }

    /// Whether it is shown a limit: one that counts together what tenants do tells each of them what the others have done.
    pub fn limit(&self, shown: &LimitShown, owner: impl Fn(&str, &str) -> Option<Tenant>) -> bool {
        let scope = shown.scope.iter().map(|(field, value)| (*field, value.as_str()));
        match self.ties(scope, owner) {
            Some(own) => own,
            None => self.all() || shown.by.iter().any(|field| TIES.contains(field)),
        }
    }

    /// Whether it is shown a line of a limit that it is shown.
    pub fn line(
        &self,
        shown: &LimitShown,
        by: &[(String, String)],
        owner: impl Fn(&str, &str) -> Option<Tenant>,
    ) -> bool {
        let scope = shown.scope.iter().map(|(field, value)| (*field, value.as_str()));
        let by = by.iter().map(|(field, value)| (field.as_str(), value.as_str()));
        self.ties(scope.chain(by), owner).unwrap_or_else(|| self.all())
    }

    fn all(&self) -> bool {
        self.owned_by(None)
    }

    /// Whether all that the fields name is the caller's; none when they name nobody's.
    fn ties<'a>(
        &self,
        fields: impl Iterator<Item = (&'a str, &'a str)>,
        owner: impl Fn(&str, &str) -> Option<Tenant>,
    ) -> Option<bool> {
        let ties = fields.filter(|(field, value)| TIES.contains(field) && !value.is_empty());
        ties.map(|(field, value)| self.owned_by(owner(field, value).as_ref())).reduce(|a, b| a && b)
    }
}

/// Whose key, KEK or token domain it is, as far as this node knows.
fn owner(node: &Node, key: &KeyName) -> Option<Tenant> {
    let threshold = node.keys.get(key).map(|held| held.record.tenant.clone());
    threshold.or_else(|| node.hsm_keys.get(key).map(|held| held.record.tenant.clone()))
}

/// Whose it is what a field of a limit names.
pub fn owner_of(node: &Node, field: &str, value: &str) -> Option<Tenant> {
    match field {
        "client" => {
            let id = ClientId::parse(value).ok()?;
            node.bundle().roster().client(&id).map(|client| client.tenant.clone())
        }
        _ => owner(node, &KeyName::parse(value).ok()?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tally_domain::LimitId;

    fn sees(tenant: &str, auditor: bool, alone: bool) -> Sees {
        Sees { tenant: Tenant::parse(tenant).unwrap(), auditor, alone }
    }

    fn limit(scope: &[(&'static str, &str)], by: &[&'static str]) -> LimitShown {
        LimitShown {
            id: LimitId::parse("daily").unwrap(),
            max: 10,
            decimals: None,
            window_ms: 1_000,
            scope: scope.iter().map(|(field, value)| (*field, (*value).to_owned())).collect(),
            by: by.to_vec(),
        }
    }

    /// `hot` and `payouts-1` are acme's, `cold` and `mallory-1` evilco's, and nobody knows of others.
    fn owner(_: &str, value: &str) -> Option<Tenant> {
        match value {
            "hot" | "payouts-1" => Tenant::parse("acme").ok(),
            "cold" | "mallory-1" => Tenant::parse("evilco").ok(),
            _ => None,
        }
    }

    fn by(fields: &[(&str, &str)]) -> Vec<(String, String)> {
        fields.iter().map(|(field, value)| ((*field).into(), (*value).into())).collect()
    }

    #[test]
    fn a_key_is_shown_to_its_tenant_and_to_auditors() {
        let acme = Tenant::parse("acme").unwrap();
        assert!(sees("acme", false, false).owned_by(Some(&acme)));
        assert!(!sees("evilco", false, false).owned_by(Some(&acme)));
        assert!(!sees("evilco", false, true).owned_by(Some(&acme)), "of a tenant that has no clients any more");
        assert!(sees("evilco", true, false).owned_by(Some(&acme)));
        assert!(!sees("acme", false, false).owned_by(None) && sees("acme", false, true).owned_by(None));
    }

    #[test]
    fn a_limit_on_what_a_tenant_has_is_shown_to_that_tenant() {
        for (field, value) in [("key", "hot"), ("domain", "hot"), ("client", "payouts-1")] {
            let shown = limit(&[(field, value)], &["to"]);
            let line = by(&[("to", "0x42")]);
            assert!(sees("acme", false, false).limit(&shown, owner));
            assert!(sees("acme", false, false).line(&shown, &line, owner));
            assert!(!sees("evilco", false, false).limit(&shown, owner));
            assert!(!sees("evilco", false, false).line(&shown, &line, owner));
            assert!(sees("evilco", true, false).line(&shown, &line, owner));
        }
    }

    #[test]
    fn of_a_limit_that_counts_each_key_a_tenant_is_shown_its_own_lines() {
        let shown = limit(&[("asset", "USDC")], &["key", "to"]);
        let (theirs, own) = (by(&[("key", "hot"), ("to", "0x42")]), by(&[("key", "cold"), ("to", "0x42")]));
        let evil = sees("evilco", false, false);
        assert!(evil.limit(&shown, owner) && evil.line(&shown, &own, owner));
        assert!(!evil.line(&shown, &theirs, owner));
        assert!(!evil.line(&shown, &by(&[("key", ""), ("to", "0x42")]), owner));
        assert!(!evil.line(&shown, &by(&[("key", "gone"), ("to", "0x42")]), owner));
        assert!(!evil.line(&shown, &by(&[("key", "cold"), ("client", "payouts-1")]), owner));
    }

    #[test]
    fn a_limit_that_tenants_share_is_shown_to_auditors_and_to_a_tenant_that_is_alone() {
        let (shown, line) = (limit(&[("list", "vendors")], &["to"]), by(&[("to", "0x42")]));
        let shows = |sees: Sees| (sees.limit(&shown, owner), sees.line(&shown, &line, owner));
        assert_eq!(shows(sees("evilco", false, false)), (false, false));
        assert_eq!(shows(sees("acme", false, false)), (false, false));
        assert_eq!(shows(sees("acme", true, false)), (true, true));
        assert_eq!(shows(sees("acme", false, true)), (true, true));
    }
}
