//! The library through its public boundary, in one binary. Worker processes are this binary again.

mod admission;
mod calls;
mod coordinator;
mod crashes;
mod handles;
mod lifecycle;
mod macros;
mod tasks;
mod threads;
mod tidy;
mod watch;

atasker::test_worker!();
