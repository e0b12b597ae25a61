//! What one node has on its disk: the rules of the store port, in memory. A step that was not committed before a crash
//! is gone with the rest of the process; one that was is still here at the next start.

mod said;

use prost::Message as _;
use said::Said;
use std::collections::{BTreeMap, BTreeSet};
use tally_domain::boot::Statement;
use tally_domain::claim::{Claimant, Claims, LineMemory};
use tally_domain::key::KeyState;
use tally_domain::ports::store::{
    ApprovalRow, ApprovalWrite, AttemptId, AttemptRow, AttemptState, ClaimRequest, Conflict, FreezeWrite, RequestState,
    Step, WaitingRow, Write,
};
use tally_domain::{
    Attempt, Digest, Epoch, Freeze, Incarnation, KeyName, LineId, NodeName, PersonName, RequestId, Tenant,
};
use tally_signer::freeze::{Freezes, Frozen};

/// What names a request.
pub type RequestKey = (Tenant, RequestId);

/// A key as it is stored. Nothing is sealed here: there is no token to steal it from.
#[derive(Clone)]
pub struct StoredKey {
    /// Encoded record.
    pub record: Vec<u8>,
    /// The request that makes it.
    pub request: RequestId,
    /// This node's share.
    pub share: Vec<u8>,
    /// Pending or active.
    pub state: KeyState,
}

#[derive(Clone)]
struct StoredAttempt {
    statement: Option<Vec<u8>>,
    row: AttemptRow,
}

#[derive(Clone, Default)]
struct Tables {
    requests: BTreeMap<RequestKey, (ClaimRequest, RequestState)>,
    attempts: BTreeMap<(RequestKey, Attempt), StoredAttempt>,
    keys: BTreeMap<KeyName, StoredKey>,
    bans: BTreeSet<(KeyName, Epoch, NodeName)>,
    checks: BTreeSet<Digest>,
    lines: BTreeMap<LineId, LineMemory>,
    freezes: Freezes,
    said: Said,
    incarnation: u64,
}

/// One node's durable state and log.
#[derive(Clone, Default)]
pub struct Journal {
    tables: Tables,
    leaves: Vec<Vec<u8>>,
}

impl Journal {
    /// Applies a step as a whole or not at all.
    ///
    /// # Errors
    /// The rule that a write does not fit.
    pub fn commit(&mut self, step: Step) -> Result<(), Conflict> {
        let mut tables = self.tables.clone();
        step.writes.into_iter().try_for_each(|write| tables.apply(write))?;
        self.tables = tables;
        self.leaves.extend(step.leaves);
        Ok(())
    }

    /// One request.
    pub fn request(&self, key: &RequestKey) -> Option<&(ClaimRequest, RequestState)> {
        self.tables.requests.get(key)
    }

    /// All requests with their results, where they have one.
    pub fn results(&self) -> impl Iterator<Item = (&RequestKey, &[u8])> {
        self.tables.requests.iter().filter_map(|(key, (_, state))| match state {
            RequestState::Completed(bytes) => Some((key, bytes.as_slice())),
            RequestState::Received | RequestState::Refused(_) => None,
        })
    }

    /// The attempts at one request, in order.
    pub fn attempts(&self, key: &RequestKey) -> Vec<AttemptRow> {
        let of_it = self.tables.attempts.iter().filter(|((k, _), _)| k == key);
        of_it.map(|(_, stored)| stored.row.clone()).collect()
    }

    /// All attempts.
    pub fn all_attempts(&self) -> impl Iterator<Item = (&RequestKey, &AttemptRow)> {
        self.tables.attempts.iter().map(|((key, _), stored)| (key, &stored.row))
    }

    /// The vote that was cast in an attempt.
    pub fn vote(&self, key: &RequestKey, attempt: Attempt) -> Option<&[u8]> {
        self.tables.attempts.get(&(key.clone(), attempt))?.statement.as_deref()
    }

    /// What was released in an attempt.
    pub fn released(&self, key: &RequestKey, attempt: Attempt) -> Option<&[u8]> {
        match &self.tables.attempts.get(&(key.clone(), attempt))?.row.state {
            AttemptState::Released { partial, .. } => Some(partial),
            AttemptState::Voted(_) | AttemptState::Abandoned(_) => None,
        }
    }

    /// All keys.
    pub fn keys(&self) -> impl Iterator<Item = (&KeyName, &StoredKey)> {
        self.tables.keys.iter()
    }

    /// Whether a peer is banned for a key.
    pub fn banned(&self, key: &KeyName, epoch: Epoch, peer: &NodeName) -> bool {
        self.tables.bans.contains(&(key.clone(), epoch, peer.clone()))
    }

    /// Everyone who is banned.
    pub fn bans(&self) -> impl Iterator<Item = &NodeName> {
        self.tables.bans.iter().map(|(_, _, peer)| peer)
    }

    /// Freezes, in force and lifted.
    pub fn freezes(&self) -> &Freezes {
        &self.tables.freezes
    }

    /// A request that waits for persons.
    pub fn waiting(&self, key: &RequestKey) -> Option<&WaitingRow> {
        self.tables.said.waiting(key)
    }

    /// What persons have said of a request.
    pub fn said(&self, key: &RequestKey) -> Vec<ApprovalRow> {
        self.tables.said.of(key)
    }

    /// Who has rejected a request, if somebody has.
    pub fn rejected_by(&self, key: &RequestKey) -> Option<PersonName> {
        self.tables.said.rejected_by(key)
    }

    /// Checks of peers' messages that have begun and not ended.
    pub fn pending_checks(&self) -> usize {
        self.tables.checks.len()
    }

    /// What is remembered of a limit's line.
    pub fn line(&self, line: &LineId) -> LineMemory {
        self.tables.lines.get(line).cloned().unwrap_or_default()
    }

    /// The last start.
    pub fn incarnation(&self) -> Incarnation {
        Incarnation(self.tables.incarnation)
    }

    /// The log.
    pub fn leaves(&self) -> &[Vec<u8>] {
        &self.leaves
    }
}

impl Tables {
    fn apply(&mut self, write: Write) -> Result<(), Conflict> {
        match write {
            Write::ClaimRequest(claim) => self.claim(claim),
            Write::Refuse { tenant, request, reason, .. } => self.refuse(tenant, request, reason),
            Write::Vote { attempt, statement, body } => self.vote(attempt, statement, body),
            Write::Claim { by, claims } => self.take(&by, &claims),
            Write::Release { attempt, partial, certificate } => self.release(&attempt, partial, certificate),
            Write::Abandon { attempt, statement } => self.abandon(attempt, statement),
            Write::Complete { tenant, request, result, .. } => self.complete(tenant, request, result),
            Write::PutPendingKey { name, request, record, sealed_share, .. } => {
                let free = |k: &StoredKey| k.state == KeyState::Pending && k.request == request;
                if !self.keys.get(&name).is_none_or(free) {
                    return Err(Conflict::KeyExists);
                }
                self.keys.insert(name, StoredKey { record, request, share: sealed_share, state: KeyState::Pending });
                Ok(())
            }
            Write::ActivateKey { name, record, .. } => {
                let key = self.keys.get_mut(&name).filter(|k| k.record == record).ok_or(Conflict::NoKey)?;
                key.state = KeyState::Active;
                Ok(())
            }
            Write::Ban { key, epoch, peer, .. } => {
                self.bans.insert((key, epoch, peer));
                Ok(())
            }
            Write::CheckPending { session, .. } => {
                self.checks.insert(session);
                Ok(())
            }
            Write::CheckDone { session } => {
                self.checks.remove(&session);
                Ok(())
            }
            Write::Incarnation(next) if next.0 == self.incarnation + 1 => {
                self.incarnation = next.0;
                Ok(())
            }
            Write::Incarnation(_) => Err(Conflict::Backwards),
            Write::Freeze(write) => self.freeze(write),
            Write::PeerIncarnation { .. }
            | Write::Unclaim { .. }
            | Write::PeerHead { .. }
            | Write::FencePeer { .. }
            | Write::AcceptPeer { .. }
            | Write::Checkpoint { .. }
            // Keys in HSMs have one home, which signs and wraps alone: there is nothing here for schedules to disturb.
            | Write::Kek(_)
            | Write::PutHsmKey { .. }
            | Write::ActivateHsmKey { .. }
            // So have token domains.
            | Write::Vault(_)
            // Words for people.
            | Write::NameLine(_)
            // One bundle decides in all schedules.
            | Write::Bundle(_) => Ok(()),
            Write::Approval(write) => self.approval(write),
        }
    }

    fn refuse(&mut self, tenant: Tenant, request: RequestId, reason: String) -> Result<(), Conflict> {
        let ended = self.said.is_ended(&(tenant.clone(), request));
        let state = self.state(tenant, request)?;
        if !ended && !matches!(state, RequestState::Completed(_)) {
            *state = RequestState::Refused(reason);
        }
        Ok(())
    }

    fn complete(&mut self, tenant: Tenant, request: RequestId, result: Vec<u8>) -> Result<(), Conflict> {
        match self.state(tenant.clone(), request)? {
            RequestState::Completed(known) if *known == result => Ok(()),
            RequestState::Completed(_) => Err(Conflict::Completed),
            state => {
                *state = RequestState::Completed(result);
                self.said.forget(&(tenant, request));
                Ok(())
            }
        }
    }

    fn approval(&mut self, write: ApprovalWrite) -> Result<(), Conflict> {
        if let ApprovalWrite::NotRejected { tenant, request } = write {
            return self.said.not_rejected(&(tenant, request));
        }
        let (_, state) = self.requests.get_mut(&said::key_of(&write)).ok_or(Conflict::NoRequest)?;
        self.said.apply(write, state)
    }

    fn take(&mut self, by: &Claimant, claims: &Claims) -> Result<(), Conflict> {
        claims.lines().iter().try_for_each(|claim| {
            let (line, memory) = (claim.line(), self.lines.entry(claim.line()).or_default());
            let voted = memory.consider(by, claim, claims.issued_at());
            let voted = voted.map_err(|why| Conflict::Claim { line, why })?;
            memory.keep(voted, claim.window_ms());
            Ok(())
        })
    }

    fn freeze(&mut self, write: FreezeWrite) -> Result<(), Conflict> {
        match write {
            FreezeWrite::Put { name, statement, .. } => {
                let statement = Statement::decode(statement.as_slice()).expect("an own statement");
                let signed = statement.signed.as_ref().expect("a whole statement");
                let freeze = Freeze::from_bytes(&signed.payload).expect("a freeze");
                self.freezes.note(Frozen { by: name.by, freeze, statement });
            }
            FreezeWrite::Lift { lifts, .. } => lifts.into_iter().for_each(|name| self.freezes.note_lifted(name)),
            FreezeWrite::Unfrozen { key } => {
                let covering = self.freezes.in_force().find(|f| f.freeze.scope.covers(&key));
                if let Some(f) = covering {
                    return Err(Conflict::Frozen(f.name(), f.freeze.scope.clone()));
                }
            }
        }
        Ok(())
    }

    fn claim(&mut self, claim: ClaimRequest) -> Result<(), Conflict> {
        let key = (claim.tenant.clone(), claim.request);
        let ended = self.said.is_ended(&key);
        let (known, state) = self.requests.entry(key).or_insert_with(|| (claim.clone(), RequestState::Received));
        if known.intent_digest != claim.intent_digest {
            return Err(Conflict::RequestDigest);
        }
        if matches!(state, RequestState::Refused(_)) && !ended {
            *state = RequestState::Received;
        }
        Ok(())
    }

    fn state(&mut self, tenant: Tenant, request: RequestId) -> Result<&mut RequestState, Conflict> {
        self.requests.get_mut(&(tenant, request)).map(|(_, state)| state).ok_or(Conflict::NoRequest)
    }

    fn vote(&mut self, id: AttemptId, statement: Vec<u8>, body: Vec<u8>) -> Result<(), Conflict> {
        let at = ((id.tenant, id.request), id.attempt);
        self.said.not_rejected(&at.0)?;
        match self.attempts.get(&at) {
            Some(StoredAttempt { row: AttemptRow { state: AttemptState::Abandoned(_), .. }, .. }) => {
                Err(Conflict::Abandoned)
            }
            Some(stored) if stored.statement.as_ref() == Some(&statement) => Ok(()),
            Some(_) => Err(Conflict::Voted),
            None => {
                let state = AttemptState::Voted(statement.clone());
                let row = AttemptRow { attempt: id.attempt, vote_body: Some(body), state };
                self.attempts.insert(at, StoredAttempt { statement: Some(statement), row });
                Ok(())
            }
        }
    }

    fn release(&mut self, id: &AttemptId, partial: Vec<u8>, certificate: Vec<u8>) -> Result<(), Conflict> {
        let at = ((id.tenant.clone(), id.request), id.attempt);
        self.said.not_rejected(&at.0)?;
        let stored = self.attempts.get_mut(&at).ok_or(Conflict::NotVoted)?;
        match &stored.row.state {
            AttemptState::Abandoned(_) => Err(Conflict::Abandoned),
            AttemptState::Released { partial: known, .. } if *known == partial => Ok(()),
            AttemptState::Released { .. } => Err(Conflict::Released),
            AttemptState::Voted(_) => {
                stored.row.state = AttemptState::Released { partial, certificate };
                Ok(())
            }
        }
    }

    fn abandon(&mut self, id: AttemptId, statement: Vec<u8>) -> Result<(), Conflict> {
        let at = ((id.tenant, id.request), id.attempt);
        let abandoned = AttemptState::Abandoned(statement);
        match self.attempts.get_mut(&at) {
            None => {
                let row = AttemptRow { attempt: id.attempt, vote_body: None, state: abandoned };
                self.attempts.insert(at, StoredAttempt { statement: None, row });
                Ok(())
            }
            Some(stored) => match stored.row.state {
                AttemptState::Released { .. } => Err(Conflict::Released),
                AttemptState::Abandoned(_) => Ok(()),
                AttemptState::Voted(_) => {
                    stored.row.state = abandoned;
                    Ok(())
                }
            },
        }
    }
}
