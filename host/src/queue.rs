//! Shared queues. They have names within a `vm_id`, and all threads of the process can use them.
//!
//! In proxy-wasm-cpp-host (f2db56af, `src/shared_queue.cc`, the same in Envoy 1.36 to 1.40), a queue is
//! unbounded and its length cannot be read. Each enqueue sends a notification to the thread of the last VM
//! that registered the queue. A notification can be lost, an item cannot.

use proxy_wasm::types::Status;

use crate::{raw, status};

/// A queue. Its number is valid as long as the process runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Queue(u32);

impl Queue {
    /// Creates the queue, or keeps its items if it exists, and makes the current VM its consumer. Only the
    /// service may call this: the last VM that registers gets the notifications.
    pub fn register(name: &str) -> Result<Queue, Status> {
        raw::register_queue(name).map(Queue)
    }

    /// Looks up a queue by its name within a `vm_id`. An empty `vm_id` is that of the current VM.
    ///
    /// # Errors
    /// [`Status::NotFound`] until a VM registers the queue.
    pub fn resolve(vm_id: &str, name: &str) -> Result<Queue, Status> {
        raw::resolve_queue(vm_id, name).map(Queue)
    }

    /// Appends an item. It must not be empty, because the SDK cannot distinguish an empty item from an empty
    /// queue.
    pub fn enqueue(self, item: &[u8]) -> Result<(), Status> {
        if item.is_empty() { Err(Status::BadArgument) } else { raw::enqueue(self.0, item) }
    }

    /// Removes the first item. It can be empty if another plugin enqueued it. Returns `None` if the queue is
    /// empty.
    pub fn dequeue(self) -> Result<Option<Vec<u8>>, Status> {
        status::optional(raw::dequeue(self.0), Status::Empty)
    }
}
