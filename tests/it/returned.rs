//! Buffers that a worker has made, on their way to workers.

use atasker::{Blob, Supervisor, TaskResult};

use crate::buffers::{make, second_time};
use crate::watch::{Held, alone, watched};

fn supervisor(workers: u32) -> Supervisor {
    Supervisor::builder().processes(atasker::Limits::new(workers)).start().expect("workers start")
}

/// The worker that made it would have it back at the first attempt, and might use it for what the next task returns.
#[test]
fn a_retry_gets_what_a_worker_made_again() {
    watched(|| {
        for workers in [1, 2] {
            let supervisor = supervisor(workers);
            let folder = tempfile::tempdir().expect("a folder");
            let made = |length| -> Blob {
                let task = supervisor.submit(make::call(length)).expect("accepted");
                let made: TaskResult<Blob> = task.wait().expect("it runs");
                made.expect("memory")
            };
            let mut round = 0;
            for how in ["crash", "panic", "error"].into_iter().cycle().take(9) {
                round += 1;
                let blob = made(100_000);
                let file = folder.path().join(round.to_string());
                let task = supervisor.submit(second_time::call(blob, &file, how));
                let others: Vec<Blob> = (0..3).map(|_| made(100_000)).collect();
                let back = task.expect("accepted").wait().expect("the second attempt returns");
                let back = back.expect("a blob").to_vec().expect("here");
                assert_eq!((back[0], back[1], back.len()), (8, 7, 100_000), "{how}");
                for other in others {
                    assert_eq!(other.to_vec().expect("here"), vec![7; 100_000], "{how}");
                }
            }
        }
    });
}

/// More than a worker keeps: it lets go of it, and tells so while there is nothing else to tell.
#[test]
fn what_a_worker_forgets_while_nothing_runs_is_freed() {
    alone("returned::what_a_worker_forgets_while_nothing_runs_is_freed", || {
        let supervisor = supervisor(1);
        let make = |length| -> Blob {
            let task = supervisor.submit(make::call(length)).expect("accepted");
            let made: TaskResult<Blob> = task.wait().expect("it runs");
            made.expect("memory")
        };
        drop(make(100_000));
        let before = Held::count();
        let large = make(300 << 20);
        assert_eq!(large.len(), 300 << 20);
        drop(large);
        before.assert_again();
    });
}
