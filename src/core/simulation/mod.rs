//! The whole core in a world made of dice: tasks of all kinds are submitted and cancelled, workers start,
//! work, race, hang, crash and answer late or at once, packs are split, limits change, time jumps, the
//! supervisor stops. After every event the core's invariants are checked, and an oracle that knows only
//! events and effects checks what is promised to users.
//!
//! Each seed is one history. `ATASKER_SEEDS=n` sets how many are tried, `ATASKER_SEED=n` reruns one.

mod dice;
mod endings;
mod growth;
mod memory;
mod oracle;
mod shell;
mod staff;
mod transport;
mod world;

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::sabotage::Sabotage;
use crate::dice::number_from;
use world::World;

const SEEDS: u64 = 10_000;

/// What a thousand histories must have seen.
const REACHED: [&str; 26] = [
    "A pack goes on",
    "A worker that was ready retires",
    "Abort",
    "Asked to end: GivenUp",
    "Asked to end: SoftTimeout",
    "Cancelled { why: Requested }",
    "Cancelled { why: Stopped }",
    "Crashed",
    "Expired",
    "Finished",
    "PoolFailed",
    "Quarantined",
    "Signal Cancelled",
    "Signal Corrupt",
    "Signal Late",
    "Signal Memory Task",
    "Signal Memory Worker",
    "Signal Stopping",
    "Signal Stuck",
    "Signal TimedOut",
    "Stage behind another: true",
    "Suspended",
    "TimedOut, in a worker: false",
    "TimedOut, in a worker: true",
    "Used up its CPU time",
    "Warn Critical",
];

/// One history from beginning to end. Panics when something that must hold does not.
fn run(seed: u64, sabotage: Option<Sabotage>) -> World {
    let mut world = World::new(seed, sabotage);
    world.live();
    world.come_to_an_end();
    world
}

#[test]
fn what_must_hold_holds_in_every_history() {
    let seeds = match number_from("ATASKER_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number_from("ATASKER_SEEDS").unwrap_or(SEEDS),
    };
    let (mut events, mut census) = (0, BTreeSet::new());
    for seed in seeds.clone() {
        match catch_unwind(|| run(seed, None)) {
            Ok(world) => {
                events += world.events();
                census.append(&mut world.census());
            }
            Err(panic) => {
                eprintln!(
                    "seed {seed} failed; rerun it: ATASKER_SEED={seed} cargo test --lib simulation"
                );
                std::panic::resume_unwind(panic);
            }
        }
    }
    println!("{} seeds, {events} events, seen: {census:#?}", seeds.end - seeds.start);
    let unseen = REACHED.iter().filter(|&&seen| !census.contains(seen)).collect::<Vec<_>>();
    assert!(seeds.end - seeds.start < 1000 || unseen.is_empty(), "the dice never reach {unseen:?}");
}

#[test]
fn each_planted_bug_is_found() {
    let hook = std::sync::Arc::new(std::panic::take_hook());
    let (here, others) = (std::thread::current().id(), hook.clone());
    std::panic::set_hook(Box::new(move |panic| {
        if std::thread::current().id() != here {
            others(panic);
        }
    }));
    let found = Sabotage::ALL.map(|bug| {
        let finds = |&seed: &u64| catch_unwind(AssertUnwindSafe(|| run(seed, Some(bug)))).is_err();
        (bug, (0..SEEDS).find(finds))
    });
    std::panic::set_hook(Box::new(move |panic| hook(panic)));
    for (bug, seed) in found {
        let seed = seed.unwrap_or_else(|| panic!("{bug:?} was not found in {SEEDS} seeds"));
        println!("{bug:?} was found by seed {seed}, after {} seeds", seed + 1);
    }
}
