//! Limits of memory: of workers, of tasks, of the machine.

use super::*;

const WEIGHED: WorkersConfig =
    WorkersConfig { memory_soft_limit: Some(50), memory_hard_limit: Some(80), ..WORKERS };

const CAREFUL: WorkersConfig = WorkersConfig { holds_back: true, ..RINGS };

fn limited() -> Options {
    Options { memory_limit: Some(30), ..Options::DEFAULT }
}

#[test]
fn workers_are_weighed_while_they_run_something_and_once_more() {
    let mut story = Story::workers(Limits::new(2), WEIGHED);
    assert_eq!(story.core.next_deadline(), None);
    story.submit("a", Options::DEFAULT).is("stage a on 2").wait(ms(20)).is("weigh 2");
    story.weighed(2, Some("a"), 50).is("").wait(ms(20)).is("weigh 2");
    story.done("a").wait(ms(20)).is("");
    story.submit("b", Options::DEFAULT).done("b").wait(ms(20)).is("weigh 2");
    assert_eq!(story.core.next_deadline(), None, "nobody weighs an idle pool");
}

#[test]
fn a_worker_above_the_soft_limit_is_replaced_when_another_is_ready() {
    let mut story = Story::workers(Limits::new(1), WEIGHED);
    story.submit("a", Options::DEFAULT).weighed(1, Some("a"), 51).is("spawn 2");
    story.weighed(1, Some("a"), 60).is("").ready(2).is("").weighed(1, Some("a"), 60).is("");
    story.submit("b", Options::DEFAULT).is("").done("a").is("a finished, retire 1, stage b on 2");
}

#[test]
fn a_worker_above_the_hard_limit_is_killed_and_its_task_has_crashed_when_it_is_dead() {
    let mut story = Story::workers(Limits::new(1), WEIGHED);
    story.submit("a", retry(1, RetryOn::Crash)).submit("b", Options::DEFAULT);
    story.weighed(1, Some("a"), 81).is("kill a on 1").weighed(1, Some("a"), 90).is("");
    story.killed(1, "a", true).is("signal 1 Worker memory 81 of 80, spawn 2");
    story.ready(2).is("stage b on 2").exited(1, &[]).is("a again after Crash").done("b");
    story.is("b finished, stage a on 2").weighed(2, Some("a"), 81).killed(2, "a", true);
    story.is("signal 2 Worker memory 81 of 80, spawn 3").exited(2, &[]).is("a crashed in 2");
    story.ready(3).is("");
}

#[test]
fn what_came_after_the_weighing_is_not_killed_for_it() {
    let mut story = Story::workers(Limits::new(1), WEIGHED);
    story.submit("a", Options::DEFAULT).submit("b", Options::DEFAULT).done("a");
    story.is("a finished, stage b on 1").weighed(1, Some("a"), 90).is("");
    story.weighed(1, None, 90).is("").done("b").is("b finished");
    story.weighed(1, Some("b"), 90).is("retire 1, spawn 2");
}

#[test]
fn a_completion_wins_against_a_kill_for_memory() {
    let mut story = Story::workers(Limits::new(1), WEIGHED);
    story.submit("a", Options::DEFAULT).weighed(1, Some("a"), 90).is("kill a on 1");
    story.killed(1, "a", false).is("").done("a").is("a finished");
}

#[test]
fn what_is_killed_for_memory_can_still_be_cancelled() {
    let mut story = Story::workers(Limits::new(1), WEIGHED);
    story.submit("a", retry(1, RetryOn::Crash)).weighed(1, Some("a"), 90).killed(1, "a", true);
    story.cancel("a", Cancel::Resolved).is("a cancelled (Requested)").exited(1, &[]).is("");
}

#[test]
fn what_a_task_takes_counts_from_its_begin() {
    let mut story = Story::workers(Limits::new(1), RINGS);
    story.submit("a", limited()).is("weigh 1, stage a on 1").weighed(1, Some("a"), 1000).is("");
    story.submit("b", limited()).is("").submit("c", Options::DEFAULT).is("");
    story.wait(ms(20)).is("weigh 1").weighed(1, Some("a"), 1030).is("").done("a");
    story.is("a finished, weigh 1, stage b on 1, stage c on 1").weighed(1, Some("b"), 2000).is("");
    story.wait(ms(20)).is("weigh 1").weighed(1, Some("b"), 2031).is("kill b on 1");
    let answer = "revoke c on 1, signal 1 Task memory 31 of 30, spawn 2";
    story.killed(1, "b", true).is(answer).revoked(1, "c", true).is("");
    story.ready(2).is("stage c on 2").exited(1, &[]).is("b crashed in 1");
}

#[test]
fn tasks_are_held_back_while_memory_is_short() {
    let mut story = Story::workers(Limits::new(2), CAREFUL);
    story.submit("a", Options::DEFAULT).is("look at the memory").submit("b", Options::DEFAULT);
    story.is("").memory_seen(true, HoldBack::Unchanged).is("stage a on 2, stage b on 1");
    story.submit("c", Options::DEFAULT).is("stage c on 1").wait(ms(100)).is("");
    story.submit("d", Options::DEFAULT).is("look at the memory");
    story.memory_seen(false, HoldBack::Begins).is("revoke c on 1").revoked(1, "c", true).is("");
    assert!(story.core.info(PoolId::Processes).held_back);
    story.done("a").is("a finished").wait(ms(99)).is("").wait(ms(1)).is("look at the memory");
    story.memory_seen(false, HoldBack::Unchanged).is("");
    story.submit("now", priority(Priority::Critical)).is("stage now on 2").done("now");
    story.is("now finished").wait(ms(100)).memory_seen(true, HoldBack::Ends);
    story.is("stage c on 2, stage d on 1");
    assert!(!story.core.info(PoolId::Processes).held_back);
}

#[test]
fn one_task_runs_at_a_time_however_short_memory_is() {
    let mut story = Story::workers(Limits::new(2), CAREFUL);
    story.submit("a", Options::DEFAULT).submit("b", Options::DEFAULT);
    story.memory_seen(false, HoldBack::Begins).is("stage a on 2").done("a");
    story.is("a finished, stage b on 2").done("b").is("b finished").wait(ms(1000)).is("");
    assert_eq!(story.core.next_deadline(), None, "nobody looks for an idle pool");
}

/// A task may have got more before it could be weighed first, or not even its arguments.
#[test]
fn what_a_worker_had_at_the_begin_counts_if_it_has_said_so() {
    for first in [10, 100, 125] {
        let mut story = Story::workers(Limits::new(1), RINGS);
        story.submit("a", limited()).weighed(1, Some("a"), first).is("");
        story.weighed_since(1, Some("a"), Some(100), 130).is("");
        story.weighed_since(1, Some("a"), Some(100), 131).is("kill a on 1");
    }
    let mut story = Story::workers(Limits::new(1), RINGS);
    story.submit("a", limited()).weighed(1, Some("a"), 10).is("");
    story.weighed(1, Some("a"), 41).is("kill a on 1");
}
