//! Background workers with nothing to do.

use std::collections::BTreeMap;
use std::time::Duration;

use atasker::BackgroundWorker;
use atasker::background::Timing;

use super::supervisor;
use crate::watch::{alone, eventually};

/// How often each thread but this one has been given a core.
fn switches() -> BTreeMap<String, Vec<String>> {
    let own = std::fs::read_link("/proc/thread-self").expect("procfs");
    let tasks = std::fs::read_dir("/proc/self/task").expect("procfs").flatten();
    let others = tasks.filter(|task| own.file_name() != Some(&task.file_name()));
    others
        .map(|task| {
            let status = std::fs::read_to_string(task.path().join("status")).unwrap_or_default();
            let lines = status.lines().filter(|line| line.contains("ctxt_switches"));
            let lines = lines.map(str::to_owned).collect();
            (task.file_name().into_string().expect("a number"), lines)
        })
        .collect()
}

#[test]
fn a_thousand_that_wait_wake_nobody() {
    alone("background::idle::a_thousand_that_wait_wake_nobody", || {
        let supervisor = supervisor();
        let hour = Duration::from_secs(3600);
        let accepted = "the supervisor runs";
        for n in 0..1000 {
            match n % 4 {
                0 => drop(
                    BackgroundWorker::on_event().run(|_| ()).start(&supervisor).expect(accepted),
                ),
                1 => {
                    let queue = BackgroundWorker::queue().for_each(|_: u8, _| ());
                    drop(queue.start(&supervisor).expect(accepted));
                }
                2 => {
                    let awaits = BackgroundWorker::on_event().run_async(|_| async {});
                    drop(awaits.start(&supervisor).expect(accepted));
                }
                _ => {
                    let timing = Timing::every(hour).first_after(hour);
                    let timed = BackgroundWorker::timed(timing).run(|_| ());
                    drop(timed.start(&supervisor).expect(accepted));
                }
            }
        }
        eventually("all have started, and have nothing to do", || {
            let info = supervisor.info();
            let (threads, loops) = (info.threads, info.loops);
            threads.delayed == 250 && threads.outstanding() == 250 && loops.outstanding() == 0
        });
        // Not at once: what has just ended goes to sleep, and threads of the pool retire when they have been idle for
        // ten seconds. Whatever wakes again and again is never still for so long.
        eventually("nobody wakes for a second", || {
            let before = switches();
            // This waits for time itself.
            std::thread::sleep(Duration::from_secs(1));
            switches() == before
        });
    });
}
