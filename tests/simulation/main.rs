//! Workers, queue, service and collectors in one thread on a clock of its own, with faults by seed: after every step every
//! observation is somewhere, and at the end each is where it belongs.
//!
//! The modules are the real ones, on the host's fake. A seed that fails goes into [`SEEDS`], and stays there.

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

/// Seeds that once failed, with what they found.
const SEEDS: [(u64, &str); 1] =
    [(2009, "no batch ever told of a counter: each worker failed before it handed anything over")];

/// Further seeds, from 0; variables ask for more, or for others.
const COUNT: u64 = 60;
const FIRST_VARIABLE: &str = "TRIBUTARY_SIMULATION_FIRST_SEED";
const COUNT_VARIABLE: &str = "TRIBUTARY_SIMULATION_SEEDS";
/// What happens in one simulation before everything heals.
const STEPS: u32 = 150;

#[test]
fn whatever_fails_every_observation_is_accounted_for() {
    let count = std::env::var(COUNT_VARIABLE).map_or(COUNT, |count| count.parse().unwrap());
    let first = std::env::var(FIRST_VARIABLE).map_or(0, |first| first.parse().unwrap());
    let seeds = SEEDS.into_iter().map(|(seed, _)| seed).chain(first..first + count);
    // All hashers of a process share a seed: drawn here, each simulation is the same, whichever came before it.
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
            Ok(happened) => sum.add_all(&happened),
            Err(_) => panic!("seed {seed}: see above for what did not hold"),
        }
    }
    println!("{sum:#?}");
    // A simulation in which nothing goes wrong would find nothing.
    assert_eq!(sum.missed(), []);
}
