//! The functions of PKCS#11 2.40: each one as the caller sees it, and the real module's behind it.

use crate::output::Output::{self, Attributes, Bytes, Fixed, Handle, Handles, Nothing};
use crate::rules;
use cryptoki_sys::*;
use std::ffi::c_void;
use std::sync::OnceLock;

/// The real module, never unloaded: the host's threads may be inside it.
static REAL: OnceLock<Option<Real>> = OnceLock::new();
static TABLE: OnceLock<Table> = OnceLock::new();

struct Real {
    functions: CK_FUNCTION_LIST,
    _library: Pkcs11,
}

struct Table(CK_FUNCTION_LIST);

/// The only symbol that a host looks up.
///
/// # Safety
/// `list` is null or points to a place for one pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn C_GetFunctionList(list: *mut *mut CK_FUNCTION_LIST) -> CK_RV {
    if list.is_null() {
        return CKR_ARGUMENTS_BAD;
    }
    if real().is_none() {
        return CKR_GENERAL_ERROR;
    }
    let table = TABLE.get_or_init(|| Table(table()));
    // SAFETY: not null, and a place for a pointer by contract. PKCS#11 hosts only read the table (its type has no
    // const), so that a pointer to a static may be given out.
    unsafe { *list = std::ptr::from_ref(&table.0).cast_mut() };
    CKR_OK
}

fn real() -> Option<&'static CK_FUNCTION_LIST> {
    REAL.get_or_init(load).as_ref().map(|real| &real.functions)
}

fn load() -> Option<Real> {
    let path = std::env::var_os("P11FAULT_MODULE")?;
    // SAFETY: a PKCS#11 module runs its initializers when it is loaded, which is what it is loaded for; and
    // `C_GetFunctionList` fills in a pointer to a table that lives as long as the library, which is kept.
    unsafe {
        let library = Pkcs11::new(path).ok()?;
        let get = *library.C_GetFunctionList.as_ref().ok()?;
        let mut list: *mut CK_FUNCTION_LIST = std::ptr::null_mut();
        let functions = (get(&raw mut list) == CKR_OK && !list.is_null()).then(|| *list)?;
        Some(Real { functions, _library: library })
    }
}

/// Makes a call, or what the rules order in place of it.
///
/// # Safety
/// `output` belongs to `call`, which may be made once.
unsafe fn through(function: &str, output: Output, call: impl FnOnce() -> CK_RV) -> CK_RV {
    let Some((fault, ordered_by)) = rules::fault_for(function, output.is_given()) else { return call() };
    std::thread::sleep(fault.delay);
    if fault.crash {
        std::process::abort();
    }
    if fault.hang {
        rules::hang(ordered_by);
    }
    if let Some(slot) = fault.close_all
        && let Some(close) = real().and_then(|r| r.C_CloseAllSessions)
    {
        // SAFETY: takes a number only; a slot that does not exist is an error, which changes nothing here.
        unsafe { close(slot) };
    }
    if let (Some(rv), false) = (fault.rv, fault.after) {
        return rv;
    }
    let rv = call();
    if fault.flip && rv == CKR_OK {
        // SAFETY: the output of the very call that has just succeeded.
        unsafe { output.flip() };
    }
    fault.rv.unwrap_or(rv)
}

macro_rules! forwarded {
    ($($name:ident($($argument:ident: $kind:ty),*) => $output:expr;)*) => {
        $(
            #[expect(non_snake_case, reason = "the standard's name")]
            unsafe extern "C" fn $name($($argument: $kind),*) -> CK_RV {
                let call = || match real().and_then(|r| r.$name) {
                    // SAFETY: the host's own arguments for this very function, as it gave them.
                    Some(function) => unsafe { function($($argument),*) },
                    None => CKR_FUNCTION_NOT_SUPPORTED,
                };
                // SAFETY: `$output` names arguments of this call.
                unsafe { through(stringify!($name), $output, call) }
            }
        )*

        fn table() -> CK_FUNCTION_LIST {
            CK_FUNCTION_LIST {
                version: CK_VERSION { major: 2, minor: 40 },
                C_GetFunctionList: Some(C_GetFunctionList),
                $($name: Some($name),)*
            }
        }
    };
}

forwarded! {
    C_Initialize(a: *mut c_void) => Nothing;
    C_Finalize(a: *mut c_void) => Nothing;
    C_GetInfo(a: *mut CK_INFO) => Nothing;
    C_GetSlotList(a: CK_BBOOL, b: *mut CK_SLOT_ID, c: *mut CK_ULONG) => Nothing;
    C_GetSlotInfo(a: CK_SLOT_ID, b: *mut CK_SLOT_INFO) => Nothing;
    C_GetTokenInfo(a: CK_SLOT_ID, b: *mut CK_TOKEN_INFO) => Nothing;
    C_GetMechanismList(a: CK_SLOT_ID, b: *mut CK_MECHANISM_TYPE, c: *mut CK_ULONG) => Nothing;
    C_GetMechanismInfo(a: CK_SLOT_ID, b: CK_MECHANISM_TYPE, c: *mut CK_MECHANISM_INFO) => Nothing;
    C_InitToken(a: CK_SLOT_ID, b: *mut CK_UTF8CHAR, c: CK_ULONG, d: *mut CK_UTF8CHAR) => Nothing;
    C_InitPIN(a: CK_SESSION_HANDLE, b: *mut CK_UTF8CHAR, c: CK_ULONG) => Nothing;
    C_SetPIN(a: CK_SESSION_HANDLE, b: *mut CK_UTF8CHAR, c: CK_ULONG, d: *mut CK_UTF8CHAR, e: CK_ULONG) => Nothing;
    C_OpenSession(a: CK_SLOT_ID, b: CK_FLAGS, c: *mut c_void, d: CK_NOTIFY, e: *mut CK_SESSION_HANDLE) => Nothing;
    C_CloseSession(a: CK_SESSION_HANDLE) => Nothing;
    C_CloseAllSessions(a: CK_SLOT_ID) => Nothing;
    C_GetSessionInfo(a: CK_SESSION_HANDLE, b: *mut CK_SESSION_INFO) => Nothing;
    C_GetOperationState(a: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: *mut CK_ULONG) => Nothing;
    C_SetOperationState(a: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: CK_ULONG, d: CK_OBJECT_HANDLE, e: CK_OBJECT_HANDLE) => Nothing;
    C_Login(a: CK_SESSION_HANDLE, b: CK_USER_TYPE, c: *mut CK_UTF8CHAR, d: CK_ULONG) => Nothing;
    C_Logout(a: CK_SESSION_HANDLE) => Nothing;
    C_CreateObject(a: CK_SESSION_HANDLE, b: *mut CK_ATTRIBUTE, c: CK_ULONG, d: *mut CK_OBJECT_HANDLE) => Handle(d);
    C_CopyObject(a: CK_SESSION_HANDLE, b: CK_OBJECT_HANDLE, c: *mut CK_ATTRIBUTE, d: CK_ULONG, e: *mut CK_OBJECT_HANDLE) => Nothing;
    C_DestroyObject(a: CK_SESSION_HANDLE, b: CK_OBJECT_HANDLE) => Nothing;
    C_GetObjectSize(a: CK_SESSION_HANDLE, b: CK_OBJECT_HANDLE, c: *mut CK_ULONG) => Nothing;
    C_GetAttributeValue(a: CK_SESSION_HANDLE, b: CK_OBJECT_HANDLE, c: *mut CK_ATTRIBUTE, d: CK_ULONG) => Attributes(c, d);
    C_SetAttributeValue(a: CK_SESSION_HANDLE, b: CK_OBJECT_HANDLE, c: *mut CK_ATTRIBUTE, d: CK_ULONG) => Nothing;
    C_FindObjectsInit(a: CK_SESSION_HANDLE, b: *mut CK_ATTRIBUTE, c: CK_ULONG) => Nothing;
    C_FindObjects(a: CK_SESSION_HANDLE, b: *mut CK_OBJECT_HANDLE, c: CK_ULONG, d: *mut CK_ULONG) => Handles(b, d);
    C_FindObjectsFinal(a: CK_SESSION_HANDLE) => Nothing;
    C_EncryptInit(a: CK_SESSION_HANDLE, b: *mut CK_MECHANISM, c: CK_OBJECT_HANDLE) => Nothing;
    C_Encrypt(a: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: CK_ULONG, d: *mut CK_BYTE, e: *mut CK_ULONG) => Bytes(d, e);
    C_EncryptUpdate(a: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: CK_ULONG, d: *mut CK_BYTE, e: *mut CK_ULONG) => Bytes(d, e);
    C_EncryptFinal(a: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: *mut CK_ULONG) => Bytes(b, c);
    C_DecryptInit(a: CK_SESSION_HANDLE, b: *mut CK_MECHANISM, c: CK_OBJECT_HANDLE) => Nothing;
    C_Decrypt(a: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: CK_ULONG, d: *mut CK_BYTE, e: *mut CK_ULONG) => Bytes(d, e);
    C_DecryptUpdate(a: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: CK_ULONG, d: *mut CK_BYTE, e: *mut CK_ULONG) => Bytes(d, e);
    C_DecryptFinal(a: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: *mut CK_ULONG) => Bytes(b, c);
    C_DigestInit(a: CK_SESSION_HANDLE, b: *mut CK_MECHANISM) => Nothing;
    C_Digest(a: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: CK_ULONG, d: *mut CK_BYTE, e: *mut CK_ULONG) => Bytes(d, e);
    C_DigestUpdate(a: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: CK_ULONG) => Nothing;
    C_DigestKey(a: CK_SESSION_HANDLE, b: CK_OBJECT_HANDLE) => Nothing;
    C_DigestFinal(a: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: *mut CK_ULONG) => Bytes(b, c);
    C_SignInit(a: CK_SESSION_HANDLE, b: *mut CK_MECHANISM, c: CK_OBJECT_HANDLE) => Nothing;
    C_Sign(a: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: CK_ULONG, d: *mut CK_BYTE, e: *mut CK_ULONG) => Bytes(d, e);
    C_SignUpdate(a: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: CK_ULONG) => Nothing;
    C_SignFinal(a: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: *mut CK_ULONG) => Bytes(b, c);
    C_SignRecoverInit(a: CK_SESSION_HANDLE, b: *mut CK_MECHANISM, c: CK_OBJECT_HANDLE) => Nothing;
    C_SignRecover(a: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: CK_ULONG, d: *mut CK_BYTE, e: *mut CK_ULONG) => Nothing;
    C_VerifyInit(a: CK_SESSION_HANDLE, b: *mut CK_MECHANISM, c: CK_OBJECT_HANDLE) => Nothing;
    C_Verify(a: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: CK_ULONG, d: *mut CK_BYTE, e: CK_ULONG) => Nothing;
    C_VerifyUpdate(a: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: CK_ULONG) => Nothing;
    C_VerifyFinal(a: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: CK_ULONG) => Nothing;
    C_VerifyRecoverInit(a: CK_SESSION_HANDLE, b: *mut CK_MECHANISM, c: CK_OBJECT_HANDLE) => Nothing;
    C_VerifyRecover(a: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: CK_ULONG, d: *mut CK_BYTE, e: *mut CK_ULONG) => Nothing;
    C_DigestEncryptUpdate(a: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: CK_ULONG, d: *mut CK_BYTE, e: *mut CK_ULONG) => Nothing;
    C_DecryptDigestUpdate(a: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: CK_ULONG, d: *mut CK_BYTE, e: *mut CK_ULONG) => Nothing;
    C_SignEncryptUpdate(a: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: CK_ULONG, d: *mut CK_BYTE, e: *mut CK_ULONG) => Nothing;
    C_DecryptVerifyUpdate(a: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: CK_ULONG, d: *mut CK_BYTE, e: *mut CK_ULONG) => Nothing;
    C_GenerateKey(a: CK_SESSION_HANDLE, b: *mut CK_MECHANISM, c: *mut CK_ATTRIBUTE, d: CK_ULONG, e: *mut CK_OBJECT_HANDLE) => Handle(e);
    C_GenerateKeyPair(a: CK_SESSION_HANDLE, b: *mut CK_MECHANISM, c: *mut CK_ATTRIBUTE, d: CK_ULONG, e: *mut CK_ATTRIBUTE, f: CK_ULONG, g: *mut CK_OBJECT_HANDLE, h: *mut CK_OBJECT_HANDLE) => Handle(h);
    C_WrapKey(a: CK_SESSION_HANDLE, b: *mut CK_MECHANISM, c: CK_OBJECT_HANDLE, d: CK_OBJECT_HANDLE, e: *mut CK_BYTE, f: *mut CK_ULONG) => Bytes(e, f);
    C_UnwrapKey(a: CK_SESSION_HANDLE, b: *mut CK_MECHANISM, c: CK_OBJECT_HANDLE, d: *mut CK_BYTE, e: CK_ULONG, f: *mut CK_ATTRIBUTE, g: CK_ULONG, h: *mut CK_OBJECT_HANDLE) => Handle(h);
    C_DeriveKey(a: CK_SESSION_HANDLE, b: *mut CK_MECHANISM, c: CK_OBJECT_HANDLE, d: *mut CK_ATTRIBUTE, e: CK_ULONG, f: *mut CK_OBJECT_HANDLE) => Nothing;
    C_SeedRandom(a: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: CK_ULONG) => Nothing;
    C_GenerateRandom(a: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: CK_ULONG) => Fixed(b, c);
    C_GetFunctionStatus(a: CK_SESSION_HANDLE) => Nothing;
    C_CancelFunction(a: CK_SESSION_HANDLE) => Nothing;
    C_WaitForSlotEvent(a: CK_FLAGS, b: *mut CK_SLOT_ID, c: *mut c_void) => Nothing;
}
