//! Enqueues batches for the service. Batches wait here while Envoy rejects them.

use std::collections::VecDeque;

use tributary_host::Status;
use tributary_host::queue::Queue;
use tributary_proto::batch::BatchWriter;

/// Batches on the way from a fold into one queue of the service.
#[derive(Debug)]
pub struct Outbox {
    service_vm_id: String,
    /// The name of the queue.
    pub queue_name: &'static str,
    /// The resolved queue; `None` until the service has registered it. Its number is valid while Envoy
    /// runs.
    queue: Option<Queue>,
    writer: BatchWriter,
    /// Batches that could not be enqueued, in order. While this list has batches, no further batches are
    /// written, so it has at most the batches of one flush.
    unsent: VecDeque<Vec<u8>>,
}

/// The outcome of a flush.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlushOutcome {
    /// The number of batches that were enqueued.
    pub batches: u64,
    /// Why the other batches could not be enqueued; `None` if all batches were enqueued.
    pub blocked: Option<FlushBlocked>,
}

/// Why a fold is kept instead of flushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlushBlocked {
    /// No VM has registered the queue.
    NoService,
    /// The queue has too many batches.
    Behind,
    /// The heartbeat of the service is too old.
    Silent,
    /// Envoy rejected a call.
    Host(Status),
}

impl Outbox {
    /// Creates the outbox for the queue `queue_name` of the service with this `vm_id` (empty: the worker's
    /// own). The queue need not exist yet.
    pub fn new(service_vm_id: String, queue_name: &'static str, writer: BatchWriter) -> Self {
        Self { service_vm_id, queue_name, queue: None, writer, unsent: VecDeque::new() }
    }

    /// Returns the queue, and resolves its name if that is not done yet.
    ///
    /// # Errors
    /// [`FlushBlocked::NoService`] or [`FlushBlocked::Host`].
    pub fn open(&mut self) -> Result<Queue, FlushBlocked> {
        if let Some(queue) = self.queue {
            return Ok(queue);
        }
        match Queue::resolve(&self.service_vm_id, self.queue_name) {
            Ok(queue) => Ok(*self.queue.insert(queue)),
            Err(Status::NotFound) => Err(FlushBlocked::NoService),
            Err(status) => Err(FlushBlocked::Host(status)),
        }
    }

    /// Returns the number of observations in all batches that were enqueued, or `None` while batches wait
    /// here.
    pub fn observations(&self) -> Option<u64> {
        self.unsent.is_empty().then(|| self.writer.observed())
    }

    /// Returns whether the queue has been resolved.
    pub fn is_open(&self) -> bool {
        self.queue.is_some()
    }

    /// Enqueues the batches that wait here or, if no batch waits, the batches that `write` creates. Calls
    /// `write` only if the queue is resolved: until then the data stays in the fold, where later
    /// observations are added to it. `has_data` is whether the fold has data.
    pub fn flush(
        &mut self,
        has_data: bool,
        write: impl FnOnce(&mut BatchWriter, &mut VecDeque<Vec<u8>>),
    ) -> FlushOutcome {
        let mut outcome = FlushOutcome { batches: 0, blocked: None };
        if !has_data && self.unsent.is_empty() {
            return outcome;
        }
        let queue = match self.open() {
            Ok(queue) => queue,
            Err(reason) => return FlushOutcome { blocked: Some(reason), ..outcome },
        };
        if self.unsent.is_empty() {
            write(&mut self.writer, &mut self.unsent);
            self.unsent.extend(self.writer.finish());
        }
        while let Some(batch) = self.unsent.front() {
            if let Err(status) = queue.enqueue(batch) {
                // Envoy lost the queue: resolve it again. The batches keep their order and their sequence
                // numbers.
                self.queue = None;
                return FlushOutcome { blocked: Some(FlushBlocked::Host(status)), ..outcome };
            }
            self.unsent.pop_front();
            outcome.batches = outcome.batches.saturating_add(1);
        }
        outcome
    }
}
