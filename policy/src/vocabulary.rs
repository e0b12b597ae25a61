//! The words of rules in Cedar's terms: the schema that we ship, and the entities of a bundle.

use crate::bundle::{Contracts, Listed, Lists};
use crate::error::Problem;
use cedar_policy::{Entities, Entity, EntityId, EntityTypeName, EntityUid, Schema};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::str::FromStr;
use tally_domain::roster::Roster;

/// What rules can speak about, as a Cedar schema, beside the functions of a bundle's own contracts.
pub const SCHEMA: &str = include_str!("schema.cedarschema");

/// The methods that facts have: functions that are called, and types of typed data. `transfer` is for native coins, too.
/// Coins that are sent along with a call have the method of the call.
pub(crate) const METHODS: &[&str] = &[
    "transfer",
    "transferFrom",
    "safeTransferFrom",
    "safeBatchTransferFrom",
    "approve",
    "permit",
    "setApprovalForAll",
    "multicall",
    "Permit",
    "PermitSingle",
    "PermitBatch",
    "PermitTransferFrom",
    "PermitBatchTransferFrom",
    "PermitWitnessTransferFrom",
    "PermitBatchWitnessTransferFrom",
];

/// Who can bear the charges of a payment (ISO 20022 `ChargeBearerType1Code`), or none where the file does not say.
pub(crate) const CHARGES: &[&str] = &["CRED", "DEBT", "SHAR", "SLEV", ""];

/// What can become of a KEK.
pub(crate) const KEK_CHANGES: &[&str] = &["create", "rotate", "disable", "enable", "destroy", "cancel", "replicate"];

/// What can be frozen ([`tally_domain::Scope::as_str`]).
pub(crate) const SCOPES: &[&str] = &["key", "all"];

/// The schema, read once, and its entity types.
pub(crate) struct Vocabulary {
    pub(crate) schema: Schema,
    /// The schema's text.
    pub(crate) text: String,
    client: EntityTypeName,
    group: EntityTypeName,
    key: EntityTypeName,
    domain: EntityTypeName,
    address: EntityTypeName,
    account: EntityTypeName,
    list: EntityTypeName,
    action: EntityTypeName,
}

impl Vocabulary {
    pub(crate) fn new(contracts: &Contracts) -> Result<Self, Problem> {
        let internal = |what| Problem::Internal { what };
        let text = format!("{SCHEMA}{}", contracts.schema());
        let (schema, _) = Schema::from_cedarschema_str(&text).map_err(|_| internal("schema"))?;
        let kind = |name| EntityTypeName::from_str(name).map_err(|_| internal("entity type"));
        Ok(Self {
            schema,
            text,
            client: kind("Client")?,
            group: kind("Group")?,
            key: kind("Key")?,
            domain: kind("Domain")?,
            address: kind("Address")?,
            account: kind("Account")?,
            list: kind("List")?,
            action: kind("Action")?,
        })
    }

    pub(crate) fn client(&self, id: &str) -> EntityUid {
        uid(&self.client, id)
    }

    pub(crate) fn key(&self, name: &str) -> EntityUid {
        uid(&self.key, name)
    }

    pub(crate) fn domain(&self, name: &str) -> EntityUid {
        uid(&self.domain, name)
    }

    pub(crate) fn address(&self, address: &str) -> EntityUid {
        uid(&self.address, address)
    }

    pub(crate) fn account(&self, account: &str) -> EntityUid {
        uid(&self.account, account)
    }

    pub(crate) fn action(&self, name: &str) -> EntityUid {
        uid(&self.action, name)
    }

    /// Whether the schema has this action.
    pub(crate) fn has_action(&self, name: &str) -> bool {
        self.schema.actions().any(|action| *action == self.action(name))
    }

    /// Clients in their groups, addresses and accounts in their lists. What is not here is in nothing.
    pub(crate) fn entities(
        &self,
        roster: &Roster,
        groups: &BTreeSet<String>,
        lists: &Lists,
    ) -> Result<Entities, Problem> {
        let mut lists_of: BTreeMap<&Listed, HashSet<EntityUid>> = BTreeMap::new();
        for (name, entries) in lists {
            for entry in entries {
                lists_of.entry(entry).or_default().insert(uid(&self.list, name));
            }
        }
        let listed = |entry: &Listed| match entry {
            Listed::Address(address) => self.address(address),
            Listed::Account(account) => self.account(account.as_str()),
        };
        let alone = |id| Entity::new_no_attrs(id, HashSet::new());
        let clients = roster.clients.iter().map(|c| {
            let parents = c.groups.iter().map(|g| uid(&self.group, g)).collect();
            Entity::new_no_attrs(self.client(c.id.as_str()), parents)
        });
        let all = clients
            .chain(groups.iter().map(|g| alone(uid(&self.group, g))))
            .chain(lists.keys().map(|l| alone(uid(&self.list, l))))
            .chain(lists_of.into_iter().map(|(entry, parents)| Entity::new_no_attrs(listed(entry), parents)));
        Entities::from_entities(all, Some(&self.schema)).map_err(|_| Problem::Internal { what: "entities" })
    }
}

fn uid(kind: &EntityTypeName, id: &str) -> EntityUid {
    EntityUid::from_type_name_and_id(kind.clone(), EntityId::new(id))
}
