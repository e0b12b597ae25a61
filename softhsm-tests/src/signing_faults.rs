//! Every fault of every call that signing keys are made and used by.

use crate::faults::Faults;
use crate::kind::Kind;
use crate::matrix::{excused, faults_of};
use crate::process::{case, until, wait};
use std::path::Path;
use tally_domain::ports::hsm::{Hsm, HsmError, ObjectId};
use tally_domain::{HsmScheme, PublicKey};
use tally_hsm_adapter::{Pkcs11Hsm, provision};

const CALLS: [&str; 8] = [
    "C_GenerateKeyPair",
    "C_FindObjectsInit",
    "C_FindObjects",
    "C_GetAttributeValue",
    "C_SignInit",
    "C_Sign",
    "C_OpenSession",
    "C_GetSessionInfo",
];

const SCHEME: HsmScheme = HsmScheme::EcdsaP256;
const LASTING: ObjectId = ObjectId([0xff; 16]);
const DIGEST: [u8; 32] = [7; 32];

fn make(hsm: &Pkcs11Hsm, id: ObjectId) -> Result<PublicKey, HsmError> {
    wait(hsm.create_signing_key(id, SCHEME))
}

fn sign(hsm: &Pkcs11Hsm, id: ObjectId) -> Result<Vec<u8>, HsmError> {
    wait(hsm.sign(id, SCHEME, DIGEST.to_vec()))
}

pub fn every_fault_of_making_and_using_a_signing_key_has_a_typed_answer_and_an_end<K: Kind>(dir: &Path) {
    const NAME: &str = "every_fault_of_making_and_using_a_signing_key_has_a_typed_answer_and_an_end";
    let Some(call) = case::<K>(NAME, &CALLS) else { return };
    let (token, faults) = Faults::token::<K>(dir);
    faults.end();
    provision(token.config()).unwrap();
    let hsm = Pkcs11Hsm::connect(token.config()).unwrap();
    let lasting = make(&hsm, LASTING).unwrap();
    let slot = token.raw().1.id();
    // Making a pair is given many seconds: that a call which hangs is left behind is shown with other operations.
    for (n, fault) in (1_u8..).zip(faults_of(&call, slot)).filter(|(_, fault)| !fault.starts_with("hang")) {
        let (what, fresh) = (format!("{call} {fault}"), ObjectId([n; 16]));
        // Sessions are opened and looked at when one was lost.
        let lost = if ["C_GetSessionInfo", "C_OpenSession"].contains(&call.as_str()) {
            format!("C_SignInit close_all={slot} count=1\n")
        } else {
            String::new()
        };
        faults.order(&format!("{lost}{call} {fault}\n"));
        let (signed, made) = (sign(&hsm, LASTING), make(&hsm, fresh));
        assert!(faults.count(&call) > 0, "{what}: was not met");
        for error in [signed.as_ref().err(), made.as_ref().err()] {
            assert!(error.is_none_or(excused), "{what}: {error:?}");
        }
        faults.end();
        until(&format!("{what}: no recovery"), || sign(&hsm, LASTING).is_ok());
        // Whoever asks verifies what is signed; only wrong bytes of the token's own may be wrong.
        if let Ok(signature) = &signed {
            let right = lasting.verify(&DIGEST, signature).is_ok();
            assert!(right || (call == "C_Sign" && fault.starts_with("flip")), "{what}: a wrong signature");
        }
        // What was said to be made is there; what was made and not said is found by whoever asks again.
        let again = make(&hsm, fresh).unwrap_or_else(|e| panic!("{what}: {e}"));
        assert!(made.as_ref().is_ok_and(|made| *made == again) || made.is_err(), "{what}: another key");
        again.verify(&DIGEST, &sign(&hsm, fresh).unwrap()).unwrap();
    }
}
