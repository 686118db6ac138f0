//! The target "queue" for libFuzzer.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tributary_fuzz::target::FuzzTarget;

fuzz_target!(|input: &[u8]| FuzzTarget::QUEUE.run(input));
