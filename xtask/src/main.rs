//! Builds, runs, tests and measures Tributary.

fn main() {}
