//! The main thread of the in-memory Envoy. Tests control its clock and its queues, and respond to the HTTP
//! calls of the service.

use std::time::Duration;

use proxy_wasm::types::Status;

use super::{FakePost, FakeResponse, vm::Vm, with};

impl Vm {
    /// Sets the wall clock, and calls `on_tick`.
    pub fn tick_at(&self, now_unix_nano: u64) {
        with(|host| host.now_unix_nano = now_unix_nano);
        self.tick();
    }

    /// Delivers the pending notifications of the queues.
    pub fn deliver_notifications(&self) {
        while with(|host| host.queues.next_notification()).is_some() {
            self.queue_ready();
        }
    }
}

impl FakeResponse {
    /// Creates a response with a status, additional headers and a body.
    pub fn new(status: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Self {
        let headers = [(":status", status)].into_iter().chain(headers.iter().copied());
        let headers = headers.map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec())).collect();
        Self { headers, body }
    }
}

/// Sets the wall clock forward.
pub fn advance(time: Duration) {
    let time = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    with(|host| host.now_unix_nano = host.now_unix_nano.saturating_add(time));
}

/// Appends an item to a queue. Any plugin in the process can do this.
///
/// # Errors
/// No service has registered the queue.
pub fn enqueue(queue: &str, item: &[u8]) -> Result<(), Status> {
    with(|host| {
        let token = host.queues.resolve(&host.scoped(queue.to_owned()))?;
        host.queues.enqueue(token, item)
    })
}

/// Removes the first item of a queue. Any plugin in the process can do this.
///
/// # Errors
/// No service has registered the queue, or the queue is empty.
pub fn dequeue(queue: &str) -> Result<Vec<u8>, Status> {
    with(|host| {
        let token = host.queues.resolve(&host.scoped(queue.to_owned()))?;
        host.queues.dequeue(token)
    })
}

/// Returns the next HTTP call that this function has not returned yet.
pub fn next_post() -> Option<FakePost> {
    with(|host| {
        let post = host.posts.get(host.delivered).cloned()?;
        host.delivered = host.delivered.saturating_add(1);
        Some(post)
    })
}

/// Returns the value of the statistic `wasmcustom.tributary_NAME`; 0 if it does not exist.
pub fn stat(name: &str) -> u64 {
    with(|host| host.stat(&format!("tributary_{name}")))
}
