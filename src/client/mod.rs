//! The outside world as the engine sees it: requests that carry calls, and an answer for each call.
//!
//! Invariants: a client decides nothing about jobs; it says which of the few [`Failure`]s an answer is. It never shows
//! a key, a body or an address in what it returns. Store and client know nothing of each other.

pub mod braze;
pub mod http;
pub mod pack;
pub mod quikly;

use std::future::Future;

use crate::model::call::{Call, Failure, Reply};
use crate::model::lane::Lane;

/// One answer for each call of a request, in order.
pub type Answers = Vec<Result<Reply, Failure>>;

/// Who sends requests. Clones share connections.
pub trait Client: Clone + Send + Sync + 'static {
    /// Sends `calls`, which [`Client::objects_max`] and [`pack`](crate::client::pack) allow in one request, and takes the answers apart.
    /// Always returns exactly one answer for each call.
    fn perform(&self, lane: &Lane, calls: Vec<Call>) -> impl Future<Output = Answers> + Send;

    /// How many objects one request of this lane may carry.
    fn objects_max(&self, lane: &Lane) -> usize;
}
