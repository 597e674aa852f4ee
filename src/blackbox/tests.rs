//! Both ends on one box, in one process.

use std::time::Duration;

use super::layout::LENGTH;
use super::{BlackBox, Recorder, Running};
use crate::shm::Board;
use crate::task::info::Progress;

fn both() -> (BlackBox, Recorder) {
    let (blackbox, descriptor) = BlackBox::create().expect("memory");
    (blackbox, Recorder::new(Board::open(descriptor, LENGTH).expect("it is as announced")))
}

#[test]
fn what_runs_is_seen_by_both() {
    let (blackbox, recorder) = both();
    assert_eq!((blackbox.running(), recorder.running()), (None, None));
    recorder.begin(7, 2, 5);
    assert_eq!(recorder.running(), Some(Running { number: 7, attempt: 2, function: 5 }));
    assert_eq!(blackbox.running(), Some((7, 2)));
    recorder.end();
    assert_eq!((blackbox.running(), recorder.running()), (None, None));
}

#[test]
fn a_request_reaches_the_attempt_that_it_names_and_no_other() {
    let (blackbox, recorder) = both();
    recorder.begin(7, 2, 0);
    let running = recorder.running().expect("it has begun");
    assert!(!recorder.is_asked_to_end(running));
    for (number, attempt) in [(6, 2), (8, 2), (7, 1), (7, 3)] {
        blackbox.request_end(number, attempt);
        assert!(!recorder.is_asked_to_end(running), "{number}, {attempt}");
    }
    blackbox.request_end(7, 2);
    assert!(recorder.is_asked_to_end(running));
    recorder.end();
    recorder.begin(8, 1, 0);
    assert!(!recorder.is_asked_to_end(recorder.running().expect("it has begun")));
}

#[test]
fn progress_is_that_of_the_attempt_that_said_it() {
    let (blackbox, recorder) = both();
    recorder.progress(1, 2);
    recorder.begin(7, 1, 0);
    assert_eq!(blackbox.progress(7, 1), None);
    recorder.progress(3, 4);
    assert_eq!(blackbox.progress(7, 1), Some(Progress { done: 3, total: 4 }));
    assert_eq!((blackbox.progress(7, 2), blackbox.progress(6, 1)), (None, None));
    recorder.end();
    recorder.begin(7, 2, 0);
    assert_eq!(blackbox.progress(7, 2), None, "it is the attempt's");
}

#[test]
fn progress_is_never_a_mixture_of_two_tasks() {
    let (blackbox, recorder) = both();
    let writer = std::thread::spawn(move || {
        for number in 1..=20_000 {
            recorder.begin(number, 1, 0);
            recorder.progress(number, number);
            recorder.end();
        }
    });
    let mut seen = 0;
    let mut is_last_look = false;
    while !is_last_look {
        is_last_look = writer.is_finished();
        for number in 1..=20_000 {
            if let Some(progress) = blackbox.progress(number, 1) {
                assert_eq!(progress, Progress { done: number, total: number });
                seen += 1;
            }
        }
    }
    writer.join().expect("it does not panic");
    assert!(seen > 0);
}

#[test]
fn what_was_used_is_of_the_attempt_that_began() {
    let (blackbox, recorder) = both();
    recorder.note_used(Duration::from_nanos(5), None);
    recorder.begin(7, 2, 0);
    assert_eq!(blackbox.cpu_time_at_begin(7, 2), None);
    recorder.note_used(Duration::from_nanos(9), Some(4096));
    assert_eq!(blackbox.cpu_time_at_begin(7, 2), Some(Duration::from_nanos(9)));
    assert_eq!(blackbox.memory_at_begin(7, 2), Some(4096));
    assert_eq!((blackbox.memory_at_begin(7, 1), blackbox.memory_at_begin(8, 2)), (None, None));
    assert_eq!((blackbox.cpu_time_at_begin(7, 1), blackbox.cpu_time_at_begin(8, 2)), (None, None));
    recorder.end();
    // One that is not limited leaves it alone.
    recorder.begin(8, 2, 0);
    assert_eq!(blackbox.cpu_time_at_begin(8, 2), None);
}
