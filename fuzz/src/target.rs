//! The fuzz targets: one for each untrusted input of the modules.

use std::cell::Cell;

use crate::{attributes, configuration, log_stream, queue, seeds};

/// The number of inputs between two reports of the number of inputs by a libFuzzer program. libFuzzer's own
/// reports become rare over time.
const REPORT_INTERVAL: u64 = 100_000;

/// The start of the line on standard error with the number of inputs.
pub const COUNT_MARK: &str = "inputs so far: ";

/// An untrusted input of the modules.
#[derive(Clone, Copy, Debug)]
pub struct FuzzTarget {
    name: &'static str,
    check: fn(&[u8]),
    seeds: fn() -> Vec<Vec<u8>>,
}

impl FuzzTarget {
    /// Items of the queue, which any plugin with the same `vm_id` can enqueue.
    pub const QUEUE: Self = Self { name: "queue", check: queue::check, seeds: seeds::queue };
    /// Configurations, each given to the worker filter, the service and the console.
    pub const CONFIGURATION: Self =
        Self { name: "configuration", check: configuration::check, seeds: seeds::configuration };
    /// Attributes of streams, as the host returns them for reads of lists, single values and headers.
    pub const ATTRIBUTES: Self =
        Self { name: "attributes", check: attributes::check, seeds: seeds::attributes };
    /// Records of Envoy's access logger in a log stream.
    pub const LOG_STREAM: Self =
        Self { name: "log_stream", check: log_stream::check, seeds: seeds::log_stream };
    /// All targets.
    pub const ALL: [Self; 4] = [Self::QUEUE, Self::CONFIGURATION, Self::ATTRIBUTES, Self::LOG_STREAM];

    /// Returns the name, which is also the name of the program for libFuzzer.
    pub fn name(self) -> &'static str {
        self.name
    }

    /// Passes an input to the target. Panics if an invariant does not hold.
    pub fn check(self, input: &[u8]) {
        (self.check)(input);
    }

    /// Calls [`FuzzTarget::check`], and reports the number of inputs at intervals. The programs for
    /// libFuzzer use this.
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

    /// Returns the initial inputs; most of these inputs are valid.
    pub fn seeds(self) -> Vec<Vec<u8>> {
        (self.seeds)()
    }
}
