//! Soft timeouts and limits of CPU time.

use super::*;

fn soft(soft_timeout: Duration, timeout: Option<Duration>) -> Options {
    Options { soft_timeout: Some(soft_timeout), timeout, ..Options::DEFAULT }
}

fn cpu(limit: Duration) -> Options {
    Options { cpu_limit: Some(limit), ..Options::DEFAULT }
}

#[test]
fn a_soft_timeout_asks_once_for_each_attempt() {
    let mut story = Story::workers(Limits::new(1), WORKERS);
    let options = Options { retry: retry(1, RetryOn::Timeout).retry, ..soft(ms(5), Some(ms(20))) };
    story.submit("a", options).wait(ms(4)).is("").wait(ms(1)).is("hurry a");
    story.wait(ms(14)).is("").wait(ms(1)).is("kill a on 1").killed(1, "a", true);
    story.exited(1, &["a"]).is("a again after Timeout").ready(2).is("stage a on 2");
    story.wait(ms(5)).is("hurry a").done("a").is("a finished").wait(ms(20)).is("");
}

#[test]
fn one_that_is_due_with_the_timeout_is_too_late() {
    let mut story = Story::workers(Limits::new(1), WORKERS);
    story.submit("a", soft(ms(5), Some(ms(5)))).wait(ms(5)).is("kill a on 1");
    let mut story = Story::slots(Limits::new(1));
    story.submit("a", soft(ms(5), Some(ms(9)))).wait(ms(30)).is("ask a to end, a timed out");
}

#[test]
fn what_was_only_taken_for_begun_is_asked_later() {
    let mut story = Story::workers(Limits::new(1), RINGS);
    story.submit("a", soft(ms(15), None)).wait(ms(15)).is("hurry a").not_asked(1, "a").is("");
    story.wait(ms(14)).is("").wait(ms(1)).is("hurry a").wait(ms(50)).is("");
    // Too late.
    story.done("a").not_asked(1, "a").is("").wait(ms(50)).is("");
}

#[test]
fn what_runs_in_a_slot_is_hurried_and_when_given_up_asked_to_end() {
    let mut story = Story::slots(Limits::new(1));
    story.submit("a", soft(ms(5), None)).wait(ms(5)).is("hurry a").wait(ms(50)).is("");
    let answer = "ask a to end, a cancelled (Requested)";
    story.cancel("a", Cancel::Resolved).is(answer).done("a").is("");
    let mut story = Story::futures(Limits::new(1));
    story.submit("a", soft(ms(5), None)).wait(ms(5)).is("hurry a");
    story.cancel("a", Cancel::Resolved).is("abort a, a cancelled (Requested)");
}

#[test]
fn cpu_time_is_foreseen_from_what_was_used() {
    let mut story = Story::workers(Limits::new(1), WORKERS);
    story.submit("a", cpu(ms(100))).wait(ms(49)).is("").wait(ms(1));
    // On both cores it can't have used more.
    story.is("read the clock of 1 for a").wait(ms(100)).is("");
    story.cpu_read(1, "a", Some(ms(40))).wait(ms(29)).is("").wait(ms(1));
    story.is("read the clock of 1 for a").cpu_read(1, "a", Some(ms(99))).is("");
    // Not more often than it is worth.
    story.wait(ms(9)).is("").wait(ms(1)).is("read the clock of 1 for a");
    story.cpu_read(1, "a", Some(ms(100))).is("kill a on 1").killed(1, "a", true);
    story.is("signal 1 TimedOut, a used up its CPU time, spawn 2");
    story.cpu_read(1, "a", Some(ms(200))).is("");
}

#[test]
fn what_has_not_begun_has_used_nothing() {
    let mut story = Story::workers(Limits::new(1), RINGS);
    story.submit("a", cpu(ms(100))).wait(ms(50)).is("read the clock of 1 for a");
    story.cpu_read(1, "a", None).is("").wait(ms(49)).is("").wait(ms(1));
    story.is("read the clock of 1 for a").done("a").is("a finished");
    story.cpu_read(1, "a", Some(ms(100))).is("").wait(ms(500)).is("");
}

#[test]
fn cpu_time_used_up_while_it_is_being_taken_back_is_not_forgotten() {
    let mut story = Story::workers(Limits::new(1), RINGS);
    story.submit("a", cpu(ms(100))).wait(ms(50)).is("read the clock of 1 for a");
    story.submit("b", priority(Priority::High)).cancel("a", Cancel::InProgress);
    story.is("revoke a on 1").cpu_read(1, "a", Some(ms(100))).is("");
    story.revoked(1, "a", false).is("kill a on 1");
    // It counts as a timeout, for retries too.
    let mut story = Story::workers(Limits::new(1), WORKERS);
    story.submit("a", Options { retry: retry(1, RetryOn::Timeout).retry, ..cpu(ms(2)) });
    story.wait(ms(1)).cpu_read(1, "a", Some(ms(2))).killed(1, "a", true).exited(1, &["a"]);
    story.is("a again after Timeout").ready(2).is("stage a on 2").wait(ms(1));
    story.is("read the clock of 2 for a");
}

#[test]
fn slots_have_no_clock_of_their_own() {
    let mut story = Story::slots(Limits::new(1));
    story.submit("a", cpu(ms(1))).wait(ms(500)).is("").done("a").is("a finished");
}
