//! The three ways to stop.

use super::*;

#[test]
fn drain_runs_everything_accepted_and_retires_the_workers() {
    let mut story = Story::workers(Limits::new(1), WORKERS);
    story
        .submit("a", retry(1, RetryOn::Error))
        .submit("b", Options { delay: Some(ms(5)), ..Options::DEFAULT });
    story.stop(StopMode::Drain).is("");
    assert_eq!(story.try_submit("c", Options::DEFAULT), Err(RefuseReason::Stopped));
    story.finish("a", Finish::ReturnedError).is("a again after Error, stage a on 1");
    story.done("a").is("a finished");
    story.wait(ms(5)).is("stage b on 1").done("b").is("b finished, retire 1, drained");
    story.exited(1, &[]).is("").stop(StopMode::KillNow).is("");
}

#[test]
fn an_idle_supervisor_is_drained_at_once() {
    Story::slots(Limits::new(1)).stop(StopMode::Drain).is("drained");
}

#[test]
fn a_worker_that_dies_while_draining_is_replaced_only_if_a_task_needs_it() {
    let mut story = Story::workers(Limits::new(2), WORKERS);
    story.submit("a", Options::DEFAULT).submit("b", Options::DEFAULT).submit("c", Options::DEFAULT);
    story.stop(StopMode::Drain).exited(2, &["a"]).is("a crashed in 2, spawn 3");
    story.done("b").is("b finished, stage c on 1").exited(3, &[]).is("");
    story.done("c").is("c finished, retire 1, drained");
}

#[test]
fn cancel_queued_lets_what_runs_come_to_its_end() {
    let mut story = Story::slots(Limits::new(1));
    story.submit("a", retry(1, RetryOn::Error)).submit("b", Options::DEFAULT);
    story.submit("c", Options { delay: Some(ms(5)), ..Options::DEFAULT });
    story.stop(StopMode::CancelQueued).is("b cancelled (Stopped), c cancelled (Stopped)");
    story.finish("a", Finish::ReturnedError).is("a finished, drained");
}

#[test]
fn cancel_queued_takes_back_what_is_staged() {
    let mut story = Story::workers(Limits::new(1), RINGS);
    story.submit("a", Options::DEFAULT).submit("b", Options::DEFAULT).submit("c", Options::DEFAULT);
    story.stop(StopMode::CancelQueued).is("revoke c on 1, revoke b on 1");
    story.revoked(1, "b", true).is("b cancelled (Stopped)").revoked(1, "c", false).is("");
    story.done("a").is("a finished").done("c").is("c finished, retire 1, drained");
}

#[test]
fn kill_now_kills_what_runs_and_what_idles() {
    let mut story = Story::workers(Limits::new(2), WORKERS);
    story.submit("a", Options::DEFAULT).stop(StopMode::Drain).is("");
    story.stop(StopMode::KillNow).is("kill a on 2, signal 1 Stopping");
    story.killed(2, "a", true).is("signal 2 Stopping, a cancelled (Stopped), drained");
    story.exited(1, &[]).is("").exited(2, &["a"]).is("");
}

#[test]
fn a_completion_wins_against_kill_now_and_its_worker_is_killed_idle() {
    let mut story = Story::workers(Limits::new(1), WORKERS);
    story.submit("a", Options::DEFAULT).stop(StopMode::KillNow).is("kill a on 1");
    story.killed(1, "a", false).is("").done("a").is("a finished, signal 1 Stopping, drained");
}

#[test]
fn only_kill_now_does_not_wait_for_closures_that_were_given_up() {
    let mut story = Story::slots(Limits::new(1));
    story.submit("a", Options::DEFAULT).cancel("a", Cancel::Resolved);
    story.stop(StopMode::Drain).is("").stop(StopMode::KillNow).is("drained").done("a").is("");
    let mut story = Story::slots(Limits::new(1));
    story.submit("a", Options::DEFAULT).cancel("a", Cancel::Resolved).stop(StopMode::Drain).is("");
    story.done("a").is("drained");
}
