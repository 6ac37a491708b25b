//! Between the clients and AWS: the guard, the rate limits, and the door that applies both to every request.
//!
//! **Invariant:** no request of a client goes around it.

mod door;
pub mod guard;
pub mod limits;

pub(crate) use door::Front;
