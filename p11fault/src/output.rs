//! What a call gives out, as far as a bit of it can be flipped.

use cryptoki_sys::{CK_ATTRIBUTE, CK_BYTE, CK_OBJECT_HANDLE, CK_ULONG, CK_UNAVAILABLE_INFORMATION};

/// Where a call's output will be, in the caller's memory.
#[derive(Clone, Copy)]
pub enum Output {
    /// None that would be data.
    Nothing,
    /// Bytes, with their number in another place.
    Bytes(*mut CK_BYTE, *mut CK_ULONG),
    /// So many bytes.
    Fixed(*mut CK_BYTE, CK_ULONG),
    /// One object handle.
    Handle(*mut CK_OBJECT_HANDLE),
    /// Object handles, with their number in another place.
    Handles(*mut CK_OBJECT_HANDLE, *mut CK_ULONG),
    /// The values of so many attributes.
    Attributes(*mut CK_ATTRIBUTE, CK_ULONG),
}

impl Output {
    /// Whether the caller takes data, and does not only ask how much there is.
    pub fn is_given(self) -> bool {
        match self {
            Self::Nothing => false,
            Self::Bytes(at, _) | Self::Fixed(at, _) => !at.is_null(),
            Self::Handle(at) | Self::Handles(at, _) => !at.is_null(),
            // SAFETY: as in `flip`.
            Self::Attributes(list, n) => unsafe { first_value(list, n) }.is_some(),
        }
    }

    /// Flips the lowest bit of the first byte.
    ///
    /// # Safety
    /// The pointers must be those of a PKCS#11 call that the caller made and that has succeeded: each is null, or
    /// points to as many items as its length says, in memory that may be written.
    pub unsafe fn flip(self) {
        // SAFETY: valid by this function's contract; a length is looked at before its data is touched.
        unsafe {
            let first: *mut CK_BYTE = match self {
                Self::Bytes(at, n) if !n.is_null() && *n > 0 => at,
                Self::Fixed(at, n) if n > 0 => at,
                Self::Handle(at) => at.cast(),
                Self::Handles(at, n) if !n.is_null() && *n > 0 => at.cast(),
                Self::Attributes(list, n) => first_value(list, n).unwrap_or(std::ptr::null_mut()),
                _ => std::ptr::null_mut(),
            };
            if !first.is_null() {
                *first ^= 1;
            }
        }
    }
}

/// The first attribute's value that has a place and a length.
unsafe fn first_value(list: *mut CK_ATTRIBUTE, n: CK_ULONG) -> Option<*mut CK_BYTE> {
    let n = usize::try_from(n).ok().filter(|_| !list.is_null())?;
    // SAFETY: `list` has `n` attributes by the contract of `C_GetAttributeValue`, which the caller has just used.
    let attributes = unsafe { std::slice::from_raw_parts(list, n) };
    let valued = |a: &&CK_ATTRIBUTE| !a.pValue.is_null() && ![0, CK_UNAVAILABLE_INFORMATION].contains(&a.ulValueLen);
    attributes.iter().find(valued).map(|a| a.pValue.cast())
}
