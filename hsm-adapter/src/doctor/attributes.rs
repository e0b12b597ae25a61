//! Whether the token keeps to what its keys say of themselves.

use super::patient::Patient;
use super::{Finding, Verdict, found};
use crate::fault::Fault;
use crate::keys::Key;
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectHandle};
use tally_domain::ports::hsm::SealingKeyId;

/// What our sealing keys are made as, but in this session.
pub fn sealing(patient: &Patient<'_>, on_token: bool) -> Vec<Attribute> {
    let own = Key::Sealing(SealingKeyId(patient.id())).attributes();
    let mut template: Vec<_> = own
        .into_iter()
        .map(|attribute| match attribute {
            Attribute::Token(_) => Attribute::Token(on_token),
            Attribute::Label(_) => Attribute::Label(patient.label.clone().into()),
            other => other,
        })
        .collect();
    template.push(Attribute::ValueLen(32.into()));
    template
}

/// The attributes that are not as they were asked for.
pub fn not_as_asked(patient: &Patient<'_>, key: ObjectHandle, template: &[Attribute]) -> Result<Vec<String>, Fault> {
    let types: Vec<_> = template.iter().map(Attribute::attribute_type).collect();
    let given = patient.call("C_GetAttributeValue", |s| s.get_attributes(key, &types))?;
    Ok(template.iter().filter(|wanted| !given.contains(wanted)).map(|wanted| format!("{wanted:?}")).collect())
}

pub fn sealing_template(patient: &Patient<'_>) -> Result<Vec<Finding>, Fault> {
    let mut template = sealing(patient, false);
    let key = patient.generated(&template)?;
    template.extend([Attribute::Local(true), Attribute::AlwaysSensitive(true), Attribute::NeverExtractable(true)]);
    let wrong = not_as_asked(patient, key, &template)?;
    Ok(vec![if wrong.is_empty() {
        found(Verdict::Ok, "a key has the attributes that it was asked for")
    } else {
        found(Verdict::Wrong, format!("a key has not what it was asked for: {}", wrong.join(", ")))
            .so("a node refuses such keys: look for a policy of the token that overrides them")
    }])
}

pub fn defaults(patient: &Patient<'_>) -> Result<Vec<Finding>, Fault> {
    let key = patient.aes(&[])?;
    let types = [
        AttributeType::Sensitive,
        AttributeType::Extractable,
        AttributeType::Modifiable,
        AttributeType::Encrypt,
        AttributeType::Wrap,
    ];
    let given = patient.call("C_GetAttributeValue", |s| s.get_attributes(key, &types))?;
    let what = format!("where nothing is asked for: {given:?}");
    let safe = [Attribute::Sensitive(true), Attribute::Extractable(false)].iter().all(|a| given.contains(a));
    Ok(vec![if safe {
        found(Verdict::Ok, what)
    } else {
        found(Verdict::Differs, what).so("nothing for a node, which asks for everything; other programs may not")
    }])
}

fn usual(patient: &Patient<'_>, more: &[Attribute]) -> Result<ObjectHandle, Fault> {
    let usage = [Attribute::Encrypt(true), Attribute::Sensitive(true), Attribute::Extractable(false)];
    patient.aes(&[&usage, more].concat())
}

/// What should have been refused.
fn accepted(what: &str) -> Finding {
    found(Verdict::Wrong, what).so("do not use this token: its keys are not what they say")
}

pub fn extractable(patient: &Patient<'_>) -> Result<Vec<Finding>, Fault> {
    let key = usual(patient, &[Attribute::Modifiable(true)])?;
    let mut findings = Vec::new();
    for (weaker, what) in [
        (Attribute::Extractable(true), "a key that could not be extracted can be now"),
        (Attribute::Sensitive(false), "a key that was sensitive is no more"),
    ] {
        let changed = patient.ask("C_SetAttributeValue", |s| s.update_attributes(key, std::slice::from_ref(&weaker)));
        let copied = patient.ask("C_CopyObject", |s| s.copy_object(key, std::slice::from_ref(&weaker)));
        if let Ok(copy) = copied {
            patient.keep(Ok(copy))?;
        }
        // A module may say yes and change nothing.
        let weak = |key| Ok::<_, Fault>(not_as_asked(patient, key, std::slice::from_ref(&weaker))?.is_empty());
        if (changed.is_ok() && weak(key)?) || copied.is_ok_and(|copy| weak(copy).unwrap_or(true)) {
            findings.push(accepted(what));
        }
    }
    let read = patient.ask("C_GetAttributeValue", |s| s.get_attributes(key, &[AttributeType::Value]));
    if read.is_ok_and(|values| !values.is_empty()) {
        findings.push(accepted("the value of a sensitive key can be read"));
    }
    if findings.is_empty() {
        findings.push(found(Verdict::Ok, "neither changing nor copying makes a key weaker"));
    }
    Ok(findings)
}

pub fn modifiable(patient: &Patient<'_>) -> Result<Vec<Finding>, Fault> {
    let key = usual(patient, &[Attribute::Modifiable(false), Attribute::Decrypt(false)])?;
    let change = [Attribute::Decrypt(true)];
    let changed = patient.ask("C_SetAttributeValue", |s| s.update_attributes(key, &change));
    Ok(vec![if changed.is_ok() && not_as_asked(patient, key, &change)?.is_empty() {
        accepted("a key that was not modifiable has got another use")
    } else {
        found(Verdict::Ok, "a key that is not modifiable stays as it is")
    }])
}

pub fn allowed_mechanisms(patient: &Patient<'_>) -> Result<Vec<Finding>, Fault> {
    let key = patient.generated(&sealing(patient, false))?;
    let other = patient.ask("C_Encrypt", |s| s.encrypt(&Mechanism::AesEcb, key, &[0; 16]));
    Ok(vec![if other.is_ok() {
        found(Verdict::Differs, "a key for AES-GCM encrypts by AES-ECB too")
            .so("keep other programs away from this token: a mechanism is not what stops them")
    } else {
        found(Verdict::Ok, "a key works with its own mechanism and no other")
    }])
}

pub fn equal_ids(patient: &Patient<'_>) -> Result<Vec<Finding>, Fault> {
    let id = Attribute::Id(patient.id().to_vec());
    let template = |n: u64| {
        let mut template = patient.temporary(KeyType::AES, &[id.clone(), Attribute::Encrypt(true)]);
        template.push(Attribute::ValueLen(n.into()));
        template
    };
    patient.generated(&template(32))?;
    let second = patient.generated(&template(32));
    Ok(vec![match second {
        Ok(_) => found(Verdict::Differs, "two keys can have one label and id")
            .so("nothing: a node looks before it makes a key, and refuses to choose between two"),
        Err(refused) => found(Verdict::Ok, format!("a second key with the same id is refused ({})", refused.error)),
    }])
}
