//! What does not cross the boundary between this program and its workers.
//!
//! A worker process is this program started anew (or another program). It is not a copy of the running one:
//! it begins at the top of `main`, and goes no further than
//! [`run_if_spawned`](crate::worker::run_if_spawned). A task therefore sees only what was sent with its call,
//! what the worker's initialiser set up, and what the operating system shows to any process.
//!
//! | | in a worker |
//! |---|---|
//! | arguments, results | copied, by serde; borrowed arguments (`&str`, `&[u8]`, `&Path`) point into the worker's own copy |
//! | `static` variables, caches, `OnceLock`s | begin anew in each worker, and stay from task to task; what a task changes there is seen neither by the caller nor by the other workers |
//! | thread locals | begin anew; all tasks of a worker run on one thread, one after another |
//! | set-up done in `main` (logger, runtime, configuration, connections) | not done: `main` did not get there. Do it in a `#[worker_init]` function, with data from [`worker_data`](crate::SupervisorBuilder::worker_data) |
//! | working directory, environment | as they were when the process pool **started**; later changes are not seen |
//! | open files, sockets, locks | not inherited: everything but the three standard descriptors is closed. Send paths and open them there |
//! | standard input | `/dev/null` |
//! | standard output, standard error | the host's standard error, so that a `println!` in a task can't corrupt the host's output; see [`worker_output`](crate::SupervisorBuilder::worker_output) |
//! | `tracing` events and `log` records | arrive in the host's subscriber, with the fields `task` and `worker`, filtered by the host's level |
//! | signal handlers, `SIGPIPE` | as a freshly started Rust program has them, but for those that take a picture of a crash (SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGTRAP, SIGSYS) or of where a task is (SIGRTMIN+13); a worker is the leader of a process group of its own, so Ctrl-C at a terminal does not reach it |
//! | core dumps, the kernel's choice when memory is short | no core dumps unless [`core_dumps`](crate::SupervisorBuilder::core_dumps) is said; `oom_score_adj` is 500 at least, so that the kernel takes a worker before its host |
//! | the random seed of `HashMap`, address layout | its own in each worker: do not send addresses, nor rely on an order of iteration |
//! | `RAYON_NUM_THREADS`, `OMP_NUM_THREADS` and relatives | the worker's share of the cores, unless they are set already |
//! | supervisors | a worker has none: [`supervisor()`](crate::supervisor()) and [`start`](crate::SupervisorBuilder::start) fail with [`InsideWorker`](crate::StartError::InsideWorker). Return what is to be run next |
//! | panics | become [`Panicked`](crate::TaskErrorKind::Panicked) with message and place; the worker goes on with its statics as the panic left them (see [`recycle_on_panic`](crate::SupervisorBuilder::recycle_on_panic)). With `RUST_BACKTRACE=1` a worker's first panic reads debug information, which may take a second and counts as the task's time |
//! | files in `/proc/self`, process and thread ids, `std::env::args` | those of the worker |
//!
//! # Numbers and text
//!
//! Arguments and results cross in the postcard format, which does not describe itself: types whose serde form
//! needs that (`#[serde(untagged)]`, `serde_json::Value`, `#[serde(flatten)]`) can't cross in typed calls. Wrap
//! them in a `String`, or call by name with JSON.
//!
//! # Trust
//!
//! A program gone mad can harm only the tasks that are with its own worker: what comes back is checked against what the
//! host knows. That is not all that can be spoiled: a task that writes over memory at random may, before it is noticed,
//! change the arguments and results of others in the queue of the same worker, and those changes look like any value. A
//! worker runs as the same user with the same rights; it is no sandbox for an attacker's code.
