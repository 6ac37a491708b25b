//! Between the clients and AWS: what a request is about, the guard, the rate limits, and the door
//! that applies them to every request.
//!
//! **Invariant:** no request of a client goes around it.

mod door;
pub mod guard;
pub mod limits;
pub(crate) mod request;

pub(crate) use door::Front;
