//! Coming from the Python library of the same name: what each of its names is here, and what differs.
//!
//! The ideas are the same: a supervisor, pools with reserves, four priorities, background workers that keep making
//! tasks. The program `examples/coming_from_python.rs` does what the code examples of the Python README do, in their
//! order.
//!
//! # What to know first
//!
//! - **Worker processes are for real.** There a process task whose function raises never completes, and one whose
//!   process dies hangs the pool. Here every task ends, with the reason; see [`TaskErrorKind`]. A timeout or a
//!   cancel kills.
//! - **"Worker" means a process here.** What is called a worker there is a *background worker*.
//! - **Nothing polls.** There is no poll delay, nowhere: a task starts, ends and is waited for without one.
//! - **A task is called through its handle.** There a decorated function starts the task when it is called. Here it
//!   stays a plain function, and `f::call(…)` makes a [`Call`] that is [submitted](Supervisor::submit).
//! - **Tasks go to processes by themselves.** There they run on threads unless `tt=TT_MP` is said. Here `#[task]`
//!   means a worker process and `#[task(io)]` the thread pool.
//! - **Errors are values.** A returned `Err` is the function's value; a panic, a crash, a timeout is a [`TaskError`].
//!
//! # The supervisor
//!
//! | Python | here | what differs |
//! |---|---|---|
//! | `task_supervisor` | [`supervisor()`](crate::supervisor()), [`configure`] | made by its first use; `#[atasker::main]` stops it |
//! | `TaskSupervisor(…)` | [`Supervisor::builder`], [`name`](SupervisorBuilder::name) | as many as you like; one is not to be subclassed |
//! | `set_thread_pool(pool_size, reserve_normal, reserve_high)` | [`threads`](SupervisorBuilder::threads) with [`Limits`] | the same numbers and defaults; zero means no limit, too |
//! | the same while it runs | [`Supervisor::resize`] | the pool that runs changes; there a new one takes its place |
//! | `min_size`, `max_size`, `min_size='max'` | [`min_threads`](SupervisorBuilder::min_threads), [`max_threads`](SupervisorBuilder::max_threads), [`set_min_threads`](Supervisor::set_min_threads) | say the number for `'max'` |
//! | `set_mp_pool(…)`, `create_mp_pool(processes)` | [`processes`](SupervisorBuilder::processes) | as many workers as the limits have places; [`resize`](Supervisor::resize) starts and ends some |
//! | `mp_pool = Pool(…)` | [`worker_program`](SupervisorBuilder::worker_program), [`rayon`](SupervisorBuilder::rayon), [`inline`](SupervisorBuilder::inline) | not a pool of your own, but other places to run |
//! | `TASK_LOW`, `TASK_NORMAL`, `TASK_HIGH`, `TASK_CRITICAL` | [`Priority`] | the rules are the same, for processes as well: a critical task gets an extra one ([`burst`](SupervisorBuilder::burst)) |
//! | `TT_THREAD`, `TT_MP`, `TT_COROUTINE` | [`Pool`] | the attribute says it, or the kind of [`Call`] |
//! | `poll_delay` | – | there is none |
//! | `timeout_warning`, `timeout_critical` and their `_func`s | [`timeout_warning`](SupervisorBuilder::timeout_warning), [`timeout_critical`](SupervisorBuilder::timeout_critical), [`on_warning`](SupervisorBuilder::on_warning), [`on_critical`](SupervisorBuilder::on_critical) | called while the task still waits |
//! | `start()` | [`SupervisorBuilder::start`] | an error says what is wrong, before the first task |
//! | `block()` | [`Supervisor::join`] | |
//! | `stop(wait=True)` | [`stop`](Supervisor::stop) with [`Stop::Drain`] | |
//! | `stop(wait=seconds)` | [`Stop::DrainFor`] | bounded for everything, and kills after it |
//! | `stop(wait=False)` | [`Stop::KillNow`], or dropping the supervisor | |
//! | `stop(cancel_tasks=True)` | [`Stop::CancelQueued`] | cancels what waits; [`Stop::KillNow`] ends what runs, too |
//! | `stop(stop_schedulers=False)` | [`unregister_scheduler`](Supervisor::unregister_scheduler) before | |
//! | `put_task(target, args, …)` | [`submit`](Supervisor::submit) | a delayed task holds no place |
//! | `put_task(task_id=…)` | [`Call::id`] | a text; two tasks at once can't have the same |
//! | `mark_task_completed` | [`external_task`](Supervisor::external_task), [`Completer`] | only for tasks that end elsewhere; others are marked by ending |
//! | `get_info()` | [`Supervisor::info`] | |
//! | `get_tasks()`, `get_task(id)` | [`tasks`](Supervisor::tasks), [`task`](Supervisor::task) | |
//! | `get_schedulers()` | [`SupervisorInfo::schedulers`] | names |
//! | `register_scheduler`, `register_sync_scheduler` | [`Scheduler`], [`register_scheduler`](Supervisor::register_scheduler) | one trait for both; started when registered |
//! | `unregister_scheduler`, `unregister_sync_scheduler` | [`unregister_scheduler`](Supervisor::unregister_scheduler) | |
//! | `spawn_thread` | [`spawn_blocking`](Supervisor::spawn_blocking) | admitted like every task |
//!
//! # Tasks
//!
//! | Python | here | what differs |
//! |---|---|---|
//! | `@background_task`, `background_task(f)(…)` | `#[task(io)]` or [`spawn_blocking`](Supervisor::spawn_blocking), [`Call::closure`] | |
//! | `background_task(f, tt=TT_MP)(…)` | `#[task]` | an ordinary function of this program: it need not stand in a module of its own |
//! | `priority=`, `delay=` | [`Call::priority`], [`Call::delay`], or in the attribute | beside them [`timeout`](Call::timeout), [`queue_timeout`](Call::queue_timeout), [`retries`](Call::retries) |
//! | `callback=` | [`TaskHandle::on_complete`] | on every pool; it is told of errors, too |
//! | `supervisor=` | the supervisor that it is submitted to | |
//! | named arguments | those of the function, in its order; by name in [`Call::by_name`] | |
//! | `**kwargs` with `_task_id` | – | a function gets its own arguments only |
//! | `task.id` | [`TaskHandle::id`] | a number |
//! | `task.status`: 0, 2, 100, 200, -1 | [`TaskStatus`]: `Queued`, `Delayed`, `Running`, `Completed`, `Cancelled` | and the other ways to end |
//! | `task.result` | [`TaskHandle::wait`] | taken once; it is the caller's then |
//! | `task.time_queued`, `task.time_started` | [`TaskInfo::queued`], [`TaskInfo::ran`] | durations |
//! | `task.priority`, `task.tt` | [`TaskInfo::priority`], [`TaskInfo::pool`] | |
//! | `is_started()`, `is_completed()` | [`TaskHandle::info`], [`is_done`](TaskHandle::is_done) | |
//! | `wait_completed(task)` | [`TaskHandle::wait`], [`wait_timeout`](TaskHandle::wait_timeout) | |
//! | `wait_completed(tasks, timeout)` | [`wait_all`], [`as_completed`] | a timeout gives the handles back in [`StillRunning`] |
//! | `await co_mp_apply(f, …)` | `supervisor.submit(f::call(…))?.await` | on any runtime; every handle is a future |
//!
//! # Async loops
//!
//! | Python | here | what differs |
//! |---|---|---|
//! | `create_aloop(name)` | [`create_loop`](Supervisor::create_loop) | started at once; a name that is taken is an error |
//! | `create_aloop(default=True)`, `set_default_aloop` | [`set_default_loop`](Supervisor::set_default_loop) | without one, [`default_loop`](Supervisor::default_loop) is made by its first use |
//! | `get_aloop(name)`, `get_aloops()` | [`async_loop`](Supervisor::async_loop), [`async_loops`](Supervisor::async_loops) | |
//! | `start_aloop`, `create_aloop(start=False)`, `daemon=` | – | a loop runs from its creation on, and ends with its supervisor at the latest |
//! | `stop_aloop(wait, cancel_tasks)` | [`AsyncLoop::stop`] with a [`LoopStop`] | |
//! | an event loop of one's own | [`wrap_loop`](Supervisor::wrap_loop) | any tokio runtime |
//! | `aloop.get_loop()` | – | in a task on the loop, tokio knows it |
//! | `aloop.background_task(coroutine)` | [`AsyncLoop::spawn`] | a task like others: priorities, limits, timeouts, cancelling |
//! | `background_task(coroutine, loop=…)` | `#[task]` on an `async fn`, [`Supervisor::spawn`], [`Call::future`] with [`on_loop`](Call::on_loop) | |
//! | `aloop.run(coroutine)` | [`AsyncLoop::run`] | on the loop's own thread an error, not a deadlock |
//! | `create_async_job_scheduler` | – | every loop schedules jobs |
//! | `create_async_job(target, interval, timer, number)` | [`AsyncLoop::schedule`] with a [`Schedule`]: [`every`](Schedule::every), [`first_after`](Schedule::first_after), [`times`](Schedule::times) | or a cron expression, with the feature `cron` |
//! | `cancel_async_job(job)` | [`AsyncJob::cancel`] | |
//!
//! # Background workers
//!
//! What is called a worker there. Each run is a task of the supervisor: a thread, a loop or a worker process does it.
//!
//! | Python | here | what differs |
//! |---|---|---|
//! | `@background_worker` | `#[background_worker]`, or a builder: [`BackgroundWorker::looping`] | the attribute picks the kind from its arguments, as there |
//! | `BackgroundWorker` | [`BackgroundWorker::looping`] | each run is a task of its own |
//! | `BackgroundAsyncWorker`, `loop=` | [`run_async`](crate::background::BackgroundWorkerBuilder::run_async), [`on_loop`](crate::background::BackgroundWorkerBuilder::on_loop) | any kind may be async |
//! | `BackgroundQueueWorker`, `q=True` | [`BackgroundWorker::queue`] | |
//! | `q=PriorityQueue`, another class | [`priority_queue`](BackgroundWorker::priority_queue), [`bounded_queue`](BackgroundWorker::bounded_queue), [`queue_of`](BackgroundWorker::queue_of) | |
//! | `BackgroundEventWorker`, `e=True` | [`BackgroundWorker::on_event`] | |
//! | `BackgroundIntervalWorker`, `interval=` | [`BackgroundWorker::every`] | no drift; missed ticks as [`MissedTicks`] says |
//! | `delay=`, `delay_before=` | [`Timing`] with [`BackgroundWorker::timed`] | |
//! | a subclass with `run` | a type with [`Background`] or [`AsyncBackground`] | its state is its own |
//! | a static `run`, `process_result` | [`ProcessBackground`] | a crash is told to `process_result`, too |
//! | `name=`, `priority=` | of the builder; at a start in [`Start`] | |
//! | `o=`, arguments of `start` | [`arguments`](Start::arguments), seen by [`Run::arguments`] | or what a closure captures |
//! | `on_error=` | [`Hooks::on_error`], or of the builder | is told what happened; what then is done says [`OnFailure`] |
//! | `supervisor=` | the one that it is started with | |
//! | `poll_delay=`, `daemon=` | – | |
//! | `start`, `stop(wait=True)`, `restart` | [`start`](BackgroundWorker::start), [`stop`](BackgroundWorker::stop), [`restart`](BackgroundWorker::restart) | |
//! | `stop(wait=False)` | [`begin_stop`](BackgroundWorker::begin_stop) | |
//! | `is_active`, `is_started`, `is_stopped`, `last_executed` | [`is_active`](BackgroundWorker::is_active), [`info`](BackgroundWorker::info) | |
//! | `before_start`, `after_start`, `before_stop`, `after_stop`, `before_queue_get`, `after_queue_get` | the same in [`Hooks`] | |
//! | `_worker`, `_name`, `_task_id` | [`Run`] | |
//! | `return False` | [`ControlFlow::Break`](std::ops::ControlFlow::Break) | |
//! | `put`, `put_threadsafe` | [`put`](BackgroundWorker::put) | from anywhere |
//! | `trigger`, `trigger_threadsafe` | [`trigger`](BackgroundWorker::trigger) | from anywhere |
//! | `trigger(force=True)` | [`trigger_again`](BackgroundWorker::trigger_again) | |
//! | `get_queue_obj`, `get_event_obj` | – | a queue of one's own is shared by an `Arc` |
//! | `send_stop_events` | – | |
//!
//! # Collections, locals, locks
//!
//! These need the feature `extras`.
//!
//! | Python | here | what differs |
//! |---|---|---|
//! | `FunctionCollection` | [`FunctionCollection`] | functions have names; a panic is a failure like others |
//! | `TaskCollection` | [`TaskCollection`] | on any pool, not only threads |
//! | `@collection`, `append(f, priority)`, `remove(f)` | [`add`](FunctionCollection::add), [`remove`](FunctionCollection::remove) with a [`Rank`] | |
//! | `run()` and `execute()` | [`run`](FunctionCollection::run) gives a [`CollectionOutcome`] | in the order of the ranks; [`all_ok`](CollectionOutcome::all_ok) |
//! | `include_exceptions=` | [`iter`](CollectionOutcome::iter) with them, [`values`](CollectionOutcome::values) without | chosen by the reader |
//! | `on_error=` | [`on_error`](FunctionCollection::on_error) | is told which function and what; without it, the others run all the same |
//! | `g`, `LocalProxy` | [`Locals`] in a `static` | typed: the type belongs to the key |
//! | `g.get(name, default)`, `set`, `has`, `clear` | [`get_or`](Locals::get_or), [`get`](Locals::get), [`set`](Locals::set), [`has`](Locals::has), [`clear`](Locals::clear) | |
//! | `Locker(mod, timeout, relative)` | [`Locker`] | [`not_reentrant`](Locker::not_reentrant) for `relative=False` |
//! | `@locker` | [`Locker::run`] | `None` where there `None` is returned without a word |
//! | `with locker` | [`Locker::lock`] | [`LockTimeout`] for `TimeoutError` |
//! | `locker.critical = f` | [`on_critical`](Locker::on_critical) | |
//!
//! # Watching it work
//!
//! | Python | here | what differs |
//! |---|---|---|
//! | logger `atasker` | `tracing` events with the targets `atasker::task`, `atasker::process`, `atasker::loops`, `atasker::supervisor` | what a worker process logs arrives in the same subscriber |
//! | `set_debug()` | the level of your subscriber, say `RUST_LOG=atasker=debug` | one line for each step of a task and of a worker process |

#![cfg_attr(
    not(all(feature = "extras", feature = "rayon", feature = "json", feature = "async")),
    allow(rustdoc::broken_intra_doc_links, reason = "what a feature that is off would have had")
)]
#![allow(unused_imports, reason = "for the links")]

use crate::BackgroundWorker;
#[cfg(feature = "async")]
use crate::background::AsyncBackground;
use crate::background::{
    Background, BackgroundWorkerInfo, Hooks, MissedTicks, OnFailure, ProcessBackground, Run, Start,
    Timing,
};
#[cfg(feature = "extras")]
use crate::extras::{
    CollectionOutcome, FunctionCollection, Locals, LockTimeout, Locker, Rank, TaskCollection,
};
#[cfg(feature = "async")]
use crate::{AsyncJob, AsyncLoop, LoopStop, Schedule};
use crate::{
    Call, Completer, Limits, Pool, Priority, Scheduler, StillRunning, Stop, Supervisor,
    SupervisorBuilder, SupervisorInfo, TaskError, TaskErrorKind, TaskHandle, TaskInfo, TaskStatus,
    as_completed, configure, wait_all,
};
