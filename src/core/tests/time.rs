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
