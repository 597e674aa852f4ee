//! Delays, expiry, reports of long waits, aging.

use super::*;

fn queue_timeout(time: Duration) -> Options {
    Options { queue_timeout: Some(time), ..Options::DEFAULT }
}

#[test]
fn a_delayed_task_takes_its_place_when_it_is_due() {
    let mut story = Story::slots(Limits::new(1));
    let delayed = Options { delay: Some(ms(10)), ..queue_timeout(ms(5)) };
    story.submit("late", delayed).is("").submit("a", Options::DEFAULT).is("run a");
    story.submit("b", Options::DEFAULT).wait(ms(9)).is("").wait(ms(1)).is("");
    story.done("a").is("a finished, run b");
    story.wait(ms(4)).is("").wait(ms(1)).is("late expired");
    assert_eq!(story.core.next_deadline(), None);
}

#[test]
fn only_what_has_not_begun_expires() {
    let mut story = Story::slots(Limits::new(1));
    story.submit("a", queue_timeout(ms(5))).is("run a").submit("b", queue_timeout(ms(5))).is("");
    story.wait(ms(5)).is("b expired").wait(ms(100)).is("").done("a").is("a finished");
}

#[test]
fn a_retry_does_not_expire() {
    let mut story = Story::slots(Limits::new(1));
    let options = Options { queue_timeout: Some(ms(5)), ..retry(1, RetryOn::Error) };
    story.submit("a", options).submit("b", priority(Priority::High));
    story.finish("a", Finish::ReturnedError).is("a again after Error, run b");
    story.wait(ms(50)).is("");
    story.done("b").is("b finished, run a");
}

#[test]
fn long_waits_are_reported_once_per_level_while_they_last() {
    let config = pool(Limits::new(1), PoolKind::Slots);
    let mut story = Story::new(PoolId::Threads, config, [Some(ms(10)), Some(ms(20))]);
    story.submit("runs", Options::DEFAULT).submit("a", Options::DEFAULT).wait(ms(4)).is("");
    story
        .submit("b", Options::DEFAULT)
        .submit("low", priority(Priority::Low))
        .wait(ms(6))
        .is("a waits 10ms Warning");
    story.wait(ms(4)).is("low waits 10ms Warning, b waits 10ms Warning");
    story.done("runs").is("runs finished, run a");
    story.wait(ms(10)).is("low waits 20ms Critical, b waits 20ms Critical").wait(ms(100)).is("");
}

#[test]
fn aging_lifts_one_class_per_period_but_not_into_critical() {
    let config = PoolConfig { aging: Some(ms(10)), ..pool(Limits::new(1), PoolKind::Slots) };
    let mut story = Story::new(PoolId::Threads, config, [None, Some(ms(25))]);
    story
        .submit("runs", priority(Priority::High))
        .submit("old", priority(Priority::Low))
        .wait(ms(9));
    story.submit("normal", priority(Priority::Normal)).wait(ms(1)).is("");
    let class = |story: &Story| story.core.task(story.tasks["old"]).expect("it waits").class;
    assert_eq!(class(&story), Priority::Normal);
    story.wait(ms(10)).is("");
    assert_eq!(class(&story), Priority::High);
    story.wait(ms(5)).is("old waits 25ms Critical").wait(ms(100));
    assert_eq!(class(&story), Priority::High);
    story.submit("high", priority(Priority::High));
    story
        .done("runs")
        .is("runs finished, run normal")
        .done("normal")
        .is("normal finished, run old");
}

#[test]
fn aging_lets_a_task_use_the_reserve_of_its_new_class() {
    let limits = Limits::new(1).reserve_normal(1);
    let config = PoolConfig { aging: Some(ms(10)), ..pool(limits, PoolKind::Slots) };
    let mut story = Story::new(PoolId::Threads, config, [None; 2]);
    story
        .submit("a", priority(Priority::Low))
        .is("run a")
        .submit("b", priority(Priority::Low))
        .is("");
    story.wait(ms(10)).is("run b");
}

#[test]
fn a_new_wait_is_reported_anew() {
    let config = pool(Limits::new(1), PoolKind::Slots);
    let mut story = Story::new(PoolId::Threads, config, [Some(ms(10)), None]);
    story.submit("b", Options::DEFAULT).submit("a", retry(1, RetryOn::Error));
    story.wait(ms(10)).is("a waits 10ms Warning");
    story.submit("high", priority(Priority::High)).done("b").is("b finished, run high");
    story.done("high").is("high finished, run a").submit("high", priority(Priority::High));
    story.finish("a", Finish::ReturnedError).is("a again after Error, run high");
    story.wait(ms(9)).is("").wait(ms(1)).is("a waits 10ms Warning").wait(ms(99)).is("");
}

#[test]
fn time_in_which_nobody_looked_does_not_count() {
    let mut story =
        Story::workers(Limits::new(1), WorkersConfig { claim_deadline: Some(ms(100)), ..RINGS });
    let timeout = Options { timeout: Some(ms(20)), ..Options::DEFAULT };
    let patience = Options { queue_timeout: Some(ms(20)), ..Options::DEFAULT };
    let delayed = Options { delay: Some(ms(500)), ..patience };
    story.submit("runs", timeout).submit("waits", patience).submit("later", delayed);
    story.wait(ms(15)).is("");
    story.suspend(ms(1000)).wait(ms(0)).is("stage later on 1");
    // What is left of each limit is as much as there was before.
    story.wait(ms(4)).is("").wait(ms(1)).is("kill runs on 1, revoke waits on 1");
    story.killed(1, "runs", false).revoked(1, "waits", true).is("waits expired");
    // It waits in the queue since its delay ended; while nobody looked is no waiting.
    story.wait(ms(14)).is("").wait(ms(1)).is("revoke later on 1");
}

#[test]
fn a_worker_is_not_taken_for_stuck_because_the_host_was_suspended() {
    let config = WorkersConfig { claim_deadline: Some(ms(100)), ..RINGS };
    let mut story = Story::workers(Limits::new(1), config);
    story.submit("a", Options::DEFAULT).is("stage a on 1").wait(ms(50)).is("");
    story.suspend(ms(1000)).wait(ms(0)).is("");
    // Those who look once in a while see it within twice the time.
    story.wait(ms(100)).is("check a on 1").checked(1, "a", false);
    story.is("revoke a on 1, signal 1 Stuck, spawn 2");
}

#[test]
fn what_runs_in_a_slot_is_given_the_time_again_too() {
    let mut story = Story::slots(Limits::new(1));
    let timeout = Options { timeout: Some(ms(20)), ..retry(1, RetryOn::Timeout) };
    story.submit("a", timeout).is("run a").wait(ms(15)).suspend(ms(1000)).wait(ms(4)).is("");
    story.wait(ms(1)).is("ask a to end").done("a").is("a again after Timeout, run a");
    story.wait(ms(15)).suspend(ms(1000)).wait(ms(4)).is("").wait(ms(1));
    story.is("ask a to end, a timed out");
}

/// It has not waited, and nothing of its time has passed.
#[test]
fn what_comes_as_it_is_noticed_that_the_host_was_suspended_is_given_none_of_that_time() {
    let mut story = Story::workers(Limits::new(1), RINGS);
    let options =
        Options { queue_timeout: Some(ms(100)), timeout: Some(ms(50)), ..Options::DEFAULT };
    let (mut staged, hour) = (None, Duration::from_hours(1));
    story.now = story.now + hour;
    story.event(|core, now, out| {
        let submission = Submission::single(PoolId::Processes, &options, "a");
        let (worker, ticket) = core.begin_on_idle(submission).expect("a worker is idle");
        assert_eq!(core.payload_of(ticket), Some(&"a"));
        core.on_late(now, Time::ZERO);
        core.on_begun_on_idle(now, ticket, out);
        staged = Some((worker, ticket));
    });
    let (worker, ticket) = staged.expect("it was staged");
    story.tasks.insert("a", ticket.task);
    // It never began, and waits in the line for its queue timeout, no longer.
    story.event(|core, now, out| core.on_worker_exited(now, worker, &[], out));
    story.wait(ms(99)).is("");
    story.wait(ms(1)).is("a expired");
}
