//! What the token and its module say of themselves.

use super::patient::Patient;
use super::{Finding, Verdict, found};
use crate::fault::Fault;
use crate::profile::Profile;
use cryptoki::context::{CInitializeArgs, CInitializeFlags};
use cryptoki::mechanism::MechanismType;

/// What depends on which mechanism.
const MECHANISMS: [(MechanismType, &str); 13] = [
    (MechanismType::AES_KEY_GEN, "everything that is sealed"),
    (MechanismType::AES_GCM, "everything that is sealed"),
    (MechanismType::AES_KEY_WRAP, "a second token with the same KEKs"),
    (MechanismType::AES_KEY_WRAP_PAD, "nothing of ours"),
    (MechanismType::SHA256_HMAC, "nothing of ours yet"),
    (MechanismType::ECC_EDWARDS_KEY_PAIR_GEN, "the node's identity"),
    (MechanismType::EDDSA, "the node's identity"),
    (MechanismType::ECC_KEY_PAIR_GEN, "ECDSA keys"),
    (MechanismType::ECDSA, "ECDSA keys"),
    (MechanismType::RSA_PKCS_KEY_PAIR_GEN, "RSA keys, and a second token with the same KEKs"),
    (MechanismType::RSA_PKCS_PSS, "RSA keys"),
    (MechanismType::RSA_PKCS_OAEP, "a second token with the same KEKs"),
    (MechanismType::SHA256, "nothing: digests are made in the node"),
];

pub fn info(patient: &Patient<'_>) -> Result<Vec<Finding>, Fault> {
    let info = &patient.info;
    let library = patient.call("C_GetInfo", |_| patient.context.get_library_info())?;
    let profile = Profile::of(info.manufacturer_id(), info.model())?;
    patient.note("manufacturer", info.manufacturer_id());
    patient.note("model", info.model());
    patient.note("known as", &profile.name);
    let what = format!(
        "{} {}, serial {}, hardware {}, firmware {}; {} {}, PKCS#11 {}; known as {}",
        info.manufacturer_id(),
        info.model(),
        info.serial_number(),
        info.hardware_version(),
        info.firmware_version(),
        library.library_description(),
        library.library_version(),
        library.cryptoki_version(),
        profile.name,
    );
    let mut findings = vec![found(Verdict::Ok, what)];
    let problems = [
        (info.write_protected(), "the token is write protected", "a node makes keys: lift the protection"),
        (
            !info.rng(),
            "the token says that it has no random numbers",
            "use another token: IVs and keys come from there",
        ),
        (info.user_pin_final_try(), "one more wrong PIN locks the token", "log in with the right PIN elsewhere first"),
        (
            info.protected_authentication_path(),
            "the PIN is entered at the token",
            "a node cannot enter it: switch it off",
        ),
    ];
    findings.extend(
        problems.into_iter().filter(|(is, ..)| *is).map(|(_, what, todo)| found(Verdict::Failed, what).so(todo)),
    );
    if !info.login_required() {
        let what = "the token asks for no PIN";
        findings.push(found(Verdict::Differs, what).so("whoever reaches the module uses its keys: set a PIN"));
    }
    Ok(findings)
}

pub fn mechanisms(patient: &Patient<'_>) -> Result<Vec<Finding>, Fault> {
    let (mut offered, mut missing) = (Vec::new(), Vec::new());
    for (mechanism, of) in MECHANISMS {
        let asked = patient.ask("C_GetMechanismInfo", |_| patient.context.get_mechanism_info(patient.slot, mechanism));
        match asked {
            Ok(info) => offered.push(format!("{mechanism} {}-{}", info.min_key_size(), info.max_key_size())),
            Err(_) => missing
                .push(found(Verdict::NotOffered, format!("{mechanism}")).so(&format!("without it: {of}")).optional()),
        }
    }
    let what = format!("of {} that were asked for: {}", MECHANISMS.len(), offered.join(", "));
    Ok(std::iter::once(found(Verdict::Ok, what)).chain(missing).collect())
}

/// The last check: sessions, and what was made in them, are gone afterwards.
pub fn restart(patient: &Patient<'_>) -> Result<Vec<Finding>, Fault> {
    patient.call("C_Finalize", |_| patient.context.clone().finalize())?;
    let begin = CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK);
    patient.call("C_Initialize", |_| patient.context.initialize(begin))?;
    let slots = patient.call("C_GetSlotList", |_| patient.context.get_slots_with_token())?;
    let there = slots.into_iter().any(|slot| {
        let info = patient.context.get_token_info(slot);
        info.is_ok_and(|i| i.serial_number() == patient.info.serial_number() && i.label() == patient.info.label())
    });
    patient.note("restart", there);
    Ok(vec![if there {
        found(Verdict::Ok, "the module finds its token again after C_Finalize and C_Initialize")
    } else {
        found(Verdict::Differs, "the module does not find its token again after C_Finalize and C_Initialize")
            .so("nothing: a node with `isolation = \"process\"` starts another process instead")
    }])
}
