//! Every door, with inputs that it understands, inputs that once did harm, and inputs that are almost right.

use std::error::Error;
use std::fs;
use std::panic;
use std::path::Path;

use tributary_fuzz::mutation::Mutator;
use tributary_fuzz::target::FuzzTarget;

/// Inputs for each door; the variable asks for more.
const INPUTS: u64 = 10_000;
const INPUTS_VARIABLE: &str = "TRIBUTARY_FUZZ_INPUTS";

const BYTES_MAX: usize = 2_048;

fn withstands(door: FuzzTarget) -> Result<(), Box<dyn Error>> {
    for input in door.seeds().into_iter().chain(found(door)?) {
        door.check(&input);
    }
    let inputs = std::env::var(INPUTS_VARIABLE).map_or(Ok(INPUTS), |count| count.parse())?;
    let mut mutator = Mutator::new(1, door.seeds(), BYTES_MAX);
    for number in 0..inputs {
        let input = mutator.input();
        // A panic says where it was, not what led there.
        let checked = panic::catch_unwind(|| door.check(&input));
        assert!(checked.is_ok(), "input {number} of the door {}: {input:?}", door.name());
    }
    Ok(())
}

/// Inputs that once did harm.
fn found(door: FuzzTarget) -> Result<Vec<Vec<u8>>, Box<dyn Error>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("found").join(door.name());
    if !folder.exists() {
        return Ok(Vec::new());
    }
    fs::read_dir(folder)?.map(|file| Ok(fs::read(file?.path())?)).collect()
}

#[test]
fn no_item_of_the_queue_does_harm() {
    withstands(FuzzTarget::Queue).unwrap();
}

#[test]
fn no_configuration_does_harm() {
    withstands(FuzzTarget::Configuration).unwrap();
}

#[test]
fn no_attribute_does_harm() {
    withstands(FuzzTarget::Attributes).unwrap();
}

#[test]
fn no_log_stream_does_harm() {
    withstands(FuzzTarget::LogStream).unwrap();
}
