//! The builder's lines about what worker processes may use before they are replaced or killed.

use std::time::Duration;

use super::builder::SupervisorBuilder;

impl SupervisorBuilder {
    /// Replace a worker process after so many tasks: for functions that leak. Not done unless said.
    ///
    /// It serves on until another is ready in its place (at once if there is a [spare](Self::spares) one), so that
    /// tasks never wait because of this; then it ends when it has finished what it runs. So it may come to some more
    /// tasks than were said. Each worker's number is up to a quarter smaller, because workers that were started together
    /// would have to be replaced together, and no more than a quarter of the pool, or one, is replaced at a time.
    ///
    /// With 1, each task finds a fresh process: there a worker never runs a second one, however long the next takes to
    /// start. Spare ones bridge that.
    pub fn recycle_after_tasks(mut self, tasks: u32) -> Self {
        self.workers.recycle_after_tasks = Some(tasks);
        self
    }

    /// Replace a worker process that has reached this age when it has finished a task, in the same way as
    /// [`recycle_after_tasks`](Self::recycle_after_tasks), and up to a quarter earlier. Not done unless said. A pool that has
    /// nothing to do is left alone.
    ///
    /// ```no_run
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use atasker::{Limits, Supervisor};
    /// use std::time::Duration;
    /// let supervisor = Supervisor::builder()
    ///     .processes(Limits::new(2))
    ///     .recycle_after_tasks(1000)
    ///     .recycle_after(Duration::from_secs(3600))
    ///     .start()?;
    /// # drop(supervisor);
    /// # Ok(()) }
    /// ```
    pub fn recycle_after(mut self, age: Duration) -> Self {
        self.workers.recycle_after = Some(age);
        self
    }

    /// Replace a worker process that has more memory of its own than this many bytes, in the same way as
    /// [`recycle_after_tasks`](Self::recycle_after_tasks): it serves on until another is ready, and what it runs then comes
    /// to its end. No limit unless said.
    ///
    /// What counts is private memory, swapped out or not, that is what would be free if the process ended: what it has
    /// allocated, but neither the program itself nor mapped files, nor memory that it shares with others, as
    /// [`SharedSlice`](crate::SharedSlice) does. What processes have that a task starts does not count. Workers are looked
    /// at every 20 milliseconds while they run something, and once more afterwards; a pool without work looks at nothing.
    pub fn memory_soft_limit(mut self, bytes: u64) -> Self {
        self.workers.memory_soft_limit = Some(bytes);
        self
    }

    /// Kill a worker process that has more memory of its own than this many bytes, counted as for
    /// [`memory_soft_limit`](Self::memory_soft_limit). No limit unless said.
    ///
    /// The task that it runs has [crashed](crate::TaskErrorKind::Crashed), and its report says that this limit was passed
    /// and how far. What earlier tasks have left behind counts too: a soft limit below this one keeps that small. In the 20
    /// milliseconds between two looks a task can get some ten megabytes, or more where the kernel gives huge pages;
    /// [`address_space_limit`](Self::address_space_limit) has no such gap.
    ///
    /// ```no_run
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use atasker::{Limits, Supervisor};
    /// let supervisor = Supervisor::builder()
    ///     .processes(Limits::new(2))
    ///     .memory_soft_limit(1 << 30)
    ///     .memory_hard_limit(2 << 30)
    ///     .start()?;
    /// # drop(supervisor);
    /// # Ok(()) }
    /// ```
    pub fn memory_hard_limit(mut self, bytes: u64) -> Self {
        self.workers.memory_hard_limit = Some(bytes);
        self
    }

    /// The address space of each worker process, in bytes (`RLIMIT_AS`). No limit unless said.
    ///
    /// All that is mapped counts, touched or not: the program and its libraries, stacks, mapped files, shared buffers. An
    /// allocation beyond it fails: most programs are aborted by that, as a Rust program is with `memory allocation of …
    /// bytes failed`, and the task has crashed. It holds from before the initialisers on, and for what a task starts.
    /// A program needs some hundred megabytes at least, much more with a runtime that reserves address space.
    pub fn address_space_limit(mut self, bytes: u64) -> Self {
        self.workers.process_limits.address_space = Some(bytes);
        self
    }

    /// Let no new process task start while fewer than this many bytes of memory are available: on the machine
    /// (`MemAvailable`), or to the control groups of this program. Not done unless said.
    ///
    /// What runs goes on, what was staged ahead is taken back, and what waits is looked at again every 100 milliseconds,
    /// as long as something waits. When no process task of this pool runs, one starts all the same, so that work goes on one
    /// task at a time however short memory is. Critical tasks are not held back. The begin and the end are logged, and
    /// [`PoolInfo::held_back`](crate::PoolInfo::held_back) tells in between.
    pub fn min_available_memory(mut self, bytes: u64) -> Self {
        self.workers.min_available_memory = Some(bytes);
        self
    }

    /// Let the kernel write a core dump when a worker process crashes, as far as the limits and settings of the system
    /// allow. Not done unless said: a worker may have gigabytes, and a crash that costs one task should not fill a disk.
    /// What a task starts inherits this.
    pub fn core_dumps(mut self) -> Self {
        self.workers.process_limits.core_dumps = true;
        self
    }
}
