//! A mechanism that `cryptoki` has no name for.
#![expect(
    unsafe_code,
    reason = "there is no other way to give `cryptoki` a number of the standard that it does not know"
)]

use cryptoki::mechanism::MechanismType;
use cryptoki::mechanism::vendor_defined::VendorDefinedMechanism;

/// `CKM_AES_KEY_WRAP_KWP` of PKCS#11 3.0.
const CKM_AES_KEY_WRAP_KWP: u64 = 0x210b;

/// `CKM_AES_KEY_WRAP_KWP` without parameters.
pub fn kwp_of_the_standard() -> VendorDefinedMechanism<'static> {
    // SAFETY: `MechanismType` is `repr(transparent)` over `CK_MECHANISM_TYPE`, an unsigned integer of this size on every
    // target that we build for (the compiler checks the size), and every number is a valid value of it.
    let number = unsafe { std::mem::transmute::<u64, MechanismType>(CKM_AES_KEY_WRAP_KWP) };
    VendorDefinedMechanism::new::<u8>(number, None)
}
