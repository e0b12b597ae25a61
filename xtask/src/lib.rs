//! The project's own gates, as `cargo xtask`.
//!
//! Does: generates the code of `proto/` ([`codegen`]), proves the rules of the house that no compiler knows ([`tidy`]),
//! runs every gate in order ([`ci`]), and fuzzes for long ([`fuzz`]).
//! Does not: build or ship anything. Nothing of ours depends on this crate and it depends on nothing of ours.
#![expect(clippy::print_stdout, reason = "a tool for the terminal reports there")]

pub mod ci;
pub mod codegen;
pub mod fuzz;
pub mod suite;
pub mod tidy;
