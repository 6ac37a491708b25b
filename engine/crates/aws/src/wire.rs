//! Between the clients and AWS: what a request is about, the guard, the rate limits, and the HTTP
//! client that applies them to every request.
//!
//! **Invariant:** no request of a client goes around it.

pub mod guard;
mod guarded_client;
pub mod limits;
pub(crate) mod request;

pub(crate) use guarded_client::GuardedClient;
