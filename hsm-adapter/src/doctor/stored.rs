//! Keys that are stored on the token, where that was ordered.

use super::attributes::{not_as_asked, sealing};
use super::patient::Patient;
use super::{Finding, Verdict, found};
use crate::fault::Fault;
use cryptoki::object::{Attribute, ObjectHandle};

pub fn keys(patient: &Patient<'_>) -> Result<Vec<Finding>, Fault> {
    let template = sealing(patient, true);
    let key = patient.generated(&template)?;
    let elsewhere = patient.call("C_OpenSession", |_| patient.context.open_rw_session(patient.slot))?;
    let label = [Attribute::Label(patient.label.clone().into())];
    let seen = patient.call("C_FindObjects", |_| elsewhere.find_objects(&label))?;
    let wrong = not_as_asked(patient, key, &template)?;
    patient.clear()?;
    let left = patient.call("C_FindObjects", |_| elsewhere.find_objects(&label))?;
    patient.call("C_CloseSession", |_| elsewhere.close())?;
    Ok(vec![if seen.len() != 1 || !wrong.is_empty() {
        found(Verdict::Wrong, format!("another session sees {} of one key; not as asked: {wrong:?}", seen.len()))
            .so("do not use this token: keys are not what they were made as")
    } else if !left.is_empty() {
        found(Verdict::Wrong, "a key that was destroyed is still found").so("do not use this token: it shreds nothing")
    } else {
        found(Verdict::Ok, "a stored key is found by other sessions, has its attributes, and can be destroyed")
    }])
}

/// Removes what an examination that was cut short has left behind, by its label.
pub fn sweep(patient: &Patient<'_>) -> Result<(), Fault> {
    let label = [Attribute::Label(patient.label.clone().into()), Attribute::Token(true)];
    let left: Vec<ObjectHandle> = patient.call("C_FindObjects", |s| s.find_objects(&label))?;
    left.into_iter().try_for_each(|object| patient.call("C_DestroyObject", |s| s.destroy_object(object)))
}
