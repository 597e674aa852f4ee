//! What a ring adds: staging by time, taking back from the back to the front, several ends in one event, and
//! workers that do not take up their task.

use super::*;

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
    story.wait(ms(10)).is("check a on 1").checked(1, "a", true).is("look after 1");
    story.wait(ms(10)).is("look after 1").done("a").is("a finished");
    story.wait(ms(10)).is("check b on 1").checked(1, "b", false);
    story.is("revoke b on 1, signal 1 Stuck, spawn 2");
    story.revoked(1, "b", true).is("").ready(2).is("stage b on 2").done("b");
    story.wait(ms(10)).is("");
    assert_eq!(story.core.next_deadline(), None, "an idle pool has no timer");
}

#[test]
fn a_worker_that_does_not_end_is_killed() {
    let config = WorkersConfig { exit_timeout: ms(10), recycle_after_tasks: Some(1), ..RINGS };
    let mut story = Story::workers(Limits::new(1), config);
    story.submit("a", Options::DEFAULT).done("a").is("retire 1, a finished, spawn 2");
    story.wait(ms(10)).is("").wait(ms(10)).is("signal 1 Lingering").exited(1, &[]).is("");
    story.wait(ms(10)).is("");
    assert_eq!(story.core.next_deadline(), None, "an idle pool has no timer");
}

/// What it runs takes as long as it takes.
#[test]
fn the_time_for_its_end_counts_from_when_it_has_run_dry() {
    let config = WorkersConfig { exit_timeout: ms(10), recycle_after: Some(ms(1)), ..RINGS };
    let mut story = Story::workers(Limits::new(1), config);
    story.submit("a", Options::DEFAULT).submit("b", Options::DEFAULT).is("stage b on 1");
    story.wait(ms(2)).done("a").is("a finished, spawn 2");
    let ticket = story.tickets["b"];
    story.event(|core, now, _| core.on_begun(now, WorkerId(1), ticket)).ready(2).is("retire 1");
    story.wait(ms(10)).is("").wait(ms(10)).is("").done("b").is("b finished");
    story.wait(ms(10)).is("").wait(ms(10)).is("signal 1 Lingering");
}

#[test]
fn a_host_that_was_suspended_has_not_seen_its_workers_end() {
    let config = WorkersConfig { exit_timeout: ms(500), recycle_after_tasks: Some(1), ..RINGS };
    let mut story = Story::workers(Limits::new(1), config);
    story.submit("a", Options::DEFAULT).done("a").is("retire 1, a finished, spawn 2");
    story.wait(ms(500)).is("");
    story.suspend(ms(2000)).wait(ms(0)).is("").wait(ms(500)).is("signal 1 Lingering");
}

/// Who came later must not go on and on before it.
#[test]
fn what_waits_behind_a_long_task_goes_back_to_its_place_in_line() {
    let config = WorkersConfig { entries_per_worker: 2, waits_behind: ms(20), ..RINGS };
    let mut story = Story::workers(Limits::new(2), config);
    story.submit("long", Options::DEFAULT).submit("a", Options::DEFAULT).is("stage a on 1");
    story.submit("b", Options::DEFAULT).is("stage b on 1").submit("c", Options::DEFAULT);
    story.is("stage c on 2").submit("d", Options::DEFAULT).is("");
    // Which of the two is the long one is not known before.
    story.wait(ms(19)).is("").done("a").is("a finished, stage d on 1");
    story.wait(ms(1)).is("revoke c on 2").revoked(2, "c", true).is("").done("b");
    story.is("b finished, stage c on 1").submit("e", Options::DEFAULT).is("").done("d");
    story.is("d finished, stage e on 1").done("c").is("c finished").done("long");
    story.is("long finished");
    story.submit("f", Options::DEFAULT).is("stage f on 2");
    story.submit("g", Options::DEFAULT).is("stage g on 1");
}

/// What is predicted may be wrong by far after one that was unusual, but not for long.
#[test]
fn a_task_that_took_very_long_does_not_put_off_the_look_at_what_waits_behind_others() {
    let config = WorkersConfig { entries_per_worker: 2, waits_behind: ms(20), ..RINGS };
    let mut story = Story::workers(Limits::new(1), config);
    let runs = |story: &mut Story, time: Duration, times: usize| {
        (0..times).for_each(|_| story.core.workers_mut().learn(time));
    };
    runs(&mut story, Duration::from_hours(1), 1);
    story.submit("a", Options::DEFAULT).submit("b", Options::DEFAULT).is("stage b on 1");
    runs(&mut story, ms(10), 300);
    story.done("a").is("a finished").submit("c", Options::DEFAULT).is("stage c on 1");
    story.wait(ms(19)).is("").wait(ms(2)).is("revoke c on 1");
}

#[test]
fn an_idle_worker_gets_what_is_urgent_and_waits_elsewhere() {
    let mut story = Story::workers(Limits::new(2), RINGS);
    story.submit("a", Options::DEFAULT).submit("b", Options::DEFAULT);
    story.submit("c", Options::DEFAULT).is("stage c on 1");
    // It might begin before the more urgent one.
    story.submit("low", priority(Priority::Low)).is("").done("a").is("a finished, revoke c on 1");
    story.revoked(1, "c", true).is("stage c on 2, stage low on 1");
}

#[test]
fn what_finishes_together_ends_before_anything_starts() {
    let mut story = Story::workers(Limits::new(2), WORKERS);
    story.submit("a", Options::DEFAULT).submit("b", retry(1, RetryOn::Error));
    story.submit("c", Options::DEFAULT).submit("d", Options::DEFAULT);
    let finish = [("b", Finish::ReturnedError), ("a", Finish::Returned), ("a", Finish::Returned)];
    let all = finish.map(|(name, finish)| Finished {
        ticket: story.tickets[name],
        finish,
        ran: Duration::ZERO,
    });
    story.event(|core, now, out| core.on_all_finished(now, &all, out));
    story.is("b again after Error, a finished, stage b on 2, stage c on 1");
}

#[test]
fn as_much_is_staged_as_runs_for_the_time_of_prefetch() {
    let prefetch = WorkersConfig { entries_per_worker: 9, prefetch: ms(10), ..RINGS };
    let mut story = Story::workers(Limits::new(1), prefetch);
    for name in ["a", "b", "c", "d", "e", "f"] {
        story.submit(name, Options::DEFAULT).is(&format!("stage {name} on 1"));
    }
    let ticket = story.tickets["a"];
    story.event(|core, now, out| core.on_finished(now, ticket, Finish::Returned, ms(4), out));
    story.submit("g", Options::DEFAULT).is("").done("b").is("b finished");
    // Two short ones later the estimate has fallen to three milliseconds.
    story.done("c").is("c finished, stage g on 1").submit("h", Options::DEFAULT).is("");
}

#[test]
fn what_began_lately_is_not_asked_about() {
    let claims = WorkersConfig { claim_deadline: Some(ms(10)), ..RINGS };
    let mut story = Story::workers(Limits::new(2), claims);
    story.submit("a", Options::DEFAULT).wait(ms(4)).submit("b", Options::DEFAULT);
    story.wait(ms(6)).is("check a on 2").checked(2, "a", true);
    story.wait(ms(10)).is("check b on 1, look after 2").checked(1, "b", true);
    story.wait(ms(10)).is("look after 1, look after 2");
}

#[test]
fn a_program_that_takes_up_nothing_is_given_up() {
    let claims = WorkersConfig { claim_deadline: Some(ms(10)), restart_limit: 1, ..RINGS };
    let mut story = Story::workers(Limits::new(1), claims);
    story.submit("a", Options::DEFAULT).wait(ms(10)).checked(1, "a", false);
    story.is("revoke a on 1, signal 1 Stuck, spawn 2").revoked(1, "a", true).exited(1, &[]);
    story.ready(2).is("stage a on 2").wait(ms(10)).wait(ms(10)).checked(2, "a", false);
    story.revoked(2, "a", true).exited(2, &[]).is("pool failed, a lost its pool, retire 3");
}

/// On a busy machine it may be late again and again.
#[test]
fn a_worker_that_is_late_for_a_short_timeout_says_nothing_of_the_program() {
    let claims = WorkersConfig { claim_deadline: Some(ms(10)), restart_limit: 1, ..RINGS };
    let mut story = Story::workers(Limits::new(1), claims);
    let short = Options { timeout: Some(ms(2)), ..Options::DEFAULT };
    story.submit("a", short).is("stage a on 1");
    for worker in 1..6 {
        story.wait(ms(2)).is(&format!("kill a on {worker}"));
        story.kill_settled(worker, "a", Killed::NotBegun);
        story.is(&format!("signal {worker} Late, spawn {}", worker + 1)).exited(worker, &[]);
        story.ready(worker + 1).is(&format!("stage a on {}", worker + 1));
    }
    story.done("a").is("a finished");
}

/// No worker wakes up in no time.
#[test]
fn a_timeout_that_no_worker_can_keep_costs_none() {
    let claims = WorkersConfig { claim_deadline: Some(ms(1000)), ..RINGS };
    let mut story = Story::workers(Limits::new(2), claims);
    let none = Options { timeout: Some(Duration::ZERO), ..Options::DEFAULT };
    story.submit("a", none).is("stage a on 2").wait(ms(0)).is("kill a on 2");
    // Another may be awake.
    story.kill_settled(2, "a", Killed::NotBegun).is("stage a on 1").wait(ms(1)).is("kill a on 1");
    story.kill_settled(1, "a", Killed::NotBegun).is("stage a on 2").wait(ms(1)).is("kill a on 2");
    story.killed(2, "a", true).is("signal 2 TimedOut, a timed out, spawn 3");
}

/// What is behind the task may begin in the moment in which that is taken back.
#[test]
fn a_worker_that_is_late_is_not_killed_with_more_in_its_ring() {
    let claims = WorkersConfig { claim_deadline: Some(ms(10)), ..RINGS };
    let mut story = Story::workers(Limits::new(1), claims);
    let short = Options { timeout: Some(ms(4)), ..Options::DEFAULT };
    story.submit("a", short).is("stage a on 1").submit("b", short).is("stage b on 1");
    story.wait(ms(4)).is("kill a on 1").kill_settled(1, "a", Killed::NotBegun).is("stage a on 1");
    story.wait(ms(4)).is("kill b on 1").kill_settled(1, "b", Killed::NotBegun).is("stage b on 1");
    // But not for ever.
    story.wait(ms(4)).is("kill a on 1").kill_settled(1, "a", Killed::NotBegun);
    story.is("revoke b on 1, signal 1 Stuck, spawn 2").revoked(1, "b", true).exited(1, &[]);
    story.ready(2).is("stage a on 2, stage b on 2").done("a").is("a finished");
}

#[test]
fn what_is_taken_back_is_taken_from_the_back() {
    let low = || priority(Priority::Low);
    let mut story = Story::workers(Limits::new(1), RINGS);
    story.submit("a", low()).submit("b", low()).submit("c", low()).is("stage c on 1");
    story.submit("high", priority(Priority::High)).is("revoke c on 1, revoke b on 1");
    story.revoked(1, "c", true).revoked(1, "b", true).done("a");
    story.is("a finished, stage high on 1, stage b on 1, stage c on 1");
    story.event(|core, now, out| core.on_worker_corrupt(now, WorkerId(1), out));
    story.is("revoke c on 1, revoke b on 1, revoke high on 1, signal 1 Corrupt, spawn 2");
    story.revoked(1, "c", true).revoked(1, "b", true).revoked(1, "high", true).ready(2);
    story.is("stage high on 2, stage b on 2, stage c on 2");
}

#[test]
fn each_critical_task_that_waits_gets_an_extra_worker() {
    let mut story = Story::workers(Limits::new(1), WorkersConfig { burst: Some(2), ..RINGS });
    story.submit("a", Options::DEFAULT).submit("b", priority(Priority::Critical)).is("spawn 2");
    story.submit("c", priority(Priority::Critical)).is("spawn 3");
}

#[test]
fn a_worker_is_looked_after_while_its_task_runs_for_long() {
    let claims = WorkersConfig { claim_deadline: Some(ms(10)), ..RINGS };
    let mut story = Story::workers(Limits::new(1), claims);
    story.submit("a", Options::DEFAULT).wait(ms(10)).is("check a on 1").checked(1, "a", true);
    story.wait(ms(10)).is("look after 1").wait(ms(10)).is("look after 1").done("a");
    story.submit("b", Options::DEFAULT).wait(ms(9)).is("");
}

#[test]
fn what_is_still_on_its_way_to_its_worker_is_given_time() {
    let claims = WorkersConfig { claim_deadline: Some(ms(10)), restart_limit: 1, ..RINGS };
    let mut story = Story::workers(Limits::new(1), claims);
    let options = Options { timeout: Some(ms(15)), ..Options::DEFAULT };
    story.submit("a", options).is("stage a on 1").wait(ms(10)).is("check a on 1");
    story.not_offered(1, "a", true).is("").wait(ms(10)).is("check a on 1");
    story.not_offered(1, "a", true).is("").wait(ms(10)).is("check a on 1").checked(1, "a", true);
    story
        .is("look after 1")
        .wait(ms(4))
        .is("")
        .wait(ms(1))
        .is("kill a on 1")
        .not_offered(1, "a", false);
    story.killed(1, "a", true).is("signal 1 TimedOut, a timed out, spawn 2");
    let mut story = Story::workers(Limits::new(1), RINGS);
    story.submit("a", options).wait(ms(15)).is("kill a on 1").not_offered(1, "a", true).is("");
    story.wait(ms(14)).is("").wait(ms(1)).is("kill a on 1").done("a").is("a finished");
    story.submit("b", options).cancel("b", Cancel::InProgress).not_offered(1, "b", false);
}
