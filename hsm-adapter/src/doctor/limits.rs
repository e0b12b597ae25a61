//! How many sessions, and how fast.

use super::patient::Patient;
use super::signing::pair;
use super::{Finding, Verdict, found};
use crate::config::WORKERS_MAX;
use crate::fault::Fault;
use crate::resident;
use crate::seal::encrypt;
use cryptoki::object::{Attribute, ObjectClass};
use tally_domain::HsmScheme;

/// A worker, the keeper of the login, and one to prove new keys on.
const SESSIONS_MIN: usize = 3;

pub fn sessions(patient: &Patient<'_>) -> Result<Vec<Finding>, Fault> {
    let said: Option<u64> = patient.info.max_rw_session_count().into();
    let most = usize::try_from(WORKERS_MAX).unwrap_or(usize::MAX);
    let mut open = Vec::new();
    while open.len() < most {
        match patient.ask("C_OpenSession", |_| patient.context.open_rw_session(patient.slot)) {
            Ok(session) => open.push(session),
            Err(_) => break,
        }
    }
    // With the one that all checks run on.
    let count = open.len() + 1;
    for session in open {
        patient.ask("C_CloseSession", |_| session.close())?;
    }
    let said = said.map_or_else(|| "no limit".into(), |n| format!("a limit of {n}"));
    let what = format!("{count} at the same time; the token says {said}");
    Ok(vec![if count < SESSIONS_MIN {
        found(Verdict::Failed, what).so("a node needs three at least: close what else uses the token")
    } else if count <= most {
        found(Verdict::Differs, what).so("set `workers` to two less than this at most")
    } else {
        found(Verdict::Ok, what)
    }])
}

pub fn timing(patient: &Patient<'_>) -> Result<Vec<Finding>, Fault> {
    let key = patient.aes(&[Attribute::Encrypt(true), Attribute::Sensitive(true), Attribute::Extractable(false)])?;
    let (signing, id) = pair(patient, HsmScheme::EcdsaP256)?;
    let wanted = [Attribute::Class(ObjectClass::PRIVATE_KEY), Attribute::Id(id.0.to_vec())];
    let find = patient.time("C_FindObjects", |s| s.find_objects(&wanted))?;
    let seal = patient.time("C_Encrypt", |s| {
        encrypt(s, key, &mut [3; 12], b"aad", &[7; 32]).map_err(|_| cryptoki::error::Error::InvalidValue)
    })?;
    let sign = patient.time("C_Sign", |s| {
        resident::sign(s, signing, HsmScheme::EcdsaP256, &[7; 32]).map_err(|_| cryptoki::error::Error::InvalidValue)
    })?;
    let [find, seal, sign] = [find, seal, sign].map(|took| took.as_micros());
    let what = format!("find {find} us, AES-GCM of 32 bytes {seal} us, ECDSA P-256 {sign} us (the half is faster)");
    Ok(vec![found(Verdict::Ok, what)])
}
