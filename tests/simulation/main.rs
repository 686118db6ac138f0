//! Simulates workers, queue, service and collectors in one thread with a simulated clock and faults drawn
//! by a seed. After every step, every observation is accounted for. At the end, each observation has
//! reached every collector or is known to be lost.
//!
//! The modules are the real ones, but run on a fake host. Add every seed that fails to [`SEEDS`].

#[cfg(test)]
mod collector;
#[cfg(test)]
mod events;
#[cfg(test)]
mod ledger;
#[cfg(test)]
mod service;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod worker;

use std::panic;

use events::EventCounts;
use simulation::Simulation;
use tributary_host::{fake, random};

/// Seeds with which a simulation once failed, with the fault that each found.
const SEEDS: [(u64, &str); 1] =
    [(2009, "no batch announced a counter, because each worker trapped before its first flush")];

/// The number of further seeds. Environment variables set this number and the first seed.
const COUNT: u64 = 60;
const FIRST_VARIABLE: &str = "TRIBUTARY_SIMULATION_FIRST_SEED";
const COUNT_VARIABLE: &str = "TRIBUTARY_SIMULATION_SEEDS";
/// The number of steps of one simulation, before all faults end.
const STEPS: u32 = 150;

#[test]
fn every_observation_is_accounted_for_with_any_faults() {
    let count = std::env::var(COUNT_VARIABLE).map_or(COUNT, |count| count.parse().unwrap());
    let first = std::env::var(FIRST_VARIABLE).map_or(0, |first| first.parse().unwrap());
    let seeds = SEEDS.into_iter().map(|(seed, _)| seed).chain(first..first + count);
    // All hashers of a process share a seed. The seed is drawn here, so that a simulation does not depend
    // on the previous simulations.
    fake::reset();
    random::hasher();
    let mut sum = EventCounts::default();
    for seed in seeds {
        let run = panic::catch_unwind(|| {
            let mut simulation = Simulation::new(seed);
            (0..STEPS).for_each(|_| simulation.step());
            simulation.end()
        });
        match run {
            Ok(events) => sum.add_all(&events),
            Err(_) => panic!("seed {seed} failed: see the panic above"),
        }
    }
    println!("{sum:#?}");
    // Every kind of event must have occurred: a simulation without faults would find nothing.
    assert_eq!(sum.missed(), []);
}
