//! Tasks that run side by side.

use super::collection::{CollectionOutcome, Members, Rank};
use crate::registry::panics;
use crate::supervisor::Supervisor;
use crate::task::call::Call;
use crate::task::failure::{TaskFailure, TaskResult};

type MakeCall<T> = Box<dyn Fn() -> Call<TaskResult<T>> + Send + Sync>;

/// Named tasks that are submitted together, in the order of their ranks, and waited for.
///
/// All of them run, whichever fail. What a task returns as an `Err` is a failure, and so are a panic, a crash, a
/// timeout, or not being accepted.
///
/// ```no_run
/// use atasker::extras::TaskCollection;
/// use atasker::{Call, Priority, Supervisor, TaskResult, task};
///
/// #[task(timeout = "1m")]
/// fn build_index(pages: u32) -> TaskResult<usize> {
///     Ok(pages as usize)
/// }
///
/// #[atasker::main]
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     let supervisor = Supervisor::builder().start()?;
///     let mut startup = TaskCollection::new();
///     startup.add("index", Priority::High, || build_index::call(10));      // in a worker process
///     startup.add("settings", Priority::Normal, || {                       // on the thread pool
///         Call::closure(|| Ok(std::fs::read_to_string("settings.toml")?.len()))
///     });
///     let outcome = startup.run(&supervisor);
///     assert!(outcome.all_ok());
///     Ok(())
/// }
/// ```
pub struct TaskCollection<T> {
    members: Members<MakeCall<T>>,
}

impl<T> TaskCollection<T> {
    /// Without members.
    pub fn new() -> Self {
        Self { members: Members::default() }
    }

    /// What to call for each member that fails, when all have ended. Without it failures are logged as warnings;
    /// they stand in the outcome either way.
    #[must_use]
    pub fn on_error(
        mut self,
        handler: impl Fn(&str, &TaskFailure) + Send + Sync + 'static,
    ) -> Self {
        self.members.set_on_error(Box::new(handler));
        self
    }

    /// Add a task, in the place of an earlier one of that name. `make` is called at each run.
    ///
    /// The task is submitted with the priority that its rank stands for: a [`Priority`](crate::Priority) for
    /// itself, a number for the most urgent class that is not before it. The name is the task's label unless the
    /// call has one.
    pub fn add(
        &mut self,
        name: impl Into<String>,
        rank: impl Into<Rank>,
        make: impl Fn() -> Call<TaskResult<T>> + Send + Sync + 'static,
    ) -> &mut Self {
        self.members.add(name.into(), rank.into(), Box::new(make));
        self
    }

    /// Take a task out. `false`: there is none of that name.
    pub fn remove(&mut self, name: &str) -> bool {
        self.members.remove(name)
    }

    /// Submit them all, and wait until all have ended. May be done again, also from several threads at once.
    ///
    /// Waits for places where the supervisor's queue is bounded. In a task, do not run on the pool of that task:
    /// it holds a place meanwhile.
    pub fn run(&self, supervisor: &Supervisor) -> CollectionOutcome<T> {
        let submit = |rank: Rank, name: &str, make: &MakeCall<T>| {
            let call = panics::catch(make).map_err(|panicked| {
                TaskFailure::new(format!("making its call panicked: {}", panicked.message))
            })?;
            let call = call.priority(rank.class()).label_unless_given(name);
            Ok::<_, TaskFailure>(supervisor.submit(call)?)
        };
        let members = self.members.iter();
        let tasks: Vec<_> =
            members.map(|member| submit(member.rank, &member.name, &member.function)).collect();
        let results = tasks.into_iter().map(|task| task?.wait()?).collect();
        self.members.outcome(results)
    }
}

impl<T> Default for TaskCollection<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> std::fmt::Debug for TaskCollection<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("TaskCollection").field(&self.members).finish()
    }
}
