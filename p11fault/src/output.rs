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

    /// Flips the lowest bit: of the last byte of data, of the first handle, of the first attribute's first byte.
    ///
    /// # Safety
    /// The pointers must be those of a PKCS#11 call that the caller made and that has succeeded: each is null, or
    /// points to as many items as its length says, in memory that may be written.
    pub unsafe fn flip(self) {
        // SAFETY: valid by this function's contract; a length is looked at before its data is touched.
        unsafe {
            let place: *mut CK_BYTE = match self {
                Self::Bytes(at, n) if !n.is_null() => last(at, *n),
                Self::Fixed(at, n) => last(at, n),
                Self::Handle(at) => at.cast(),
                Self::Handles(at, n) if !n.is_null() && *n > 0 => at.cast(),
                Self::Attributes(list, n) => first_value(list, n).unwrap_or(std::ptr::null_mut()),
                _ => std::ptr::null_mut(),
            };
            if !place.is_null() {
                *place ^= 1;
            }
        }
    }
}

/// The last of `n` bytes; null if there are none.
///
/// # Safety
/// `at` points to `n` bytes, or is null.
unsafe fn last(at: *mut CK_BYTE, n: CK_ULONG) -> *mut CK_BYTE {
    match usize::try_from(n).ok().and_then(|n| n.checked_sub(1)) {
        // SAFETY: within the `n` bytes that are there by contract.
        Some(offset) if !at.is_null() => unsafe { at.add(offset) },
        _ => std::ptr::null_mut(),
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
