//! Intake: batches from workers into the table.
//!
//! 1. The [`queue`] is drained, as far as the budget of the callback allows; each item is decoded strictly.
//! 2. [`producers`] checks the sequence number: it counts gaps and duplicates. A duplicate is ignored.
//! 3. The table merges the batch.
//! 4. [`counters`] registers the counters in shared data that batches name, and reads their values when
//!    an export begins.

pub mod counters;
pub mod producers;
pub mod queue;
pub mod vanished;

pub use counters::SharedCounters;
pub use queue::Intake;
