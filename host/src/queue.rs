//! Shared queues: named within a `vm_id`, one per process, seen from every thread.
//!
//! What the host does (proxy-wasm-cpp-host f2db56af, `src/shared_queue.cc`, unchanged for Envoy 1.36–1.40): a queue has no
//! bound and its length cannot be asked; each enqueue posts one notice to the thread of whoever registered last; a notice
//! can be lost, an item cannot.

use proxy_wasm::types::Status;

use crate::raw;

/// A queue; the number stays the same for the life of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Queue(u32);

impl Queue {
    /// Makes the queue if it is not there, keeps what is in it if it is, and becomes its only consumer. Only the service
    /// may do this: who registers last gets the notices.
    pub fn register(name: &str) -> Result<Queue, Status> {
        raw::register_queue(name).map(Queue)
    }

    /// The queue that somebody registered under this `vm_id` (empty: our own); [`Status::NotFound`] until then.
    pub fn resolve(vm_id: &str, name: &str) -> Result<Queue, Status> {
        raw::resolve_queue(vm_id, name).map(Queue)
    }

    /// Appends an item, which must not be empty: the SDK of another consumer could not tell it from no item.
    pub fn enqueue(self, item: &[u8]) -> Result<(), Status> {
        if item.is_empty() { Err(Status::BadArgument) } else { raw::enqueue(self.0, item) }
    }

    /// Takes the first item, which may be empty if a stranger put it there; none if the queue has none.
    pub fn dequeue(self) -> Result<Option<Vec<u8>>, Status> {
        match raw::dequeue(self.0) {
            Ok(item) => Ok(Some(item)),
            Err(Status::Empty) => Ok(None),
            Err(status) => Err(status),
        }
    }
}
