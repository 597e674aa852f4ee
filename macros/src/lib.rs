//! The attributes of the `atasker` crate, which re-exports and documents them. What they expand to is safe
//! code only, and names everything by absolute paths.
//!
//! Read `task` first: what a function must look like is in `signature`, the attribute's options are in
//! `options`.

mod background_worker;
mod duration;
mod expand_here;
mod expand_process;
mod main_attribute;
mod options;
mod signature;
mod task;
mod text;
mod worker_init;

use proc_macro::TokenStream;

/// Makes a function a task, which a supervisor can run in a worker process; by `#[task(io)]` on a thread; or, if it
/// is an `async fn`, on an async loop.
///
/// The function stays as it is. Beside it comes a type of the same name whose `call`, with the function's
/// parameters, describes a call of it. An `async fn` is awaited on the loop: the call gives what it gives.
///
/// | option | |
/// |---|---|
/// | `io` | run it on the thread pool, not in a worker process |
/// | `priority = "high"` | `low`, `normal`, `high`, `critical`, or a path to a constant |
/// | `timeout = "30s"` | end it when it has run so long |
/// | `soft_timeout = "20s"` | ask it to end when it has run so long |
/// | `cpu_limit = "10s"` | end it when its worker process has used so much CPU time for it |
/// | `queue_timeout = "5m"` | give it up when it has waited so long |
/// | `delay = "1s"` | let it wait so long first |
/// | `retries = 2` | up to so many further attempts |
/// | `retry_on(crash, timeout)` | only after these: `crash`, `timeout`, `panic`, `error` |
/// | `crash_limit = 3` | taken out when it has killed its worker process so often |
/// | `memory_limit = 100_000_000` | killed when its worker process has got so many bytes of memory since it began |
/// | `backoff = "100ms"` | wait so long before each further attempt |
/// | `backoff("100ms", "5s")` | wait so long before the first, then twice as long, up to the second |
/// | `label = "nightly"` | stands in logs and listings |
/// | `handle = Name` | the name of the type, where the function's name is taken |
/// | `crate = path` | where the `atasker` crate is, if it is renamed |
///
/// Durations are numbers with units: `ns`, `us`, `ms`, `s`, `m` or `min`, `h`, also together as in `1m30s`.
///
/// A task that runs in a worker process takes owned arguments and references (`&str`, `&Path`, `&[u8]`,
/// `&T`, and options of them), and returns a value of its own; all of them cross by serde. Threads and loops take the
/// same, but whatever is `Send`; what is borrowed is copied.
///
/// ```no_run
/// use atasker::{Supervisor, TaskResult, task};
/// use std::path::Path;
///
/// #[task(timeout = "30s", retries = 2, retry_on(crash, timeout))]
/// fn digits(path: &Path, radix: u32) -> TaskResult<usize> {
///     Ok(std::fs::read_to_string(path)?.chars().filter(|char| char.is_digit(radix)).count())
/// }
///
/// #[atasker::main]
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     let supervisor = Supervisor::builder().start()?;
///     let task = supervisor.submit(digits::call(Path::new("Cargo.lock"), 16))?;
///     println!("{}", task.wait()??);
///     Ok(())
/// }
/// ```
#[proc_macro_attribute]
pub fn task(attribute: TokenStream, item: TokenStream) -> TokenStream {
    task::expand(attribute.into(), &item.into()).into()
}

/// Makes `main` start as a worker where the program was started as one, and stop the default supervisor at
/// the end.
///
/// It stands outside (above) `#[tokio::main]` and its like, so that a worker starts without a runtime.
///
/// ```
/// #[atasker::main]
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     let task = atasker::supervisor()?.spawn_blocking(|| 6 * 7)?;
///     assert_eq!(task.wait()?, 42);
///     Ok(())
/// }
/// ```
#[proc_macro_attribute]
pub fn main(attribute: TokenStream, item: TokenStream) -> TokenStream {
    main_attribute::expand(attribute.into(), &item.into()).into()
}

/// Marks a function that every worker process runs before its first task: `fn init()`, or
/// `fn init(data: T)` for data that the supervisor's builder gives. With `Option<T>` it also runs without
/// data. It may return a `Result<(), E>`; an error or a panic means that the worker can't start.
///
/// ```
/// use atasker::{TaskResult, worker_init};
/// use std::{path::PathBuf, sync::OnceLock};
///
/// static MODEL: OnceLock<Vec<u8>> = OnceLock::new();
///
/// #[worker_init]
/// fn load_model(path: PathBuf) -> TaskResult<()> {
///     MODEL.get_or_init(|| Vec::new()); // from the file, once in each worker
///     drop(path);
///     Ok(())
/// }
/// # fn main() {
/// let builder = atasker::Supervisor::builder().worker_data(&PathBuf::from("model.bin"));
/// # drop(builder);
/// # }
/// ```
#[proc_macro_attribute]
pub fn worker_init(attribute: TokenStream, item: TokenStream) -> TokenStream {
    worker_init::expand(attribute.into(), &item.into()).into()
}

/// Makes a function a background worker, whose kind is picked from the options.
///
/// The function stays as it is. Beside it comes a type of the same name whose `worker` describes the background
/// worker, to be given further options and started.
///
/// | option | runs |
/// |---|---|
/// | `interval = "1s"` | every second, from start to start |
/// | `delay = "1s"` | a second after the end of the run before |
/// | `delay_before = "1s"` | with one of the two above: the first time after a second; alone: the same as `delay`, and before the first run too |
/// | `queue` | for each item that is put |
/// | `bounded_queue = 100` | the same; so many items may wait |
/// | `priority_queue` | the same, the greatest first |
/// | `event` | when it is triggered |
/// | nothing, or `looping` | one run after another |
///
/// | option | |
/// |---|---|
/// | `missed = "burst"` | what happens to ticks of an interval that it misses: `skip`, as unless said, `burst`, `delay` |
/// | `process_result = path` | the function returns a [`Call<T>`](../atasker/struct.Call.html) for a worker process, and that function, a `fn(Result<T, TaskError>, &Run)`, takes what came of it |
/// | `name = "devices"` | its name, in the place of the function's |
/// | `priority = "high"` | the class of its runs |
/// | `handle = Name` | the name of the type, where the function's name is taken |
/// | `crate = path` | where the `atasker` crate is, if it is renamed |
///
/// A plain `fn` runs on the thread pool, an `async fn` on a loop. It may return nothing, or a `ControlFlow<()>` of
/// which `Break` stops the worker, or a `Result` of one of them.
///
/// It may take a `&Run`, then the item if it has a queue, and whatever else is given to `worker`: what it takes by
/// value is cloned for each run, what it takes by reference is lent to each (an `async fn` gets a clone of its own to
/// borrow from).
///
/// ```
/// use atasker::background::Run;
/// use atasker::{Supervisor, background_worker};
/// use std::ops::ControlFlow;
///
/// #[background_worker(interval = "10ms")]
/// fn poll(run: &Run, device: &str) -> ControlFlow<()> {
///     println!("{device} is polled for the {}. time", run.number());
///     if run.number() < 3 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
/// }
///
/// #[background_worker(queue)]
/// fn save(line: String) -> std::io::Result<()> {
///     std::fs::write("/dev/null", line)
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let supervisor = Supervisor::builder().start()?;
/// let polls = poll::worker("thermometer".to_owned()).start(&supervisor)?;
/// let saves = save::worker().name("saves").start(&supervisor)?;
/// saves.put("it is warm".to_owned())?;
/// # supervisor.stop(atasker::Stop::Drain);
/// # Ok(()) }
/// ```
#[proc_macro_attribute]
pub fn background_worker(attribute: TokenStream, item: TokenStream) -> TokenStream {
    background_worker::expand(attribute.into(), &item.into()).into()
}
