//! Intake: batches from workers into the table.
//!
//! 1. The [`queue`] is drained, as far as the budget of the callback allows; each item is decoded strictly.
//! 2. [`producers`] check the sequence number: gaps and duplicates are counted, a duplicate is ignored.
//! 3. The table merges the batch.
//! 4. [`counters`] in shared data are registered by the batches that name them, and read when an export
//!    begins.

pub mod counters;
pub mod producers;
pub mod queue;
pub mod vanished;

pub use counters::SharedCounters;
pub use queue::Intake;
