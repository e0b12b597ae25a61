//! What waits for persons and what they have said, by the rules of the store.

use super::RequestKey;
use std::collections::{BTreeMap, BTreeSet};
use tally_domain::PersonName;
use tally_domain::approval::Verdict;
use tally_domain::ports::store::{ApprovalRow, ApprovalWrite, Conflict, RequestState, WaitingRow};

#[derive(Clone, Default)]
pub(super) struct Said {
    waiting: BTreeMap<RequestKey, WaitingRow>,
    said: BTreeMap<RequestKey, BTreeMap<(PersonName, u32), ApprovalRow>>,
    cancelled: BTreeSet<RequestKey>,
}

impl Said {
    pub(super) fn waiting(&self, key: &RequestKey) -> Option<&WaitingRow> {
        self.waiting.get(key)
    }

    pub(super) fn of(&self, key: &RequestKey) -> Vec<ApprovalRow> {
        self.said.get(key).into_iter().flat_map(|rows| rows.values().cloned()).collect()
    }

    pub(super) fn rejected_by(&self, key: &RequestKey) -> Option<PersonName> {
        let rows = self.said.get(key)?.values();
        rows.filter(|row| row.verdict == Verdict::Reject).map(|row| row.person.clone()).next()
    }

    /// Whether a person or its client has ended it for good.
    pub(super) fn is_ended(&self, key: &RequestKey) -> bool {
        self.not_rejected(key).is_err()
    }

    pub(super) fn not_rejected(&self, key: &RequestKey) -> Result<(), Conflict> {
        match self.rejected_by(key) {
            Some(person) => Err(Conflict::Rejected(person)),
            None if self.cancelled.contains(key) => Err(Conflict::Cancelled),
            None => Ok(()),
        }
    }

    pub(super) fn forget(&mut self, key: &RequestKey) {
        self.waiting.remove(key);
    }

    /// `state` is that of the request, which is claimed.
    pub(super) fn apply(&mut self, write: ApprovalWrite, state: &mut RequestState) -> Result<(), Conflict> {
        let is_done = matches!(state, RequestState::Completed(_));
        match write {
            ApprovalWrite::Await(_) if is_done => {}
            ApprovalWrite::Await(row) => {
                let key = (row.tenant.clone(), row.request);
                self.not_rejected(&key)?;
                *state = RequestState::Received;
                self.waiting.insert(key, row);
            }
            ApprovalWrite::Put(row) => {
                let key = (row.tenant.clone(), row.request);
                let of_person = (row.person.clone(), row.verdict.number());
                let rows = self.said.entry(key.clone()).or_default();
                if row.verdict == Verdict::Reject {
                    rows.entry(of_person).or_insert(row);
                    if !is_done {
                        *state = RequestState::Refused(tally_domain::Reason::Rejected.as_str().into());
                    }
                    return Ok(());
                }
                self.not_rejected(&key)?;
                self.said.entry(key).or_default().insert(of_person, row);
            }
            ApprovalWrite::Cancel(_) if is_done => return Err(Conflict::Completed),
            ApprovalWrite::Cancel(row) => {
                let key = (row.tenant, row.request);
                if self.rejected_by(&key).is_none() {
                    *state = RequestState::Refused(tally_domain::Reason::Cancelled.as_str().into());
                }
                self.cancelled.insert(key);
            }
            ApprovalWrite::End { tenant, request, .. } => self.forget(&(tenant, request)),
            ApprovalWrite::NotRejected { tenant, request } => self.not_rejected(&(tenant, request))?,
        }
        Ok(())
    }
}

/// The request that a write is about.
pub(super) fn key_of(write: &ApprovalWrite) -> RequestKey {
    match write {
        ApprovalWrite::Await(row) => (row.tenant.clone(), row.request),
        ApprovalWrite::Put(row) => (row.tenant.clone(), row.request),
        ApprovalWrite::Cancel(row) => (row.tenant.clone(), row.request),
        ApprovalWrite::End { tenant, request, .. } | ApprovalWrite::NotRejected { tenant, request } => {
            (tenant.clone(), *request)
        }
    }
}
