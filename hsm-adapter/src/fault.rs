//! What a PKCS#11 return code means, by the function that gave it: one table, for all modules.

use crate::config::configuration;
use cryptoki::context::Function;
use cryptoki::error::{Error, RvError};
use tally_domain::ports::hsm::HsmError;

/// Why an operation failed, as far as it decides what is done next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// The session, the login or a handle is gone: a new session may help.
    Session,
    /// The token or the way to it is broken: counts against it.
    Device,
    /// The PIN is refused: never tried again.
    Auth,
    /// The data is bad, or there is no such key. Says nothing of the token.
    Input,
    /// The token works and will not do this: an operator has to look.
    Refused,
    /// No time was left to ask.
    Late,
    /// Either the data is bad or the token: what else the key does tells (S-4.2).
    Doubt,
    /// Could be this session or the token: whether the token signs on a new session tells.
    Unknown,
}

/// An error with its class.
#[derive(Debug)]
pub struct Fault {
    pub class: Class,
    pub error: HsmError,
}

impl Fault {
    /// A lost session, noticed by `function`.
    pub fn session(function: &'static str, code: &str) -> Self {
        Self { class: Class::Session, error: HsmError::Device { operation: function, code: code.into() } }
    }

    /// A token that does not do what a token does.
    pub fn broken(function: &'static str, what: &str) -> Self {
        Self { class: Class::Device, error: HsmError::Device { operation: function, code: what.into() } }
    }
}

impl From<HsmError> for Fault {
    fn from(error: HsmError) -> Self {
        let class = match &error {
            HsmError::Device { .. } | HsmError::Down { .. } => Class::Device,
            HsmError::PinRefused => Class::Auth,
            HsmError::Deadline { .. } | HsmError::Busy => Class::Late,
            HsmError::Configuration { .. } => Class::Refused,
            _ => Class::Input,
        };
        Self { class, error }
    }
}

impl From<Error> for Fault {
    fn from(e: Error) -> Self {
        let Error::Pkcs11(rv, function) = e else {
            // What came back does not read as what was asked for: lengths, flags, types.
            let error = HsmError::Device { operation: "a PKCS#11 function", code: e.to_string() };
            return Self { class: Class::Unknown, error };
        };
        let (class, operation, code) = (class(function, rv), name(function), code_name(rv));
        let error = match class {
            Class::Auth if rv == RvError::PinLocked => configuration(
                "the token is locked after too many wrong PINs: its security officer has to set the user PIN anew"
                    .into(),
            ),
            Class::Auth => HsmError::PinRefused,
            Class::Refused => configuration(format!("the token refuses {operation} with {code}")),
            Class::Input => HsmError::Integrity,
            Class::Session | Class::Device | Class::Late | Class::Doubt | Class::Unknown => {
                HsmError::Device { operation, code }
            }
        };
        Self { class, error }
    }
}

/// The table: codes that mean something else from some functions, and then all others.
fn class(function: Function, rv: RvError) -> Class {
    use Function as F;
    use RvError as R;
    match (function, rv) {
        (
            F::Login,
            R::PinIncorrect | R::PinInvalid | R::PinLenRange | R::PinExpired | R::PinLocked | R::UserPinNotInitialized,
        ) => Class::Auth,

        // A wrong tag, by the standard (CKR_AEAD_DECRYPT_FAILED of 3.0 has no name in `cryptoki`).
        (F::Decrypt, R::EncryptedDataInvalid | R::EncryptedDataLenRange | R::UnknownErrorCode(0x35)) => Class::Input,
        // A wrong tag, by SoftHSM 2.6 (its issue 690); and a broken token, by anybody.
        (F::Decrypt, R::GeneralError | R::FunctionFailed | R::DataInvalid | R::DataLenRange) => Class::Doubt,

        (F::UnwrapKey, R::WrappedKeyInvalid | R::WrappedKeyLenRange) => Class::Input,
        // A changed blob, by SoftHSM 2.6 and by Kryoptic (`CKR_DEVICE_ERROR`); and a broken token, by anybody.
        (
            F::UnwrapKey,
            R::GeneralError | R::FunctionFailed | R::DeviceError | R::EncryptedDataInvalid | R::EncryptedDataLenRange,
        ) => Class::Doubt,

        _ => class_from_any(rv),
    }
}

/// What a code means from any function.
fn class_from_any(rv: RvError) -> Class {
    use RvError as R;
    match rv {
        R::SessionHandleInvalid
        | R::SessionClosed
        | R::UserNotLoggedIn
        | R::ObjectHandleInvalid
        | R::KeyHandleInvalid
        | R::WrappingKeyHandleInvalid
        | R::UnwrappingKeyHandleInvalid
        // A session with another operation stuck in it, or without the one begun, is of no more use.
        | R::OperationActive
        | R::OperationNotInitialized => Class::Session,

        R::DeviceError
        | R::DeviceMemory
        | R::DeviceRemoved
        | R::HostMemory
        | R::TokenNotPresent
        | R::TokenNotRecognized
        | R::SlotIdInvalid
        | R::SessionCount
        // Some client libraries forget that they were initialized when their connection has died.
        | R::CryptokiNotInitialized => Class::Device,

        R::MechanismInvalid
        | R::MechanismParamInvalid
        | R::KeyTypeInconsistent
        | R::KeyFunctionNotPermitted
        | R::KeySizeRange
        | R::KeyUnextractable
        | R::KeyNotWrappable
        | R::WrappingKeyTypeInconsistent
        | R::UnwrappingKeyTypeInconsistent
        | R::WrappingKeySizeRange
        | R::UnwrappingKeySizeRange
        | R::CurveNotSupported
        | R::TemplateIncomplete
        | R::TemplateInconsistent
        | R::AttributeReadOnly
        | R::AttributeTypeInvalid
        | R::AttributeValueInvalid
        | R::ActionProhibited
        | R::ArgumentsBad
        | R::FunctionNotSupported
        | R::SessionReadOnly
        | R::TokenWriteProtected
        | R::UserTypeInvalid => Class::Refused,

        // GENERAL_ERROR and FUNCTION_FAILED from anything but decrypting, codes out of place, codes of vendors.
        _ => Class::Unknown,
    }
}

/// The functions that are called here, by the names that the standard gives them.
fn name(function: Function) -> &'static str {
    use Function as F;
    match function {
        F::Initialize => "C_Initialize",
        F::Finalize => "C_Finalize",
        F::GetSlotList => "C_GetSlotList",
        F::GetTokenInfo => "C_GetTokenInfo",
        F::GetMechanismList => "C_GetMechanismList",
        F::GetMechanismInfo => "C_GetMechanismInfo",
        F::OpenSession => "C_OpenSession",
        F::CloseSession => "C_CloseSession",
        F::GetSessionInfo => "C_GetSessionInfo",
        F::Login => "C_Login",
        F::FindObjectsInit => "C_FindObjectsInit",
        F::FindObjects => "C_FindObjects",
        F::GetAttributeValue => "C_GetAttributeValue",
        F::CreateObject => "C_CreateObject",
        F::GenerateKey => "C_GenerateKey",
        F::GenerateKeyPair => "C_GenerateKeyPair",
        F::DestroyObject => "C_DestroyObject",
        F::GenerateRandom => "C_GenerateRandom",
        F::EncryptInit => "C_EncryptInit",
        F::Encrypt => "C_Encrypt",
        F::DecryptInit => "C_DecryptInit",
        F::Decrypt => "C_Decrypt",
        F::SignInit => "C_SignInit",
        F::Sign => "C_Sign",
        F::WrapKey => "C_WrapKey",
        F::UnwrapKey => "C_UnwrapKey",
        _ => "a PKCS#11 function",
    }
}

/// `GeneralError` as `CKR_GENERAL_ERROR`; what has no name as its number.
pub fn code_name(rv: RvError) -> String {
    if let RvError::UnknownErrorCode(n) | RvError::VendorDefined(n) = rv {
        return format!("{n:#010x}");
    }
    let mut name = String::from("CKR");
    for c in format!("{rv:?}").chars() {
        if c.is_ascii_uppercase() {
            name.push('_');
        }
        name.push(c.to_ascii_uppercase());
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_named_as_the_standard_names_them() {
        assert_eq!(code_name(RvError::GeneralError), "CKR_GENERAL_ERROR");
        assert_eq!(code_name(RvError::SessionHandleInvalid), "CKR_SESSION_HANDLE_INVALID");
        assert_eq!(code_name(RvError::UnknownErrorCode(0x1b5)), "0x000001b5");
    }

    #[test]
    fn s_4_2_one_code_means_another_thing_from_another_function() {
        let of = |function, rv| Fault::from(Error::Pkcs11(rv, function));
        assert_eq!(of(Function::Decrypt, RvError::EncryptedDataInvalid).error, HsmError::Integrity);
        assert_eq!(of(Function::Sign, RvError::EncryptedDataInvalid).class, Class::Unknown);
        assert_eq!(of(Function::Login, RvError::PinIncorrect).error, HsmError::PinRefused);
        // A code out of place must not latch the login.
        assert_eq!(of(Function::Sign, RvError::PinIncorrect).class, Class::Unknown);
        assert_eq!(of(Function::Decrypt, RvError::DeviceError).class, Class::Device);
        assert_eq!(of(Function::Decrypt, RvError::GeneralError).class, Class::Doubt);
        assert_eq!(of(Function::DecryptInit, RvError::GeneralError).class, Class::Unknown);
        assert_eq!(of(Function::UnwrapKey, RvError::DeviceError).class, Class::Doubt);
        assert_eq!(of(Function::WrapKey, RvError::DeviceError).class, Class::Device);
        assert!(matches!(
            of(Function::SignInit, RvError::MechanismInvalid).error,
            HsmError::Configuration { what } if what.contains("C_SignInit with CKR_MECHANISM_INVALID")
        ));
    }
}
