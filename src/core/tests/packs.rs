//! Packs: several calls as one task, until they are split. Workers that do not take up their task.

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
fn what_was_taken_back_instead_of_killed_never_began() {
    let mut story = Story::workers(Limits::new(1), WORKERS);
    story.submit("a", Options::DEFAULT).cancel("a", Cancel::InProgress).is("kill a on 1");
    story.kill_settled(1, "a", Killed::NotBegun).is("a cancelled (Requested)");
    story.submit("b", Options { timeout: Some(ms(5)), ..Options::DEFAULT }).is("stage b on 1");
    story.wait(ms(5)).is("kill b on 1");
    story.kill_settled(1, "b", Killed::NotBegun).is("signal 1 Stuck, spawn 2");
    story.ready(2).is("stage b on 2");
    assert_eq!(story.core.task(story.tasks["b"]).map(|task| task.attempts), Some(1));
}

#[test]
fn a_worker_that_does_not_take_up_its_task_is_killed() {
    let claims = WorkersConfig { claim_deadline: Some(ms(10)), ..RINGS };
    let mut story = Story::workers(Limits::new(1), claims);
    story.submit("a", Options::DEFAULT).submit("b", Options::DEFAULT);
    story.wait(ms(10)).is("check a on 1").checked(1, "a", true).is("");
    story.wait(ms(10)).is("").done("a").is("a finished");
    story.wait(ms(10)).is("check b on 1").checked(1, "b", false);
    story.is("revoke b on 1, signal 1 Stuck, spawn 2");
    story.revoked(1, "b", true).is("").ready(2).is("stage b on 2").done("b");
    story.wait(ms(10)).is("");
    assert_eq!(story.core.next_deadline(), None, "an idle pool has no timer");
}
