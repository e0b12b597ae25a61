//! Ports: what the pure crates and the node ask of the edges. A future here is a promise, not a runtime: an edge may
//! answer at once (a simulation does) or from its own threads.

pub mod hsm;
pub mod store;

use std::future::Future;
use std::pin::Pin;

/// An answer that comes later.
pub type Pending<T> = Pin<Box<dyn Future<Output = T> + Send + 'static>>;
