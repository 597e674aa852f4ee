//! What is made of dice.

use std::time::Duration;

use crate::core::Finish;
pub(super) use crate::dice::Dice;
use crate::task::options::{Backoff, Limits, Options, Priority, RetryOn, RetryPolicy};

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
    let (soft_timeout, cpu_limit) = (millis(4, 10), millis(4, 10));
    let mut retry = RetryPolicy::NEVER;
    if dice.one_in(2) {
        retry.retries = 1 + dice.below(3) as u32;
        retry.backoff = Backoff::fixed(Duration::from_millis(dice.below(3)));
        let kinds = [RetryOn::Crash, RetryOn::Timeout, RetryOn::Panic, RetryOn::Error];
        let chosen: Vec<RetryOn> = kinds.into_iter().filter(|_| !dice.one_in(4)).collect();
        retry.set_kinds(chosen);
    }
    let crash_limit = dice.one_in(2).then(|| 1 + dice.below(3) as u32);
    let memory_limit = dice.one_in(6).then_some(30);
    let priority = Priority::ALL[dice.index(4)];
    Options {
        priority,
        timeout,
        queue_timeout,
        delay,
        retry,
        crash_limit,
        soft_timeout,
        cpu_limit,
        memory_limit,
    }
}
