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
fn whoever_was_told_of_a_death_has_the_cores_while_a_spare_worker_is_idle() {
    let mut story = Story::workers(Limits::new(1), WorkersConfig { spares: 1, ..RINGS });
    story.submit("a", Options::DEFAULT).is("stage a on 2");
    story.doomed(2, &["a"]).is("a crashed in 2, spawn 3 later").exited(2, &[]).is("").ready(3);
    // Not where somebody waits for it.
    story.submit("b", Options::DEFAULT).is("stage b on 1").submit("c", Options::DEFAULT);
    story.is("stage c on 1").doomed(1, &["b"]).is("b crashed in 1, stage c on 3, spawn 4");
    story.exited(1, &[]).is("").ready(4).is("").doomed(4, &[]).is("spawn 5");
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
    let mut story = Story::workers(Limits::new(1), WorkersConfig { burst: Some(1), ..SPARE });
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
fn there_is_a_burst_of_as_many_as_there_are_places_at_the_time() {
    let mut story = Story::workers(Limits::new(1), WorkersConfig { burst: None, ..WORKERS });
    story.submit("a", priority(Priority::Critical)).is("stage a on 1");
    story.submit("b", priority(Priority::Critical)).is("spawn 2").ready(2).is("stage b on 2");
    story.submit("c", priority(Priority::Critical)).is("");
    story.resize(Limits::new(2)).is("spawn 3").ready(3).is("stage c on 3");
    story.submit("d", priority(Priority::Critical)).is("spawn 4").ready(4).is("stage d on 4");
    story.submit("e", priority(Priority::Critical)).is("");
    story.resize(Limits::new(1)).is("").done("a").is("a finished, stage e on 1");
    story.done("b").is("b finished, retire 2").done("c").is("c finished, retire 3");
    story.submit("f", priority(Priority::Critical)).is("").done("d").is("d finished, stage f on 4");
    story.done("e").is("e finished, retire 1");
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
    story.exited(1, &[]).is("spawn 3").exited(3, &[]).is("spawn 4").exited(4, &[]).is("spawn 5");
    story.exited(2, &[]).is("pool failed, retire 5");
}

#[test]
fn a_worn_worker_serves_until_another_is_ready() {
    let config = WorkersConfig { recycle_after_tasks: Some(2), ..WORKERS };
    let mut story = Story::workers(Limits::new(1), config);
    story.submit("a", Options::DEFAULT).done("a").is("a finished");
    story.submit("b", Options::DEFAULT).done("b").is("b finished, spawn 2");
    story.submit("c", Options::DEFAULT).is("stage c on 1").done("c").is("c finished");
    story.submit("d", Options::DEFAULT).submit("e", Options::DEFAULT).is("");
    story.ready(2).is("").done("d").is("d finished, retire 1, stage e on 2").exited(1, &[]).is("");
}

#[test]
fn a_spare_worker_takes_the_place_of_a_worn_one_at_once() {
    let config = WorkersConfig { recycle_after_tasks: Some(2), spares: 1, ..RINGS };
    let mut story = Story::workers(Limits::new(1), config);
    story.submit("a", Options::DEFAULT).submit("b", Options::DEFAULT).submit("c", Options::DEFAULT);
    story.is("stage c on 2").done("a").is("a finished").done("b");
    story.is("b finished, revoke c on 2, retire 2, spawn 3");
    story.revoked(2, "c", true).is("stage c on 1").exited(2, &[]).is("").ready(3).is("");
}

#[test]
fn what_a_worn_worker_runs_comes_to_its_end() {
    let config = WorkersConfig { recycle_after: Some(ms(10)), spares: 1, ..RINGS };
    let mut story = Story::workers(Limits::new(1), config);
    story.submit("a", Options::DEFAULT).wait(ms(20)).done("a").is("a finished, retire 2, spawn 3");
    story.submit("b", Options::DEFAULT).submit("c", Options::DEFAULT).is("stage c on 1");
    story.wait(ms(20)).done("b").is("b finished").ready(3).is("revoke c on 1, retire 1, spawn 4");
    story.revoked(1, "c", false).is("").submit("d", Options::DEFAULT).is("");
    story.done("c").is("c finished, stage d on 3").exited(1, &[]).is("");
}

#[test]
fn few_workers_are_replaced_at_the_same_time() {
    let config = WorkersConfig { recycle_after: Some(ms(10)), ..WORKERS };
    let mut story = Story::workers(Limits::new(8), config);
    let names = ["a", "b", "c", "d", "e", "f", "g", "h"];
    for name in names {
        story.submit(name, Options::DEFAULT);
    }
    story.wait(ms(20));
    story.done("a").is("a finished, spawn 9").done("b").is("b finished, spawn 10");
    for name in &names[2..] {
        story.done(name).is(&format!("{name} finished"));
    }
    story.ready(9).is("retire 1, spawn 11").ready(10).is("retire 2, spawn 12");
}

#[test]
fn a_worker_for_a_single_task_ends_with_it() {
    let config = WorkersConfig { recycle_after_tasks: Some(1), ..WORKERS };
    let mut story = Story::workers(Limits::new(1), config);
    story.submit("a", Options::DEFAULT).submit("b", Options::DEFAULT);
    story.done("a").is("retire 1, a finished, spawn 2").ready(2).is("stage b on 2");
}

#[test]
fn a_replacement_that_cannot_start_leaves_the_worn_worker_at_work() {
    let config = WorkersConfig { recycle_after_tasks: Some(2), ..WORKERS };
    let mut story = Story::workers(Limits::new(1), config);
    story.submit("a", Options::DEFAULT).done("a").submit("b", Options::DEFAULT).done("b");
    story.is("b finished, spawn 2").exited(2, &[]).is("spawn 3");
    story.submit("c", Options::DEFAULT).is("stage c on 1").resize(Limits::new(2)).is("spawn 4");
    story.ready(3).is("").ready(4).is("").exited(1, &["c"]).is("c crashed in 1");
}

fn timeout(time: Duration) -> Options {
    Options { timeout: Some(time), ..Options::DEFAULT }
}
