//! Memory that is never written to a swap area and to no core dump: one page for one data key.

use rustix::mm::{Advice, madvise, mlock, munlock};
use std::ffi::c_void;
use zeroize::Zeroize as _;

/// Bytes of a data key: AES-256.
pub const KEY_BYTES: usize = 32;

/// A page of the machines that this runs on; on those with larger ones the lock covers more than the key.
const PAGE_BYTES: usize = 4_096;

#[repr(align(4096))]
struct Page([u8; PAGE_BYTES]);

/// A data key in locked memory; wiped, and then unlocked, when it is dropped.
pub struct LockedKey(Box<Page>);

impl LockedKey {
    /// Takes a key over; the caller wipes what it gave.
    ///
    /// # Errors
    /// When the key has another length, or the system does not lock memory (`ulimit -l`).
    pub fn new(key: &[u8]) -> Result<Self, std::io::Error> {
        let key: &[u8; KEY_BYTES] = key.try_into().map_err(|_| std::io::ErrorKind::InvalidData)?;
        let mut locked = Self(Box::new(Page([0; PAGE_BYTES])));
        locked.lock()?;
        locked.0.0.iter_mut().zip(key).for_each(|(to, from)| *to = *from);
        Ok(locked)
    }

    /// The key.
    pub fn expose(&self) -> &[u8] {
        self.0.0.first_chunk::<KEY_BYTES>().map_or(&[], |key| key.as_slice())
    }

    fn start(&mut self) -> *mut c_void {
        self.0.0.as_mut_ptr().cast()
    }

    #[expect(unsafe_code, reason = "the page is this box's own, for as long as it is locked")]
    fn lock(&mut self) -> Result<(), std::io::Error> {
        let start = self.start();
        // SAFETY: the range is one allocation that this value owns; neither call changes what is in it.
        unsafe {
            mlock(start, PAGE_BYTES)?;
            madvise(start, PAGE_BYTES, Advice::LinuxDontDump)?;
        }
        Ok(())
    }
}

impl Drop for LockedKey {
    #[expect(unsafe_code, reason = "the page is this box's own, until it is freed after this")]
    fn drop(&mut self) {
        self.0.0.zeroize();
        let start = self.start();
        // SAFETY: as above. A page that stays locked does no harm.
        let _unlocked = unsafe { munlock(start, PAGE_BYTES) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_locked_key_is_the_key_and_has_its_length() {
        let key = LockedKey::new(&[7; KEY_BYTES]).unwrap();
        assert_eq!(key.expose(), [7; KEY_BYTES]);
        for bad in [0, 16, 31, 33] {
            assert!(LockedKey::new(&vec![7; bad]).is_err());
        }
    }
}
