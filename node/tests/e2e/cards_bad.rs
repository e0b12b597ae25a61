//! Bad input to token domains.
