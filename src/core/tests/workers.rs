//! Worker processes: places, staging, revoking, killing, deaths.

use super::*;

fn timeout(time: Duration) -> Options {
    Options { timeout: Some(time), ..Options::DEFAULT }
}

#[test]
fn workers_are_spawned_up_to_the_limits_and_serve_when_ready() {
    let mut story = Story::workers(Limits::new(1), WORKERS);
    story.resize(Limits::new(1).reserve_normal(1).reserve_high(1)).is("spawn 2, spawn 3");
    story.submit("a", Options::DEFAULT).is("stage a on 1").submit("b", Options::DEFAULT).is("");
    story.ready(2).is("stage b on 2").ready(2).is("");
}

#[test]
fn a_lazy_pool_starts_with_its_first_task() {
    let config =
        pool(Limits::new(2), PoolKind::Workers(WorkersConfig { lazily_started: true, ..WORKERS }));
    let mut story = Story::new(PoolId::Processes, config, [None; 2]);
    story.submit("a", Options::DEFAULT).is("spawn 1, spawn 2");
}

#[test]
fn the_most_recently_used_idle_worker_goes_first() {
    let mut story = Story::workers(Limits::new(3), WORKERS);
    story
        .submit("a", Options::DEFAULT)
        .is("stage a on 3")
        .submit("b", Options::DEFAULT)
        .is("stage b on 2");
    story.done("a").done("b").submit("c", Options::DEFAULT).is("stage c on 2");
}

#[test]
fn a_crash_costs_one_task_and_the_worker_is_replaced() {
    let mut story = Story::workers(Limits::new(1), WORKERS);
    story.submit("a", Options::DEFAULT).submit("b", Options::DEFAULT);
    story.exited(1, &["a"]).is("a crashed in 1, spawn 2").ready(2).is("stage b on 2");
}

#[test]
fn who_crashes_for_good_is_told_before_the_death_is_certain() {
    let mut story = Story::workers(Limits::new(1), RINGS);
    story.submit("a", Options::DEFAULT).submit("b", Options::DEFAULT).is("stage b on 1");
    story.doomed(1, &["a"]).is("a crashed in 1, spawn 2").ready(2).is("stage b on 2");
    story.exited(1, &[]).is("").done("b").is("b finished").doomed(2, &[]).is("spawn 3");
    story.exited(2, &[]).is("").doomed(2, &[]).is("");
}

#[test]
fn who_is_tried_again_or_counted_waits_for_the_certain_death() {
    let mut story = Story::workers(Limits::new(1), WORKERS);
    story.submit("a", retry(1, RetryOn::Crash)).doomed(1, &["a"]).is("spawn 2");
    story.ready(2).is("").exited(1, &[]).is("a again after Crash, stage a on 2");
    story.doomed(2, &["a"]).is("a crashed in 2, spawn 3").exited(2, &[]).is("").ready(3);
    let options = Options { crash_limit: Some(1), ..Options::DEFAULT };
    story.submit("b", options).is("stage b on 3").doomed(3, &["b"]).is("spawn 4");
    story.exited(3, &[]).is("b quarantined in 3");
}

#[test]
fn while_its_death_is_not_certain_a_task_can_be_cancelled() {
    let mut story = Story::workers(Limits::new(1), WORKERS);
    story.submit("a", retry(1, RetryOn::Crash)).doomed(1, &["a"]).is("spawn 2");
    story.cancel("a", Cancel::Resolved).is("a cancelled (Requested)").exited(1, &[]).is("");
    story.ready(2).submit("b", Options::DEFAULT).cancel("b", Cancel::InProgress).is("kill b on 2");
    story.doomed(2, &["b"]).is("b crashed in 2, spawn 3").killed(2, "b", true).is("");
}

#[test]
fn what_is_being_cancelled_when_its_worker_dies_is_not_tried_again() {
    let mut story = Story::workers(Limits::new(1), WORKERS);
    let options = Options { crash_limit: Some(2), ..retry(3, RetryOn::Crash) };
    story.submit("a", options).cancel("a", Cancel::InProgress).is("kill a on 1");
    story.doomed(1, &["a"]).is("a crashed in 1, spawn 2").killed(1, "a", true).exited(1, &[]);
    story.is("");
}

#[test]
fn a_kill_that_was_won_stays_won_when_the_worker_is_doomed() {
    let mut story = Story::workers(Limits::new(1), WORKERS);
    let options = Options { timeout: Some(ms(5)), ..retry(1, RetryOn::Timeout) };
    story.submit("a", options).wait(ms(5)).killed(1, "a", true).is("signal 1 TimedOut, spawn 2");
    story.doomed(1, &["a"]).is("").exited(1, &[]).is("a again after Timeout");
}

#[test]
fn workers_that_die_idle_again_and_again_are_given_up_also_if_that_is_told_early() {
    let config = WorkersConfig { restart_limit: 1, ..WORKERS };
    let mut story = Story::workers(Limits::new(1), config);
    story.doomed(1, &[]).is("spawn 2").exited(1, &[]).is("").ready(2);
    story.doomed(2, &[]).is("pool failed").exited(2, &[]).is("");
}

#[test]
fn a_crash_is_retried_at_the_old_position() {
    let mut story = Story::workers(Limits::new(1), WORKERS);
    story.submit("a", retry(1, RetryOn::Crash)).submit("b", Options::DEFAULT);
    story.exited(1, &["a"]).is("a again after Crash, spawn 2").ready(2).is("stage a on 2");
    story.exited(2, &["a"]).is("a crashed in 2, spawn 3");
}

#[test]
fn what_kills_its_workers_again_and_again_is_quarantined() {
    let mut story = Story::workers(Limits::new(1), WORKERS);
    let options = Options { crash_limit: Some(2), ..retry(9, RetryOn::Crash) };
    story.submit("a", options).submit("b", Options::DEFAULT);
    story.exited(1, &["a"]).is("a again after Crash, spawn 2").kept("a").is("");
    story.ready(2).is("stage a on 2");
    story.exited(2, &["a"]).is("a quarantined in 2, spawn 3").ready(3).is("stage b on 3");
    // Retries are not needed for it.
    let options = Options { crash_limit: Some(1), ..Options::DEFAULT };
    story.done("b").submit("c", options).exited(3, &["c"]).is("c quarantined in 3, spawn 4");
}

#[test]
fn the_next_attempt_waits_until_the_report_of_a_crash_that_counts_is_kept() {
    let mut story = Story::workers(Limits::new(2), WORKERS);
    let options = Options { crash_limit: Some(2), ..retry(9, RetryOn::Crash) };
    story.submit("a", options).exited(2, &["a"]).is("a again after Crash, spawn 3").ready(3).is("");
    story.kept("a").is("stage a on 1").kept("a").is("").exited(1, &["a"]);
    story.is("a quarantined in 1, spawn 4");
    // It is cancelled before.
    story.submit("b", options).exited(3, &["b"]).is("b again after Crash, spawn 5");
    story.cancel("b", Cancel::Resolved).is("b cancelled (Requested)").kept("b").is("");
}

#[test]
fn only_deaths_that_a_task_may_have_caused_are_held_against_it() {
    let mut story = Story::workers(Limits::new(1), RINGS);
    let options = Options { crash_limit: Some(2), timeout: Some(ms(5)), ..Options::DEFAULT };
    let mut options = Options { retry: retry(9, RetryOn::Crash).retry, ..options };
    options.retry.set_kinds([RetryOn::Crash, RetryOn::Timeout, RetryOn::Panic]);
    story.submit("a", options);
    // It had not begun.
    story.exited(1, &[]).ready(2).is("stage a on 2");
    story.wait(ms(5)).killed(2, "a", true).exited(2, &["a"]).is("a again after Timeout");
    story.ready(3).is("stage a on 3").finish("a", Finish::Panicked);
    story.is("a again after Panic, stage a on 3");
    story
        .exited(3, &["a"])
        .is("a again after Crash, spawn 4")
        .kept("a")
        .ready(4)
        .is("stage a on 4");
    story.exited(4, &["a"]).is("a quarantined in 4, spawn 5");
}

#[test]
fn what_was_not_begun_is_requeued_and_not_counted() {
    let mut story = Story::workers(Limits::new(1), RINGS);
    story
        .submit("a", Options::DEFAULT)
        .is("stage a on 1")
        .submit("b", Options::DEFAULT)
        .is("stage b on 1");
    story.exited(1, &[]).is("spawn 2").ready(2).is("stage a on 2, stage b on 2");
    assert_eq!(story.core.task(story.tasks["a"]).expect("it runs").attempts, 1);
    story.exited(2, &["a"]).is("a crashed in 2, spawn 3").ready(3).is("stage b on 3");
}

#[test]
fn a_timeout_kills_and_its_retry_waits_for_the_death() {
    let mut story = Story::workers(Limits::new(1), WORKERS);
    let options = Options { timeout: Some(ms(5)), ..retry(1, RetryOn::Timeout) };
    story.submit("a", options).wait(ms(5)).is("kill a on 1");
    story.killed(1, "a", true).is("signal 1 TimedOut, spawn 2").ready(2).is("");
    story.exited(1, &["a"]).is("a again after Timeout, stage a on 2");
    story
        .wait(ms(5))
        .is("kill a on 2")
        .killed(2, "a", true)
        .is("signal 2 TimedOut, a timed out, spawn 3");
    story.exited(2, &["a"]).is("");
}

#[test]
fn a_completion_that_was_first_wins_against_a_kill() {
    let mut story = Story::workers(Limits::new(1), WORKERS);
    story.submit("a", timeout(ms(5))).wait(ms(5)).is("kill a on 1");
    story.killed(1, "a", false).is("").done("a").is("a finished");
    story.submit("b", timeout(ms(5))).wait(ms(5)).is("kill b on 1").done("b").is("b finished");
    story.killed(1, "b", true).is("");
}

#[test]
fn a_cancelled_task_is_killed_and_the_next_goes_to_the_replacement() {
    let mut story = Story::workers(Limits::new(1), WORKERS);
    story.submit("a", retry(3, RetryOn::Crash)).submit("b", Options::DEFAULT);
    story.cancel("b", Cancel::Resolved).is("b cancelled (Requested)");
    story.cancel("a", Cancel::InProgress).is("kill a on 1").cancel("a", Cancel::TooLate).is("");
    story.killed(1, "a", true).is("signal 1 Cancelled, a cancelled (Requested), spawn 2");
    story.cancel("a", Cancel::TooLate).is("");
}

#[test]
fn what_is_staged_is_revoked_before_it_is_killed() {
    let mut story = Story::workers(Limits::new(1), RINGS);
    story.submit("a", Options::DEFAULT).submit("b", Options::DEFAULT).submit("c", Options::DEFAULT);
    story.cancel("b", Cancel::InProgress).is("revoke b on 1");
    story.revoked(1, "b", true).is("b cancelled (Requested)");
    story
        .cancel("a", Cancel::InProgress)
        .is("revoke a on 1")
        .revoked(1, "a", false)
        .is("kill a on 1");
    let answer = "revoke c on 1, signal 1 Cancelled, a cancelled (Requested), spawn 2";
    story.killed(1, "a", true).is(answer);
    story.revoked(1, "c", true).is("").ready(2).is("stage c on 2");
}

#[test]
fn staged_tasks_expire() {
    let mut story = Story::workers(Limits::new(1), RINGS);
    let patience = Options { queue_timeout: Some(ms(5)), ..Options::DEFAULT };
    story.submit("a", patience).submit("b", patience).submit("c", patience);
    story.wait(ms(5)).is("revoke b on 1, revoke c on 1");
    story
        .revoked(1, "b", true)
        .is("b expired")
        .revoked(1, "c", false)
        .is("")
        .done("c")
        .is("c finished");
}

#[test]
fn nothing_is_staged_behind_less_urgent_work_and_urgent_work_takes_the_place() {
    let mut story = Story::workers(Limits::new(1), RINGS);
    story
        .submit("a", priority(Priority::Low))
        .submit("b", priority(Priority::Low))
        .is("stage b on 1");
    story.submit("high", priority(Priority::High)).is("revoke b on 1");
    story.revoked(1, "b", true).is("");
    story.done("a").is("a finished, stage high on 1, stage b on 1");
}

#[test]
fn an_idle_worker_gets_what_is_staged_elsewhere() {
    let mut story = Story::workers(Limits::new(2), RINGS);
    story.submit("a", Options::DEFAULT).submit("b", Options::DEFAULT).submit("c", Options::DEFAULT);
    story.is("stage c on 1").done("a").is("a finished, revoke c on 1");
    story.revoked(1, "c", true).is("stage c on 2");
}

#[test]
fn critical_tasks_get_extra_workers_which_retire_when_idle() {
    let mut story = Story::workers(Limits::new(1), WorkersConfig { burst: Some(1), ..WORKERS });
    story.submit("a", Options::DEFAULT).submit("b", priority(Priority::Critical)).is("spawn 2");
    story
        .submit("c", priority(Priority::Critical))
        .is("")
        .submit("d", priority(Priority::High))
        .is("");
    story.ready(2).is("stage b on 2").done("b").is("b finished, stage c on 2");
    story.done("c").is("c finished, retire 2").done("a").is("a finished, stage d on 1");
    story.exited(2, &[]).is("");
}

#[test]
fn shrinking_retires_the_idle_and_then_who_runs_dry() {
    let mut story = Story::workers(Limits::new(3), WORKERS);
    story
        .submit("a", Options::DEFAULT)
        .submit("b", Options::DEFAULT)
        .resize(Limits::new(1))
        .is("retire 1");
    story.submit("c", Options::DEFAULT).is("").done("a").is("a finished, retire 3");
    story.done("b").is("b finished, stage c on 2").exited(1, &[]).is("").exited(3, &[]).is("");
}

#[test]
fn a_program_that_cannot_start_is_given_up() {
    let mut story = Story::workers(
        Limits::new(1),
        WorkersConfig { restart_backoff: Backoff::fixed(ms(9)), ..WORKERS },
    );
    story.exited(1, &[]).is("spawn 2 later").exited(2, &[]).is("spawn 3 later");
    story
        .submit("a", Options::DEFAULT)
        .is("")
        .submit("b", Options { delay: Some(ms(1)), ..Options::DEFAULT });
    story.exited(3, &[]).is("pool failed, a lost its pool, b lost its pool");
    assert_eq!(story.try_submit("c", Options::DEFAULT), Err(RefuseReason::PoolFailed));
    assert!(!story.core.has_workers());
}

#[test]
fn nothing_is_given_up_while_an_older_worker_serves() {
    let backoff = Backoff::fixed(ms(9));
    let config = WorkersConfig { restart_limit: 1, restart_backoff: backoff, ..WORKERS };
    let mut story = Story::workers(Limits::new(2), config);
    story.submit("a", Options::DEFAULT).is("stage a on 2");
    story.exited(1, &[]).is("spawn 3 later");
    for worker in 3..20 {
        story.exited(worker, &[]).is(&format!("spawn {} later", worker + 1));
    }
    story.submit("b", Options::DEFAULT).is("").done("a").is("a finished, stage b on 2");
    // That one runs says that others may.
    story.exited(20, &[]).is("spawn 21 later").exited(21, &[]).is("spawn 22 later");
    story.exited(2, &["b"]).is("b crashed in 2, spawn 23");
    story.exited(22, &[]).is("spawn 24 later").exited(23, &[]).is("pool failed, retire 24");
}

#[test]
fn deaths_by_tasks_do_not_count_as_failures() {
    let mut story = Story::workers(Limits::new(1), WORKERS);
    for (worker, name) in (1..).zip(["a", "b", "c", "d", "e"]) {
        story.submit(name, Options::DEFAULT).exited(worker, &[name]);
        story.is(&format!("{name} crashed in {worker}, spawn {}", worker + 1)).ready(worker + 1);
    }
}

#[test]
fn a_panic_keeps_the_worker_unless_it_is_to_be_recycled() {
    let mut story = Story::workers(Limits::new(1), WORKERS);
    story.submit("a", Options::DEFAULT).finish("a", Finish::Panicked).is("a finished");
    let mut story =
        Story::workers(Limits::new(1), WorkersConfig { recycle_on_panic: true, ..WORKERS });
    story
        .submit("a", Options::DEFAULT)
        .finish("a", Finish::Panicked)
        .is("retire 1, a finished, spawn 2");
    story.exited(1, &[]).is("");
}

#[test]
fn a_worker_that_lies_is_killed_and_only_its_tasks_suffer() {
    let mut story = Story::workers(Limits::new(2), WORKERS);
    story.submit("a", Options::DEFAULT).submit("b", Options::DEFAULT);
    story
        .event(|core, now, out| core.on_worker_corrupt(now, WorkerId(2), out))
        .is("signal 2 Corrupt, spawn 3");
    story.exited(2, &["a"]).is("a crashed in 2").done("b").is("b finished");
}

#[test]
fn failures_count_only_in_a_row() {
    let mut story = Story::workers(Limits::new(1), WORKERS);
    story.exited(1, &[]).exited(2, &[]).is("spawn 3").ready(3);
    story.submit("a", Options::DEFAULT).exited(3, &["a"]).is("a crashed in 3, spawn 4");
    story.exited(4, &[]).is("spawn 5").exited(5, &[]).is("spawn 6");
    story.ready(6).submit("b", Options::DEFAULT).done("b").exited(6, &[]).is("spawn 7");
    story
        .exited(7, &[])
        .is("spawn 8")
        .exited(8, &[])
        .is("spawn 9")
        .exited(9, &[])
        .is("pool failed");
}

#[test]
fn who_has_served_or_stood_for_long_was_no_failed_start() {
    let config = WorkersConfig { restart_limit: 0, ..WORKERS };
    let mut story = Story::workers(Limits::new(2), config);
    story.submit("a", Options::DEFAULT).submit("b", Options::DEFAULT).done("a").done("b");
    // Both at once, and the second early.
    story.is("b finished").exited(1, &[]).is("spawn 3").doomed(2, &[]).is("spawn 4");
    story.exited(2, &[]).ready(3).ready(4).wait(ms(10_000)).exited(3, &[]).is("spawn 5");
    story.exited(4, &[]).is("spawn 6").ready(5).ready(6).wait(ms(9_999)).is("");
    story.exited(5, &[]).is("spawn 7").exited(6, &[]).is("pool failed, retire 7");
}

#[test]
fn what_is_taken_back_still_expires() {
    let mut story = Story::workers(Limits::new(1), RINGS);
    story.submit("a", priority(Priority::Low));
    let patience = Options { queue_timeout: Some(ms(5)), ..priority(Priority::Low) };
    story.submit("b", patience).is("stage b on 1");
    story.submit("high", priority(Priority::High)).is("revoke b on 1").revoked(1, "b", true).is("");
    story.wait(ms(5)).is("b expired");
}

#[test]
fn what_was_to_be_cancelled_is_not_retried() {
    let mut story = Story::workers(Limits::new(1), WORKERS);
    story.submit("a", retry(3, RetryOn::Error)).cancel("a", Cancel::InProgress).is("kill a on 1");
    story.killed(1, "a", false).finish("a", Finish::ReturnedError).is("a finished");
    story.submit("b", retry(3, RetryOn::Crash)).cancel("b", Cancel::InProgress).is("kill b on 1");
    story.exited(1, &["b"]).is("b crashed in 1, spawn 2").killed(1, "b", true).is("");
}
