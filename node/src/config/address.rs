//! An address to listen on, as the configuration has it.

use serde::de::Error as _;
use serde::{Deserialize as _, Deserializer};
use std::net::SocketAddr;

/// Reads one; for serde.
///
/// # Errors
/// A sentence for the operator.
pub fn read<'de, D: Deserializer<'de>>(from: D) -> Result<SocketAddr, D::Error> {
    let text = String::deserialize(from)?;
    text.parse().map_err(|_| {
        D::Error::custom(format!(
            "`{text}` is no address to listen on: write an IP address of this machine and a port, such as \"10.0.0.1:7101\" or \
             \"[::1]:7101\"; names are not looked up"
        ))
    })
}
