//! Threads: classes, limits, what can't be killed.

use super::*;

#[test]
fn each_class_has_its_places_and_the_highest_goes_first() {
    let mut story = Story::slots(Limits::new(1).reserve_normal(1).reserve_high(1));
    story.submit("low", priority(Priority::Low)).is("run low");
    story.submit("low 2", priority(Priority::Low)).is("");
    story.submit("normal", priority(Priority::Normal)).is("run normal");
    story.submit("normal 2", priority(Priority::Normal)).is("");
    story.submit("high", priority(Priority::High)).is("run high");
    story.submit("high 2", priority(Priority::High)).is("");
    story.submit("critical", priority(Priority::Critical)).is("run critical");
    story.done("critical").is("critical finished");
    story.done("low").is("low finished, run high 2");
    story.done("normal").is("normal finished");
    story.done("high").is("high finished, run normal 2");
    story.done("high 2").is("high 2 finished");
    story.done("normal 2").is("normal 2 finished, run low 2");
}

#[test]
fn within_a_class_it_is_first_come_first_served() {
    let mut story = Story::slots(Limits::new(1));
    story.submit("a", Options::DEFAULT).submit("b", Options::DEFAULT).submit("c", Options::DEFAULT);
    story.done("a").is("a finished, run b").done("b").is("b finished, run c");
}

#[test]
fn a_pool_size_of_zero_means_no_limit_but_the_cap_holds() {
    let config = pool(Limits::new(0), PoolKind::Slots);
    let config = PoolConfig { places_max: Some(2), ..config };
    let mut story = Story::new(PoolId::Threads, config, [None; 2]);
    story.submit("a", Options::DEFAULT).is("run a").submit("b", Options::DEFAULT).is("run b");
    story.submit("c", priority(Priority::High)).is("");
    story.submit("d", priority(Priority::Critical)).is("run d");
}

#[test]
fn limits_change_while_tasks_run() {
    let mut story = Story::slots(Limits::new(2));
    story.submit("a", Options::DEFAULT).submit("b", Options::DEFAULT).submit("c", Options::DEFAULT);
    story.resize(Limits::new(1)).is("").done("a").is("a finished");
    story.done("b").is("b finished, run c");
    story.submit("d", Options::DEFAULT).is("").resize(Limits::new(2)).is("run d");
}

#[test]
fn a_bound_counts_what_is_as_urgent_and_returns_the_payload() {
    let config = PoolConfig { queue_bound: Some(1), ..pool(Limits::new(1), PoolKind::Slots) };
    let mut story = Story::new(PoolId::Threads, config, [None; 2]);
    story.submit("runs", Options::DEFAULT).submit("waits", priority(Priority::Low));
    assert_eq!(story.try_submit("low", priority(Priority::Low)), Err(RefuseReason::QueueFull));
    assert!(
        story.core.has_room(PoolId::Threads, Priority::High),
        "a flood of low ones keeps nobody out"
    );
    story.submit("high", priority(Priority::High));
    assert_eq!(story.try_submit("low", priority(Priority::Low)), Err(RefuseReason::QueueFull));
}

#[test]
fn a_closure_that_is_given_up_holds_its_slot_until_it_ends() {
    let mut story = Story::slots(Limits::new(1));
    story
        .submit("a", Options { timeout: Some(ms(5)), ..Options::DEFAULT })
        .submit("b", Options::DEFAULT);
    story.wait(ms(5)).is("ask a to end, a timed out");
    assert_eq!(story.core.info(PoolId::Threads).detached, 1);
    story.cancel("a", Cancel::TooLate).is("");
    story.done("a").is("run b").cancel("b", Cancel::Resolved);
    story.is("ask b to end, b cancelled (Requested)").done("b").is("");
    assert_eq!(story.core.info(PoolId::Threads).busy, 0);
}

#[test]
fn a_retry_of_a_timed_out_closure_waits_for_its_end() {
    let mut story = Story::slots(Limits::new(2));
    let options = Options { timeout: Some(ms(5)), ..retry(1, RetryOn::Timeout) };
    story.submit("a", options).wait(ms(5)).is("ask a to end");
    story.wait(ms(50)).is("").done("a").is("a again after Timeout, run a");
    story.wait(ms(5)).is("ask a to end, a timed out").done("a").is("");
}

#[test]
fn a_timed_out_closure_that_never_ends_is_not_waited_for_for_ever() {
    let mut story = Story::slots(Limits::new(2));
    let options = Options { timeout: Some(ms(3000)), ..retry(1, RetryOn::Timeout) };
    let short = Options { timeout: Some(ms(5)), ..retry(1, RetryOn::Timeout) };
    story.submit("a", options).submit("b", short).wait(ms(5)).is("ask b to end");
    story.wait(ms(999)).is("").wait(ms(1)).is("b timed out");
    story.wait(ms(1995)).is("ask a to end").wait(ms(2999)).is("").wait(ms(1)).is("a timed out");
    assert_eq!(story.core.info(PoolId::Threads).detached, 2);
    story.submit("c", Options::DEFAULT).done("b").is("run c").done("a").is("");
    // One that has been retried, or cancelled, has no alarm left.
    story.submit("d", short).wait(ms(5)).is("ask d to end").done("d");
    story.is("d again after Timeout, run d").done("d").is("d finished");
    story.submit("e", short).wait(ms(5)).is("ask e to end").cancel("e", Cancel::Resolved);
    story.is("ask e to end, e cancelled (Requested)").wait(ms(9000)).is("").done("e").is("");
    assert_eq!(story.core.next_deadline(), None);
}

#[test]
fn retries_follow_the_policy() {
    let mut story = Story::slots(Limits::new(1));
    story.submit("a", retry(1, RetryOn::Error)).submit("b", Options::DEFAULT);
    story.finish("a", Finish::ReturnedError).is("a again after Error, run a");
    story.finish("a", Finish::ReturnedError).is("a finished, run b");
    story.finish("b", Finish::Panicked).is("b finished");
    story.submit("c", retry(9, RetryOn::Error)).finish("c", Finish::Panicked).is("c finished");
    story.submit("d", retry(9, RetryOn::Error)).finish("d", Finish::Refused).is("d finished");
}

#[test]
fn a_retry_waits_for_its_backoff_and_returns_to_its_old_position() {
    let mut story = Story::slots(Limits::new(1));
    let mut options = retry(1, RetryOn::Panic);
    options.retry.backoff = Backoff::fixed(ms(8));
    story.submit("a", options);
    story.submit("b", Options::DEFAULT).submit("c", Options::DEFAULT);
    story.finish("a", Finish::Panicked).is("a again later after Panic, run b");
    story.wait(ms(8)).is("").done("b").is("b finished, run a");
}

#[test]
fn what_comes_late_or_twice_changes_nothing() {
    let mut story = Story::slots(Limits::new(1));
    story.submit("a", Options::DEFAULT).done("a").is("a finished").done("a").is("");
    story.submit("b", Options::DEFAULT).is("run b").done("a").is("").done("b").is("b finished");
    story
        .killed(1, "b", true)
        .is("")
        .revoked(1, "b", true)
        .is("")
        .exited(7, &["b"])
        .is("")
        .ready(9)
        .is("");
}

#[test]
fn a_slot_of_the_slab_that_is_used_again_is_not_mistaken() {
    let mut story = Story::slots(Limits::new(1));
    story.submit("a", Options::DEFAULT).done("a").submit("b", Options::DEFAULT);
    assert_eq!(story.tasks["a"].slot, story.tasks["b"].slot);
    story.cancel("a", Cancel::TooLate).is("").done("b").is("b finished");
    assert!(story.core.task(story.tasks["a"]).is_none());
}
