//! The fuzz targets: one for each untrusted input of the modules.

use std::cell::Cell;

use crate::{attributes, configuration, log_stream, queue, seeds};

/// After how many inputs a libFuzzer program reports their number; libFuzzer's own reports become rare over
/// time.
const REPORT_INTERVAL: u64 = 100_000;

/// The start of the line on standard error with the number of inputs.
pub const COUNT_MARK: &str = "inputs so far: ";

/// An untrusted input of the modules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FuzzTarget {
    /// Items of the queue, which any plugin with the same `vm_id` can put there.
    Queue,
    /// Configurations of the worker filter and of the service.
    Configuration,
    /// Attributes of streams: answers to lists, single values, headers, bytes.
    Attributes,
    /// Records of Envoy's access logger in a log stream.
    LogStream,
}

impl FuzzTarget {
    /// All targets.
    pub const ALL: [Self; 4] = [Self::Queue, Self::Configuration, Self::Attributes, Self::LogStream];

    /// The name, as in the names of the programs for libFuzzer.
    pub fn name(self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::Configuration => "configuration",
            Self::Attributes => "attributes",
            Self::LogStream => "log_stream",
        }
    }

    /// Passes an input to the target. Panics if an invariant does not hold.
    pub fn check(self, input: &[u8]) {
        match self {
            Self::Queue => queue::check(input),
            Self::Configuration => configuration::check(input),
            Self::Attributes => attributes::check(input),
            Self::LogStream => log_stream::check(input),
        }
    }

    /// As [`FuzzTarget::check`], for the programs for libFuzzer: reports the number of inputs at intervals.
    pub fn run(self, input: &[u8]) {
        thread_local! {
            static INPUTS: Cell<u64> = const { Cell::new(0) };
        }
        self.check(input);
        let inputs = INPUTS.get().wrapping_add(1);
        INPUTS.set(inputs);
        if inputs.checked_rem(REPORT_INTERVAL) == Some(0) {
            eprintln!("{COUNT_MARK}{inputs}");
        }
    }

    /// The initial inputs, most of them valid.
    pub fn seeds(self) -> Vec<Vec<u8>> {
        match self {
            Self::Queue => seeds::queue(),
            Self::Configuration => seeds::configuration(),
            Self::Attributes => seeds::attributes(),
            Self::LogStream => seeds::log_stream(),
        }
    }
}
