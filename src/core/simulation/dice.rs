//! Reproducible randomness, and what is made of it.

use std::time::Duration;

use crate::core::Finish;
use crate::task::options::{Backoff, Limits, Options, Priority, RetryOn, RetryPolicy};

/// splitmix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014).
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0xD134_2543_DE82_EF95).wrapping_add(1))
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// From zero to less than `end`.
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    pub(super) fn index(&mut self, len: usize) -> usize {
        self.below(len as u64) as usize
    }

    pub(super) fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    pub(super) fn pick<T: Copy>(&mut self, from: &[T]) -> Option<T> {
        if from.is_empty() {
            return None;
        }
        let index = self.index(from.len());
        Some(from[index])
    }
}

pub(super) fn limits(dice: &mut Dice, least: u64) -> Limits {
    Limits::new((least + dice.below(3)) as u32)
        .reserve_normal(dice.below(2) as u32)
        .reserve_high(dice.below(2) as u32)
}

pub(super) fn finish(dice: &mut Dice) -> Finish {
    match dice.below(10) {
        0 => Finish::ReturnedError,
        1 => Finish::Panicked,
        2 => Finish::Refused,
        _ => Finish::Returned,
    }
}

pub(super) fn options(dice: &mut Dice) -> Options {
    let mut millis =
        |one_in, most| dice.one_in(one_in).then(|| Duration::from_millis(dice.below(most)));
    let (timeout, queue_timeout, delay) = (millis(3, 10), millis(4, 10), millis(5, 10));
    let mut retry = RetryPolicy::NEVER;
    if dice.one_in(2) {
        retry.retries = 1 + dice.below(3) as u32;
        retry.backoff = Backoff::fixed(Duration::from_millis(dice.below(3)));
        let kinds = [RetryOn::Crash, RetryOn::Timeout, RetryOn::Panic, RetryOn::Error];
        let chosen: Vec<RetryOn> = kinds.into_iter().filter(|_| !dice.one_in(4)).collect();
        retry.set_kinds(chosen);
    }
    Options { priority: Priority::ALL[dice.index(4)], timeout, queue_timeout, delay, retry }
}
