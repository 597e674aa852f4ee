//! Packs: several calls as one task, until they are split.

use super::*;

#[test]
fn a_pack_counts_as_its_calls_and_takes_their_numbers() {
    let mut story = Story::workers(Limits::new(1), RINGS);
    story.submit("runs", Options::DEFAULT).submit_pack("pack", 4, Options::DEFAULT);
    story.is("stage pack on 1").submit("after", Options::DEFAULT);
    assert_eq!(story.tasks["pack"].number, 2);
    assert_eq!(story.tasks["after"].number, 6);
    let info = story.core.info(PoolId::Processes);
    assert_eq!((info.waiting[1], info.unresolved), (5, 6));
    let third = TaskId { number: 4, ..story.tasks["pack"] };
    assert_eq!(story.core.task(third).map(|task| (task.id.number, task.calls)), Some((2, 4)));
    assert!(story.core.task(TaskId { number: 6, ..third }).is_none());
}

#[test]
fn the_rest_of_a_pack_returns_to_its_old_position() {
    let mut story = Story::workers(Limits::new(1), WORKERS);
    story.submit_pack("pack", 4, Options::DEFAULT).is("stage pack on 1");
    story.submit("after", Options::DEFAULT).split("pack", 1, "rest").is("");
    story.split("rest", 1, "last").is("");
    let last = story.core.task(story.tasks["last"]).expect("it waits");
    assert_eq!((last.id.number, last.calls, *last.payload), (3, 2, "last"));
    story.done("pack").is("pack finished, stage rest on 1");
    story.done("rest").is("rest finished, stage last on 1");
    story.done("last").is("last finished, stage after on 1");
}

#[test]
fn a_cancelled_pack_takes_its_rest_with_it() {
    let mut story = Story::workers(Limits::new(1), WORKERS);
    story.submit_pack("pack", 4, Options::DEFAULT).is("stage pack on 1");
    story.cancel("pack", Cancel::InProgress).is("kill pack on 1");
    story.split("pack", 2, "rest").is("rest cancelled (Requested)");
    let answer = "signal 1 Cancelled, pack cancelled (Requested), spawn 2";
    story.killed(1, "pack", true).is(answer);
}

#[test]
fn what_a_dead_worker_had_not_begun_of_a_pack_is_requeued() {
    let mut story = Story::workers(Limits::new(1), RINGS);
    story.submit_pack("pack", 4, Options::DEFAULT).is("stage pack on 1");
    story.split("pack", 2, "rest").is("stage rest on 1");
    story.exited(1, &["pack"]).is("pack crashed in 1, spawn 2");
    story.ready(2).is("stage rest on 2");
}

#[test]
fn urgent_work_does_not_wait_for_the_rest_of_a_pack() {
    let mut story = Story::workers(Limits::new(1), WORKERS);
    story.submit_pack("pack", 4, priority(Priority::Low));
    story.submit("low", priority(Priority::Low)).is("").submit("high", priority(Priority::High));
    story.is("split pack on 1").submit("high 2", priority(Priority::High)).is("");
    story.split("pack", 2, "rest").is("");
    story.done("pack").is("pack finished, stage high on 1");
    story.done("high").is("high finished, stage high 2 on 1");
    story.done("high 2").is("high 2 finished, stage rest on 1");
    story.split("rest", 1, "last").is("").done("rest").is("rest finished, stage last on 1");
    story.done("last").is("last finished, stage low on 1");
}

#[test]
fn a_pack_is_not_split_for_what_is_as_urgent() {
    let mut story = Story::workers(Limits::new(1), WORKERS);
    story.submit_pack("pack", 4, Options::DEFAULT).submit("normal", Options::DEFAULT).is("");
    story.resize(Limits::new(2)).is("spawn 2").submit("low", priority(Priority::Low)).is("");
}

#[test]
fn an_idle_worker_gets_the_rest_of_a_pack_that_runs_elsewhere() {
    let mut story = Story::workers(Limits::new(2), RINGS);
    story.submit_pack("pack", 4, Options::DEFAULT).is("stage pack on 2, split the new one on 2");
    story.split("pack", 1, "rest").is("stage rest on 1");
    story.done("pack").is("pack finished, split rest on 1");
    story.split("rest", 2, "last").is("stage last on 2");
    // What is left of it has begun.
    story.done("last").is("last finished").done("rest").is("rest finished");
}

#[test]
fn an_idle_worker_of_the_reserve_gets_the_rest_while_others_wait() {
    let mut story = Story::workers(Limits::new(1).reserve_normal(1), WORKERS);
    story.submit("a", Options::DEFAULT).submit_pack("pack", 4, Options::DEFAULT);
    story.submit("low", priority(Priority::Low)).is("");
    story.done("a").is("a finished, split pack on 1").split("pack", 1, "rest");
    story.is("stage rest on 2");
}

#[test]
fn what_is_staged_goes_to_an_idle_worker_before_the_rest_of_a_pack() {
    let mut story = Story::workers(Limits::new(2), RINGS);
    story.submit("a", Options::DEFAULT).submit_pack("pack", 4, Options::DEFAULT);
    story.is("stage pack on 1").submit("b", Options::DEFAULT).is("stage b on 1");
    story.done("a").is("a finished, revoke b on 1").revoked(1, "b", true).is("stage b on 2");
    story.done("b").is("b finished, split pack on 1");
}

#[test]
fn cancel_queued_ends_what_a_pack_has_not_begun() {
    let mut story = Story::workers(Limits::new(1), WORKERS);
    story.submit_pack("pack", 4, Options::DEFAULT).stop(StopMode::CancelQueued);
    story.is("split pack on 1").split("pack", 1, "rest").is("rest cancelled (Stopped)");
    story.done("pack").is("pack finished, retire 1, drained");
}

#[test]
fn kill_now_ends_all_of_a_pack() {
    let mut story = Story::workers(Limits::new(1), RINGS);
    story.submit_pack("pack", 4, Options::DEFAULT).stop(StopMode::KillNow).is("revoke pack on 1");
    story.split("pack", 2, "rest").is("rest cancelled (Stopped)");
    story.revoked(1, "pack", false).is("kill pack on 1");
    story.killed(1, "pack", true).is("signal 1 Stopping, pack cancelled (Stopped), drained");
}

#[test]
fn the_rest_of_a_pack_keeps_its_place_before_what_came_later() {
    let mut story = Story::workers(Limits::new(1), WORKERS);
    story.submit("runs", Options::DEFAULT).submit_pack("pack", 4, Options::DEFAULT);
    story.submit("after", Options::DEFAULT).split("pack", 2, "rest").split("pack", 1, "second");
    story.cancel("second", Cancel::Resolved).is("second cancelled (Requested)");
    story.done("runs").is("runs finished, stage pack on 1").done("pack");
    story.is("pack finished, stage rest on 1").done("rest").is("rest finished, stage after on 1");
}

#[test]
fn a_bound_counts_calls_but_takes_a_larger_pack_when_nothing_waits() {
    let config = PoolConfig { queue_bound: Some(3), ..pool(Limits::new(1), PoolKind::Slots) };
    let mut story = Story::new(PoolId::Threads, config, [None; 2]);
    story.submit("runs", Options::DEFAULT).submit_pack("pack", 2, Options::DEFAULT);
    let full = Err(RefuseReason::QueueFull);
    assert_eq!(story.try_submit_pack("more", 2, Options::DEFAULT), full);
    story.submit("last", Options::DEFAULT);
    assert_eq!(story.try_submit("one more", Options::DEFAULT), full);
    story.done("runs").done("pack").done("last").submit("runs", Options::DEFAULT);
    story.submit_pack("large", 9, Options::DEFAULT);
}

#[test]
fn a_split_that_comes_too_late_gives_its_rest_back() {
    let mut story = Story::workers(Limits::new(1), WORKERS);
    story.submit_pack("pack", 4, Options::DEFAULT).is("stage pack on 1");
    let ticket = story.tickets["pack"];
    let split = |story: &mut Story, kept| {
        let mut late = None;
        story.event(|core, now, out| late = core.on_pack_split(now, ticket, kept, "rest", out));
        late
    };
    assert_eq!(split(&mut story, 4), Some("rest"));
    assert_eq!(split(&mut story, 2), None);
    assert_eq!(split(&mut story, 2), Some("rest"));
    story.done("pack");
    assert_eq!(split(&mut story, 1), Some("rest"));
}

#[test]
fn only_what_is_less_urgent_makes_way() {
    let mut story = Story::workers(Limits::new(2), WORKERS);
    story.submit("a", Options::DEFAULT).submit_pack("high", 4, priority(Priority::High));
    story.is("stage high on 1").submit_pack("low", 4, priority(Priority::Low)).is("");
    story.done("a").is("a finished, stage low on 2");
    story.submit("normal", Options::DEFAULT).is("split low on 2");
}
