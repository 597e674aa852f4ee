//! Calls and outcomes over shared memory: a ring of entries for each worker, in which what is staged ahead
//! can be taken back by one compare-and-swap. README.md has the protocol.
//!
//! Reading order: `word` (what decides), `sleep` and `bell` (waking), `layout` (where everything stands), `records`
//! (what the coordinator knows itself), `link`, `decide` and `deliver` (the coordinator's end), `outcomes`,
//! `worker_end` and `announce` (the worker's end), `patience` (waiting), `role` (who looks after the rings), `view`
//! (which there are) and `collector` (looking after them). Buffers and what is too large for a ring: PARCELS.md,
//! `parcels` (both ends), `pending`, `extended`, `copying` and `discards` (the coordinator's), `worker_parcels`.

mod announce;
mod bell;
mod collector;
mod copying;
mod decide;
mod deliver;
mod discards;
mod ending;
mod extended;
#[cfg(any(test, fuzzing))]
pub(crate) mod hostile;
pub(crate) mod layout;
mod link;
mod outcomes;
mod parcels;
mod patience;
mod pending;
mod records;
mod role;
mod sleep;
mod view;
mod word;
mod worker_end;
mod worker_parcels;

#[cfg(test)]
mod tests;

pub(crate) use collector::Collector;
pub(crate) use copying::Helper;
pub(crate) use link::{CorruptRing, RingLink};
pub(crate) use outcomes::{PackOutcomes, Read};
pub(crate) use worker_end::{RingCall, RingEnd};
