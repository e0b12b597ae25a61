//! What one log says of keys: which it has given a name, and which are certified.

use super::Walk;
use crate::verify::finding::Problem;
use crate::verify::ledger::Fact;
use std::rc::Rc;
use tally_domain::HsmKeyRecord;
use tally_domain::hsm_key::HsmKeyCertificate;
use tally_domain::key::{KeyCertificate, KeyRecord};

impl Walk<'_> {
    pub(super) fn key_pending(&mut self, record: &[u8]) -> Result<(), Problem> {
        let record = KeyRecord::from_bytes(record).map_err(Problem::Key)?;
        if record.cluster != self.roster.cluster {
            return Err(Problem::OtherCluster { key: record.name });
        }
        if record.party(&self.report.node).is_none() {
            return Err(Problem::NotAParticipant { key: record.name });
        }
        Ok(())
    }

    pub(super) fn key_active(&mut self, certificate: &KeyCertificate) -> Result<(), Problem> {
        let record = certificate.open(self.roster).map_err(Problem::Key)?;
        if record.cluster != self.roster.cluster {
            return Err(Problem::OtherCluster { key: record.name });
        }
        self.keys.insert(record.name.clone());
        self.fact(Fact::Key { record: Rc::new(record) });
        Ok(())
    }

    pub(super) fn hsm_key_pending(&mut self, record: &[u8]) -> Result<(), Problem> {
        let record = HsmKeyRecord::from_bytes(record).map_err(Problem::Key)?;
        if record.cluster != self.roster.cluster {
            return Err(Problem::OtherCluster { key: record.name });
        }
        let voter = self.report.node.clone();
        self.fact(Fact::Name { voter, record: Rc::new(record) });
        Ok(())
    }

    pub(super) fn hsm_key_active(&mut self, certificate: &HsmKeyCertificate) -> Result<(), Problem> {
        let record = Rc::new(certificate.open(self.roster).map_err(Problem::Key)?);
        for statement in &certificate.statements {
            let (voter, _) = HsmKeyRecord::open(statement, self.roster).map_err(Problem::Key)?;
            self.fact(Fact::Name { voter, record: Rc::clone(&record) });
        }
        self.keys.insert(record.name.clone());
        self.fact(Fact::HsmKey { record });
        Ok(())
    }
}
