//! A way on which bytes of strangers come into a module.

use std::cell::Cell;

use crate::{attributes, configuration, log_stream, queue, seeds};

/// After so many inputs libFuzzer's program says how many there were: its own words become rare with time.
const COUNT_EVERY: u64 = 100_000;

/// What a line on the standard error begins with that says how many inputs there were.
pub const COUNT_MARK: &str = "inputs so far: ";

/// A way on which bytes of strangers come into a module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FuzzTarget {
    /// Items of the queue, which any plugin with the same `vm_id` can put there.
    Queue,
    /// Configurations, of the worker filter and of the service.
    Configuration,
    /// What the host says of streams: answers to lists, single values, headers, bytes.
    Attributes,
    /// What Envoy's access logger says of requests, in a log stream.
    LogStream,
}

impl FuzzTarget {
    /// Each.
    pub const ALL: [Self; 4] = [Self::Queue, Self::Configuration, Self::Attributes, Self::LogStream];

    /// In a word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::Configuration => "configuration",
            Self::Attributes => "attributes",
            Self::LogStream => "log_stream",
        }
    }

    /// Lets the input in. Panics if anything does not hold that must.
    pub fn check(self, input: &[u8]) {
        match self {
            Self::Queue => queue::check(input),
            Self::Configuration => configuration::check(input),
            Self::Attributes => attributes::check(input),
            Self::LogStream => log_stream::check(input),
        }
    }

    /// The same for libFuzzer's programs, which say now and then how many inputs there were.
    pub fn open(self, input: &[u8]) {
        thread_local! {
            static INPUTS: Cell<u64> = const { Cell::new(0) };
        }
        self.check(input);
        let inputs = INPUTS.get().wrapping_add(1);
        INPUTS.set(inputs);
        if inputs.checked_rem(COUNT_EVERY) == Some(0) {
            eprintln!("{COUNT_MARK}{inputs}");
        }
    }

    /// Inputs to begin with: each says something that the door understands.
    pub fn seeds(self) -> Vec<Vec<u8>> {
        match self {
            Self::Queue => seeds::queue(),
            Self::Configuration => seeds::configuration(),
            Self::Attributes => seeds::attributes(),
            Self::LogStream => seeds::log_stream(),
        }
    }
}
