//! Handing folds over: batches go into the service's queue, and wait here while it cannot be reached.

use std::collections::VecDeque;

use tributary_host::Status;
use tributary_host::queue::Queue;
use tributary_proto::batch::BatchWriter;

/// The way into one queue of the service.
#[derive(Debug)]
pub struct Outbox {
    service_vm_id: String,
    queue_name: &'static str,
    /// Once the service has registered it; the number holds for the life of the process.
    queue: Option<Queue>,
    writer: BatchWriter,
    /// Batches that could not be put in, in order. Nothing is written while there are any, so these are the batches of one
    /// hand-over at most.
    unsent: VecDeque<Vec<u8>>,
}

/// What came of a hand-over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HandedOver {
    /// How many batches went into the queue.
    pub batches: u64,
    /// Why what remains could not go.
    pub held_back: Option<HeldBack>,
}

/// Why a fold is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeldBack {
    /// Nobody has registered the queue.
    NoService,
    /// The host refused.
    Host(Status),
}

impl Outbox {
    /// A way into the queue `queue_name` of the service with this `vm_id` (empty: our own), which may not be there yet.
    pub fn new(service_vm_id: String, queue_name: &'static str, writer: BatchWriter) -> Self {
        Self { service_vm_id, queue_name, queue: None, writer, unsent: VecDeque::new() }
    }

    /// Looks for the service, unless it has been found.
    pub fn open(&mut self) -> Result<Queue, HeldBack> {
        if let Some(queue) = self.queue {
            return Ok(queue);
        }
        match Queue::resolve(&self.service_vm_id, self.queue_name) {
            Ok(queue) => Ok(*self.queue.insert(queue)),
            Err(Status::NotFound) => Err(HeldBack::NoService),
            Err(status) => Err(HeldBack::Host(status)),
        }
    }

    /// The queue's name.
    pub fn queue_name(&self) -> &'static str {
        self.queue_name
    }

    /// Whether the service has been found.
    pub fn is_open(&self) -> bool {
        self.queue.is_some()
    }

    /// Puts what `write` makes batches of into the queue, if something `waits` and the service is there. Otherwise `write` is not
    /// called: what waits stays where it is, and more may come to it.
    pub fn hand_over(
        &mut self,
        waits: bool,
        write: impl FnOnce(&mut BatchWriter, &mut VecDeque<Vec<u8>>),
    ) -> HandedOver {
        let mut handed_over = HandedOver { batches: 0, held_back: None };
        if !waits && self.unsent.is_empty() {
            return handed_over;
        }
        let queue = match self.open() {
            Ok(queue) => queue,
            Err(reason) => {
                handed_over.held_back = Some(reason);
                return handed_over;
            }
        };
        if self.unsent.is_empty() {
            write(&mut self.writer, &mut self.unsent);
            self.unsent.extend(self.writer.finish());
        }
        while let Some(batch) = self.unsent.front() {
            if let Err(status) = queue.enqueue(batch) {
                // The host lost the queue: look for it again. The batches keep their place and their numbers.
                self.queue = None;
                handed_over.held_back = Some(HeldBack::Host(status));
                return handed_over;
            }
            self.unsent.pop_front();
            handed_over.batches = handed_over.batches.saturating_add(1);
        }
        handed_over
    }
}
