//! What a PKCS#11 return code means, by the operation that gave it.

use cryptoki::error::{Error, RvError};
use tally_domain::ports::hsm::HsmError;

/// Why an operation failed, as far as it decides what is done next.
pub enum Fault {
    /// The session, the login or a handle is gone: a new session may help, once.
    Session(HsmError),
    /// A new session would not help.
    Final(HsmError),
}

impl From<HsmError> for Fault {
    fn from(e: HsmError) -> Self {
        Self::Final(e)
    }
}

impl From<Fault> for HsmError {
    fn from(f: Fault) -> Self {
        match f {
            Fault::Session(e) | Fault::Final(e) => e,
        }
    }
}

/// The fault behind an error of `operation`.
pub fn fault(operation: &'static str, e: &Error) -> Fault {
    let error = device(operation, e);
    match e {
        Error::Pkcs11(
            RvError::SessionHandleInvalid
            | RvError::SessionClosed
            | RvError::UserNotLoggedIn
            | RvError::ObjectHandleInvalid
            | RvError::KeyHandleInvalid
            // A session with an operation stuck in it is of no more use (cryptoki cannot cancel it).
            | RvError::OperationActive,
            _,
        ) => Fault::Session(error),
        _ => Fault::Final(error),
    }
}

/// An error of the token, named as PKCS#11 names it.
pub fn device(operation: &'static str, e: &Error) -> HsmError {
    let code = match e {
        Error::Pkcs11(rv, _) => code_name(*rv),
        other => other.to_string(),
    };
    HsmError::Device { operation, code }
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
}
