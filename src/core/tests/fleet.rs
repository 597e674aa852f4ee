//! How many workers there are: spare ones, and those that replace others.

use super::*;

const SPARE: WorkersConfig = WorkersConfig { spares: 1, ..WORKERS };

#[test]
fn a_spare_worker_takes_over_at_once_when_another_dies() {
    let mut story = Story::workers(Limits::new(1), SPARE);
    story.submit("a", Options::DEFAULT).is("stage a on 2").submit("b", Options::DEFAULT).is("");
    story.exited(2, &["a"]).is("a crashed in 2, stage b on 1, spawn 3");
    story.submit("c", Options::DEFAULT).done("b").is("b finished, stage c on 1").ready(3).is("");
    story.done("c").submit("d", Options::DEFAULT).is("stage d on 1");
}

#[test]
fn a_spare_worker_takes_over_as_soon_as_a_kill_is_won() {
    let mut story = Story::workers(Limits::new(1), SPARE);
    story.submit("a", timeout(ms(5))).submit("b", Options::DEFAULT).wait(ms(5)).is("kill a on 2");
    story.killed(2, "a", true).is("signal 2 TimedOut, a timed out, stage b on 1, spawn 3");
    story.cancel("b", Cancel::InProgress).submit("c", Options::DEFAULT).ready(3).is("");
    let answer = "signal 1 Cancelled, b cancelled (Requested), stage c on 3, spawn 4";
    story.killed(1, "b", true).is(answer).exited(2, &["a"]).is("").exited(1, &["b"]).is("");
}

#[test]
fn spare_workers_are_no_places() {
    let mut story = Story::workers(Limits::new(1).reserve_high(1), SPARE);
    story.submit("a", Options::DEFAULT).is("stage a on 3").submit("b", Options::DEFAULT).is("");
    story.submit("high", priority(Priority::High)).is("stage high on 2");
    story.submit("higher", priority(Priority::High)).is("");
    story.done("high").is("high finished, stage higher on 2");
    let mut story = Story::workers(Limits::new(1), WorkersConfig { spares: 1, ..RINGS });
    story.submit("a", Options::DEFAULT).is("stage a on 2").submit("b", Options::DEFAULT);
    story.is("stage b on 2").exited(2, &["a"]).is("a crashed in 2, stage b on 1, spawn 3");
}

#[test]
fn a_critical_task_takes_a_spare_worker_and_another_is_started_within_the_burst() {
    let mut story = Story::workers(Limits::new(1), WorkersConfig { burst: 1, ..SPARE });
    story.submit("a", Options::DEFAULT).is("stage a on 2");
    story.submit("b", priority(Priority::Critical)).is("stage b on 1, spawn 3").ready(3).is("");
    story.submit("c", priority(Priority::Critical)).is("stage c on 3");
    story.submit("d", priority(Priority::Critical)).is("");
    story.done("a").is("a finished, stage d on 2").done("b").is("b finished");
    story.done("c").is("c finished, retire 1");
    let mut story = Story::workers(Limits::new(1), SPARE);
    story.submit("a", Options::DEFAULT).submit("b", priority(Priority::Critical));
    story.is("stage b on 1").done("b").is("b finished");
}

#[test]
fn spare_workers_follow_other_limits_and_end_with_the_pool() {
    let mut story = Story::workers(Limits::new(1), SPARE);
    story.resize(Limits::new(2)).is("spawn 3").resize(Limits::new(1)).is("retire 3");
    story.submit("a", Options::DEFAULT).is("stage a on 2").stop(StopMode::Drain).is("");
    story.exited(1, &[]).is("").done("a").is("a finished, retire 2, drained");
}

#[test]
fn spare_workers_that_cannot_start_are_given_up_as_others_are() {
    let mut story = Story::workers(Limits::new(1), SPARE);
    story.exited(1, &[]).is("spawn 3").exited(3, &[]).is("spawn 4");
    story.submit("a", Options::DEFAULT).is("stage a on 2").exited(4, &[]);
    story.is("pool failed").done("a").is("a finished, retire 2");
}

fn timeout(time: Duration) -> Options {
    Options { timeout: Some(time), ..Options::DEFAULT }
}
