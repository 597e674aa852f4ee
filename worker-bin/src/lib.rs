//! The stock tasks of atasker: a few useful ones, and those that misbehave on purpose, to show what it is
//! worth that a task runs in a process of its own.
//!
//! The command `atasker` serves them without further ado; the program `atasker-worker` is a worker that has
//! nothing else. Another program links them by naming this crate once, and then calls them by name or as the
//! functions that they are:
//!
//! ```
//! use atasker_worker as _; // now its tasks are registered here too
//! assert_eq!(atasker_worker::primes::count_primes(0, 100), 25);
//! ```

#[path = "tasks/digest.rs"]
pub mod digest;
#[path = "tasks/mandelbrot.rs"]
pub mod mandelbrot;
#[path = "tasks/primes.rs"]
pub mod primes;
#[path = "tasks/trouble.rs"]
pub mod trouble;
