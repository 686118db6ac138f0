//! Detects that the batches of workers do not arrive, although they were enqueued and the queue is empty.
//!
//! After a hot restart or a trap, and with a second service, single batches are missing without a fault.
//! Therefore only a series of checks is a fault, each with newly missing batches, and without any batch that
//! arrived in order in between.

/// The number of checks, one per second, after which missing batches are a fault.
const CHECKS: u32 = 10;

/// The fault with its possible reasons. The service cannot tell them apart: it sees only an empty queue.
pub const FAULT: &str = "workers enqueue batches, but none of them arrives at the service: if \
                         tributary_batches_invalid grows, take worker_filter.wasm and service.wasm from one \
                         build; otherwise another plugin takes the batches: give it another vm_id";

/// The state of the detection.
#[derive(Debug, Default)]
pub struct VanishedBatches {
    checks: u32,
    in_order: u64,
}

impl VanishedBatches {
    /// Records a check of the empty queue: how many batches are gone since the last one, and how many have
    /// arrived in order since the start.
    pub fn check(&mut self, gone: u64, in_order: u64) {
        if in_order != self.in_order {
            *self = Self { checks: 0, in_order };
        }
        if gone > 0 {
            self.checks = self.checks.saturating_add(1);
        }
    }

    /// Returns the fault, or empty text.
    pub fn fault(&self) -> &'static str {
        if self.checks >= CHECKS { FAULT } else { "" }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_that_are_gone_again_and_again_are_a_fault_until_one_arrives() {
        let mut vanished = VanishedBatches::default();
        for _ in 1..CHECKS {
            vanished.check(1, 5);
            vanished.check(0, 5);
        }
        assert_eq!(vanished.fault(), "");
        vanished.check(3, 5);
        assert_eq!(vanished.fault(), FAULT);
        vanished.check(0, 5);
        assert_eq!(vanished.fault(), FAULT, "without traffic nothing is known");
        vanished.check(1, 6);
        assert_eq!(vanished.fault(), "");
    }

    #[test]
    fn a_batch_in_order_in_between_prevents_the_fault() {
        let mut vanished = VanishedBatches::default();
        for in_order in 0..5 * u64::from(CHECKS) {
            vanished.check(2, in_order / 5);
            assert_eq!(vanished.fault(), "");
        }
    }
}
