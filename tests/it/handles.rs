//! Handles: waiting, awaiting, cancelling, callbacks, many at once.

use std::future::Future;
use std::sync::mpsc;
use std::sync::{Arc, atomic::AtomicUsize, atomic::Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use atasker::{
    Backoff, Call, Limits, RetryOn, Supervisor, TaskErrorKind, TaskStatus, as_completed, wait_all,
};

use crate::tasks;
use crate::watch::{eventually, watched};

fn threads() -> Supervisor {
    Supervisor::builder().start().expect("threads start")
}

/// A closure that waits for the sender to be used or dropped.
fn held() -> (mpsc::Sender<u32>, impl FnOnce() -> Option<u32> + Send) {
    let (send, receive) = mpsc::channel();
    (send, move || receive.recv().ok())
}

struct Unpark(std::thread::Thread, AtomicUsize);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.1.fetch_add(1, Ordering::SeqCst);
        self.0.unpark();
    }
}

/// The smallest runtime there is.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = std::pin::pin!(future);
    let waker = Waker::from(Arc::new(Unpark(std::thread::current(), AtomicUsize::new(0))));
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park(),
        }
    }
}

#[test]
fn a_handle_is_a_future_on_any_runtime() {
    watched(|| {
        let supervisor = Supervisor::builder().processes(Limits::new(1)).start().expect("starts");
        let value = block_on(async {
            let sum = supervisor.submit(tasks::add::call(3, 7)).expect("accepted").await?;
            let text =
                supervisor.spawn_blocking(move || sum.to_string()).expect("accepted").await?;
            Ok::<_, atasker::TaskError>(text)
        });
        assert_eq!(value.expect("both run"), "10");
    });
}

#[test]
fn wait_timeout_gives_up_and_can_go_on() {
    watched(|| {
        let supervisor = threads();
        let (send, closure) = held();
        let mut task = supervisor.spawn_blocking(closure).expect("accepted");
        assert!(task.wait_timeout(Duration::ZERO).is_none());
        assert!(task.wait_timeout(Duration::from_millis(5)).is_none());
        send.send(9).expect("it listens");
        assert_eq!(
            task.wait_timeout(Duration::from_secs(60)).expect("it ends").expect("well"),
            Some(9)
        );
    });
}

#[test]
fn callbacks_run_elsewhere_and_may_panic_and_submit() {
    watched(|| {
        let supervisor = Arc::new(threads());
        let (tell, told) = mpsc::channel();
        supervisor
            .spawn_blocking(|| 1)
            .expect("accepted")
            .on_complete(|_| panic!("a bad callback"));
        let again = Arc::clone(&supervisor);
        let tell_again = tell.clone();
        supervisor.spawn_blocking(|| 2).expect("accepted").on_complete(move |value| {
            let value = value.expect("it ran");
            let next = again.spawn_blocking(move || value * 10).expect("accepted");
            next.on_complete(move |value| {
                tell_again.send(value.expect("it ran")).expect("the test listens");
            });
        });
        assert_eq!(told.recv(), Ok(20));
        // A callback on what has ended already runs too.
        let task = supervisor.spawn_blocking(|| 3).expect("accepted");
        eventually("it ends", || task.is_done());
        task.on_complete(move |value| tell.send(value.expect("it ran")).expect("the test listens"));
        assert_eq!(told.recv(), Ok(3));
    });
}

#[test]
fn wait_all_keeps_the_order_and_gives_handles_back() {
    watched(|| {
        let supervisor = threads();
        let (send, closure) = held();
        let quick = supervisor.spawn_blocking(|| Some(1)).expect("accepted");
        let slow = supervisor.spawn_blocking(closure).expect("accepted");
        let still = wait_all([slow, quick], Duration::from_millis(20)).expect_err("one is held");
        assert_eq!(still.handles.len(), 2);
        drop(send);
        let results = wait_all(still.handles, None).expect("without a timeout");
        let values: Vec<_> = results.into_iter().map(|result| result.expect("it ran")).collect();
        assert_eq!(values, [None, Some(1)]);
    });
}

/// Threads and workers of two supervisors, and others that look after the same rings.
#[test]
fn wait_all_of_many_kinds_by_several_threads() {
    watched(|| {
        let pools = [1, 2].map(|workers| {
            let pools = Supervisor::builder().processes(Limits::new(workers));
            pools.start().expect("workers start")
        });
        let submit = |n: i64| {
            let pool = &pools[usize::from(n % 2 == 0)];
            match n % 5 {
                0 => pool.spawn_blocking(move || n + 1),
                _ => pool.submit(tasks::add::call(n, 1)),
            }
        };
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    for count in [0, 1, 15, 16, 17, 1_000] {
                        let tasks: Vec<_> =
                            (0..count).map(|n| submit(n).expect("accepted")).collect();
                        let results = wait_all(tasks, None).expect("without a timeout");
                        let values = results.into_iter().map(|result| result.expect("it ran"));
                        assert!(values.eq(1..=count), "each in its place");
                    }
                });
            }
        });
    });
}

#[test]
fn as_completed_gives_the_first_first() {
    watched(|| {
        let supervisor = threads();
        let (send, closure) = held();
        let slow = supervisor.spawn_blocking(closure).expect("accepted");
        let quick = supervisor.spawn_blocking(|| Some(1)).expect("accepted");
        let mut done = as_completed([slow, quick]);
        assert_eq!(done.len(), 2);
        assert_eq!(done.next().expect("one has ended").index, 1);
        drop(send);
        let last = done.next().expect("the other ends");
        assert_eq!((last.index, last.info.status), (0, TaskStatus::Completed));
        assert!(done.next().is_none());
    });
}

#[test]
fn a_dropped_handle_detaches() {
    watched(|| {
        let supervisor = threads();
        let (tell, told) = mpsc::channel();
        drop(supervisor.spawn_blocking(move || tell.send(5)).expect("accepted"));
        assert_eq!(told.recv(), Ok(5));
        eventually("it is counted", || supervisor.info().ended.completed == 1);
    });
}

#[test]
fn info_follows_a_task_through_its_life() {
    watched(|| {
        let supervisor = Supervisor::builder().threads(Limits::new(1)).start().expect("starts");
        let (send, closure) = held();
        let first = supervisor.submit(Call::closure(closure).label("first")).expect("accepted");
        eventually("it runs", || first.info().status == TaskStatus::Running);
        let second = supervisor.submit(Call::closure(|| Some(2)).id("two")).expect("accepted");
        assert_eq!(second.info().status, TaskStatus::Queued);
        let third = Call::closure(|| Some(3)).delay(Duration::from_secs(3600));
        let third = supervisor.submit(third).expect("accepted");
        assert_eq!(third.info().status, TaskStatus::Delayed);
        let all: Vec<_> = supervisor.tasks().iter().map(|task| task.id).collect();
        assert_eq!(all, [first.id(), second.id(), third.id()]);
        assert_eq!(supervisor.task("two").expect("it waits").id, second.id());
        assert!(supervisor.submit(Call::closure(|| ()).id("two")).is_err());
        assert!(third.cancel());
        assert_eq!(third.info().status, TaskStatus::Cancelled);
        send.send(1).expect("it listens");
        assert_eq!(second.wait().expect("it runs"), Some(2));
        let info = first.info();
        assert_eq!((info.status, info.attempts), (TaskStatus::Completed, 1));
        assert_eq!(info.label.as_deref(), Some("first"));
        assert!(supervisor.task("two").is_none());
    });
}

#[test]
fn of_those_who_cancel_at_once_one_has_ended_it() {
    watched(|| {
        let supervisor = Supervisor::builder().processes(Limits::new(2)).start().expect("starts");
        for round in 0..100 {
            let call = tasks::sleep_ms::call(600_000);
            // Some wait yet, some run.
            let task = supervisor.submit(call).expect("accepted");
            let runs = || task.info().status == TaskStatus::Running;
            eventually("it runs", || round % 2 == 0 || runs());
            let together = std::sync::Barrier::new(4);
            let cancel = || {
                together.wait();
                usize::from(task.cancel())
            };
            let ended: usize = std::thread::scope(|scope| {
                let all: Vec<_> = (0..4).map(|_| scope.spawn(cancel)).collect();
                all.into_iter().map(|one| one.join().expect("no panic")).sum()
            });
            assert_eq!(ended, 1);
            assert!(matches!(task.wait().unwrap_err().kind(), TaskErrorKind::Cancelled));
        }
    });
}

#[test]
fn map_is_lazy_ordered_and_cancels_when_dropped() {
    watched(|| {
        let supervisor = Supervisor::builder().threads(Limits::new(2)).start().expect("starts");
        let taken = AtomicUsize::new(0);
        let calls = (0..1_000_u32).map(|n| {
            taken.fetch_add(1, Ordering::SeqCst);
            Call::closure(move || n)
        });
        let mut map = supervisor.map(calls).window(8);
        assert_eq!(taken.load(Ordering::SeqCst), 0);
        for n in 0..100 {
            assert_eq!(map.next().expect("more").expect("it runs"), n);
            assert!(taken.load(Ordering::SeqCst) <= n as usize + 8);
        }
        drop(map);
        eventually("nothing is left", || supervisor.info().threads.outstanding() == 0);
        let mut all: Vec<_> = supervisor
            .map_unordered((0..100_usize).map(|n| Call::closure(move || n)))
            .map(|done| {
                assert_eq!(done.index, *done.result.as_ref().expect("it runs"));
                done.index
            })
            .collect();
        all.sort_unstable();
        assert!(all.into_iter().eq(0..100));
    });
}

/// The thread pool may be much larger than that of the processes.
#[test]
fn map_runs_ahead_of_its_reader_as_the_workers_need() {
    watched(|| {
        let builder = Supervisor::builder().threads(Limits::new(1_000)).processes(Limits::new(1));
        let supervisor = builder.start().expect("starts");
        // How quick they are is known afterwards.
        assert_eq!(supervisor.map((0..20_000).map(|n| tasks::add::call(n, 1))).count(), 20_000);
        let taken = AtomicUsize::new(0);
        let calls = (0..1_000_000).map(|n| {
            taken.fetch_add(1, Ordering::SeqCst);
            tasks::add::call(n, 1)
        });
        let mut map = supervisor.map(calls);
        assert_eq!(map.next().expect("more").expect("it runs"), 1);
        let ahead = taken.load(Ordering::SeqCst);
        assert!(ahead < 20_000, "{ahead}");
    });
}

#[test]
fn map_stream_gives_everything_in_order_also_through_a_full_queue() {
    use futures_core::Stream;
    watched(|| {
        let supervisor =
            Supervisor::builder().threads(Limits::new(1)).queue_bound(2).start().expect("starts");
        let mut stream = supervisor.map_stream((0..200_u32).map(|n| Call::closure(move || n)));
        for n in 0..200 {
            let next =
                std::future::poll_fn(|context| std::pin::Pin::new(&mut stream).poll_next(context));
            assert_eq!(block_on(next).expect("more").expect("it runs"), n);
        }
    });
}

#[test]
fn a_bounded_queue_makes_submitters_wait() {
    watched(|| {
        let supervisor = Arc::new(
            Supervisor::builder().threads(Limits::new(1)).queue_bound(1).start().expect("starts"),
        );
        let (send, closure) = held();
        let running = supervisor.spawn_blocking(closure).expect("accepted");
        let waiting = supervisor.spawn_blocking(|| Some(1)).expect("accepted");
        let other = Arc::clone(&supervisor);
        let blocked = std::thread::spawn(move || {
            other.spawn_blocking(|| Some(2)).expect("accepted in the end").wait()
        });
        let asynchronous = Arc::clone(&supervisor);
        let awaited = std::thread::spawn(move || {
            block_on(async {
                let call = Call::closure(|| Some(3));
                asynchronous.submit_async(call).await.expect("accepted in the end").await
            })
        });
        drop(send);
        assert_eq!(running.wait().expect("it ran"), None);
        assert_eq!(waiting.wait().expect("it ran"), Some(1));
        assert_eq!(blocked.join().expect("no panic").expect("it ran"), Some(2));
        assert_eq!(awaited.join().expect("no panic").expect("it ran"), Some(3));
    });
}

#[test]
fn inside_a_task_a_full_queue_is_an_error() {
    watched(|| {
        let supervisor = Arc::new(
            Supervisor::builder().threads(Limits::new(1)).queue_bound(1).start().expect("starts"),
        );
        let (send, closure) = held();
        let inner = Arc::clone(&supervisor);
        let task = supervisor
            .spawn_blocking(move || {
                closure();
                inner.spawn_blocking(|| ()).map(drop).map_err(|error| error.to_string())
            })
            .expect("accepted");
        let filler = supervisor.spawn_blocking(|| ()).expect("accepted");
        drop(send);
        let answer = task.wait().expect("it ran");
        assert!(answer.expect_err("it would wait for itself").contains("queue is full"));
        filler.wait().expect("it runs");
    });
}

#[test]
fn external_tasks_end_elsewhere() {
    watched(|| {
        let supervisor = Supervisor::builder().threads(Limits::new(1)).start().expect("starts");
        let (pass, passed) = mpsc::channel();
        let task = supervisor
            .external_task::<u32, _>("elsewhere", move |completer| drop(pass.send(completer)))
            .expect("accepted");
        let completer = passed.recv().expect("it is started");
        let waiting = supervisor.spawn_blocking(|| ()).expect("accepted");
        assert_eq!(waiting.info().status, TaskStatus::Queued, "the place is held");
        completer.complete(6);
        assert_eq!(task.wait().expect("completed"), 6);
        waiting.wait().expect("the place is free");

        let dropped = supervisor.external_task::<u32, _>("dropped", drop).expect("accepted");
        assert!(matches!(dropped.wait().unwrap_err().kind(), TaskErrorKind::Cancelled));
        let panics = supervisor.external_task::<u32, _>("panics", |_completer| panic!("no"));
        assert_eq!(panics.expect("accepted").wait().unwrap_err().status(), TaskStatus::Panicked);
        supervisor.spawn_blocking(|| ()).expect("accepted").wait().expect("the place is free");
    });
}

/// As many iterators that must not be asked again after their end: some would give more, others wait or panic.
#[test]
fn the_calls_of_a_map_are_not_asked_for_after_their_end() {
    fn once_only<T>(calls: Vec<Call<T>>) -> impl Iterator<Item = Call<T>> + Unpin {
        let (mut calls, mut ended) = (calls.into_iter(), false);
        std::iter::from_fn(move || {
            assert!(!ended, "asked again");
            let next = calls.next();
            ended = next.is_none();
            next
        })
    }
    watched(|| {
        let supervisor = Supervisor::builder().processes(Limits::new(1)).start().expect("starts");
        let closures = || once_only((0..5).map(|n| Call::closure(move || n)).collect());
        let packed = once_only((0..50).map(|n| tasks::add::call(n, 1)).collect());
        assert_eq!(supervisor.map(packed).map(Result::unwrap).sum::<i64>(), 1275);
        assert_eq!(supervisor.map(closures()).map(Result::unwrap).sum::<i32>(), 10);
        let all = supervisor.map_unordered(closures()).map(|done| done.result.unwrap());
        assert_eq!(all.sum::<i32>(), 10);
        let mut stream = supervisor.map_stream(closures());
        for n in 0..5 {
            let next = std::future::poll_fn(|context| {
                futures_core::Stream::poll_next(std::pin::Pin::new(&mut stream), context)
            });
            assert_eq!(block_on(next).expect("more").expect("it runs"), n);
        }
    });
}

/// A failed attempt that waits for its next one takes no place in the queue: whoever waits for a place gets it.
#[test]
fn a_retry_makes_room_in_a_bounded_queue() {
    watched(|| {
        let folder = tempfile::tempdir().expect("a folder");
        let [failing, behind] = ["failing", "behind"].map(|name| folder.path().join(name));
        let supervisor = Supervisor::builder().processes(Limits::new(1)).queue_bound(1).start();
        let supervisor = supervisor.expect("starts");
        let call = tasks::hold_and_fail::call(&failing).retries(1).retry_on([RetryOn::Error]);
        let hour = Duration::from_secs(3600);
        let first = supervisor.submit(call.backoff(Backoff::fixed(hour))).expect("accepted");
        eventually("it runs", || failing.exists());
        let second = supervisor.submit(tasks::hold::call(&behind)).expect("accepted");
        std::thread::scope(|scope| {
            let blocked = scope.spawn(|| supervisor.submit(tasks::add::call(1, 1)));
            // So that it waits, mostly, but the second is not taken back from behind something that takes long.
            std::thread::sleep(Duration::from_millis(3));
            std::fs::remove_file(&failing).expect("it is there");
            // The second still runs when it is accepted.
            let third = blocked.join().expect("no panic").expect("accepted");
            eventually("the second runs", || behind.exists());
            std::fs::remove_file(&behind).expect("it is there");
            assert_eq!(third.wait().expect("it runs"), 2);
        });
        second.wait().expect("it runs");
        assert!(first.cancel());
    });
}
