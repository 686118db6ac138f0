//! The door "log_stream" for libFuzzer.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tributary_fuzz::door::Door;

fuzz_target!(|input: &[u8]| Door::LogStream.open(input));
