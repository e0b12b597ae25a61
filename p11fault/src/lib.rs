//! A PKCS#11 module for tests: it loads the real module named by `P11FAULT_MODULE`, passes every call on to it, and does
//! to some of them what the file named by `P11FAULT_FILE` orders. The file is read again whenever it changes:
//!
//! ```text
//! FUNCTION|* [rv=0x30] [delay_ms=50] [hang] [count=N] [skip=N] [close_all=SLOT] [after] [flip] [crash]
//! ```
//!
//! `rv` is returned in place of making the call; with `after` the call is made first (its reply is lost). `hang` lasts until
//! the file changes, then the call is made. `close_all` really closes all sessions of the slot first. `flip` flips a bit of
//! what the call gave out, the last byte's if it is data; calls that give out nothing, such as queries for a length, do not
//! count. `crash` ends the process, as a module with a bug does. `skip` lets the first N calls pass, `count` orders the fault for N calls. The first rule that applies is the one
//! that is followed. A line that does not read makes every call fail with [`UNREADABLE`]. With `P11FAULT_LOG`, the name of
//! each function that was faulted is appended there.
//!
//! Does: PKCS#11 2.40, as `C_GetFunctionList` gives it. Does not: know what a call means; belong in any program that is
//! not a test.
#![expect(unsafe_code, reason = "a C interface is called and offered; the unsafe part is `table` and `output`")]

mod output;
mod rules;
mod table;

pub use rules::UNREADABLE;
pub use table::C_GetFunctionList;

/// The file name of the module as cargo builds it, beside the programs that depend on this crate.
pub const FILE_NAME: &str = "libp11fault.so";
