//! The target "log_stream" for libFuzzer.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tributary_fuzz::target::FuzzTarget;

fuzz_target!(|input: &[u8]| FuzzTarget::LOG_STREAM.run(input));
