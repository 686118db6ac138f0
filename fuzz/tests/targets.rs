//! Runs every target with its seeds, with inputs that once failed, and with mutated seeds.

use std::error::Error;
use std::fs;
use std::panic;
use std::path::Path;

use tributary_fuzz::mutation::Mutator;
use tributary_fuzz::target::FuzzTarget;

/// The number of mutated inputs per target. The environment variable below overrides this number.
const INPUTS: u64 = 10_000;
const INPUTS_VARIABLE: &str = "TRIBUTARY_FUZZ_INPUTS";

const BYTES_MAX: usize = 2_048;

fn check(target: FuzzTarget) -> Result<(), Box<dyn Error>> {
    for input in target.seeds().into_iter().chain(found(target)?) {
        target.check(&input);
    }
    let inputs = std::env::var(INPUTS_VARIABLE).map_or(Ok(INPUTS), |count| count.parse())?;
    let mut mutator = Mutator::new(1, target.seeds(), BYTES_MAX);
    for number in 0..inputs {
        let input = mutator.input();
        // Reports the input, because the message of the panic does not contain it.
        let checked = panic::catch_unwind(|| target.check(&input));
        assert!(checked.is_ok(), "input {number} of target {}: {input:?}", target.name());
    }
    Ok(())
}

/// Reads the inputs with which the target once failed; empty if no folder with such inputs exists.
fn found(target: FuzzTarget) -> Result<Vec<Vec<u8>>, Box<dyn Error>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("found").join(target.name());
    if !folder.exists() {
        return Ok(Vec::new());
    }
    fs::read_dir(folder)?.map(|file| Ok(fs::read(file?.path())?)).collect()
}

#[test]
fn no_queue_item_breaks_an_invariant() {
    check(FuzzTarget::QUEUE).unwrap();
}

#[test]
fn no_configuration_breaks_an_invariant() {
    check(FuzzTarget::CONFIGURATION).unwrap();
}

#[test]
fn no_attribute_breaks_an_invariant() {
    check(FuzzTarget::ATTRIBUTES).unwrap();
}

#[test]
fn no_log_stream_breaks_an_invariant() {
    check(FuzzTarget::LOG_STREAM).unwrap();
}
