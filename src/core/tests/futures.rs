//! Loops: like threads, but what is given up is told to end.

use super::*;

#[test]
fn what_times_out_is_aborted_and_holds_its_slot_until_it_has_ended() {
    let mut story = Story::futures(Limits::new(1));
    story
        .submit("a", Options { timeout: Some(ms(5)), ..Options::DEFAULT })
        .submit("b", Options::DEFAULT);
    story.wait(ms(5)).is("abort a, a timed out");
    story.cancel("a", Cancel::TooLate).is("").done("a").is("run b");
}

#[test]
fn what_is_cancelled_is_aborted_only_while_it_runs() {
    let mut story = Story::futures(Limits::new(1));
    story.submit("a", Options::DEFAULT).submit("b", Options::DEFAULT);
    story.cancel("b", Cancel::Resolved).is("b cancelled (Requested)");
    story.cancel("a", Cancel::Resolved).is("abort a, a cancelled (Requested)");
    story.done("a").is("").submit("c", Options::DEFAULT).is("run c");
}

#[test]
fn a_retry_waits_for_the_end_of_what_was_aborted() {
    let mut story = Story::futures(Limits::new(0));
    let options = Options { timeout: Some(ms(5)), ..retry(1, RetryOn::Timeout) };
    story.submit("a", options).wait(ms(5)).is("abort a").wait(ms(50)).is("");
    story.done("a").is("a again after Timeout, run a");
    story.wait(ms(5)).is("abort a, a timed out").done("a").is("");
    story.submit("b", options).wait(ms(5)).is("abort b");
    story.cancel("b", Cancel::Resolved).is("abort b, b cancelled (Requested)").done("b").is("");
}

#[test]
fn a_hard_stop_aborts_and_does_not_wait_for_what_never_ends() {
    let mut story = Story::futures(Limits::new(0));
    story.submit("a", Options::DEFAULT).stop(StopMode::CancelQueued).is("");
    story.stop(StopMode::KillNow).is("abort a, a cancelled (Stopped), drained").done("a").is("");
}
