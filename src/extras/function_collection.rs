//! Functions that run one after another.

use super::collection::{CollectionOutcome, Members, Rank};
use crate::registry::panics;
use crate::task::failure::{TaskFailure, TaskResult};

type Function<T> = Box<dyn FnMut() -> TaskResult<T> + Send>;

/// Named functions that are run one after another, in the order of their ranks: what a program does at its start
/// or its end, say.
///
/// All of them run, whichever fail. A panic is a failure like others.
///
/// ```
/// use atasker::Priority;
/// use atasker::extras::FunctionCollection;
///
/// let mut startup = FunctionCollection::new()
///     .on_error(|name, failure| eprintln!("{name}: {failure:#}"));
/// startup.add("cache", Priority::Normal, || Ok(std::fs::read_dir("/tmp")?.count()));
/// startup.add("settings", Priority::High, || Ok(std::fs::read_to_string("Cargo.toml")?.len()));
/// let outcome = startup.run();
/// assert!(outcome.all_ok());
/// assert_eq!(outcome.iter().next().unwrap().0, "settings");
/// ```
pub struct FunctionCollection<T> {
    members: Members<Function<T>>,
}

impl<T> FunctionCollection<T> {
    /// Without members.
    pub fn new() -> Self {
        Self { members: Members::default() }
    }

    /// What to call for each member that fails. Without it failures are logged as warnings; they stand in the
    /// outcome either way.
    #[must_use]
    pub fn on_error(
        mut self,
        handler: impl Fn(&str, &TaskFailure) + Send + Sync + 'static,
    ) -> Self {
        self.members.set_on_error(Box::new(handler));
        self
    }

    /// Add a function, in the place of an earlier one of that name.
    pub fn add(
        &mut self,
        name: impl Into<String>,
        rank: impl Into<Rank>,
        function: impl FnMut() -> TaskResult<T> + Send + 'static,
    ) -> &mut Self {
        self.members.add(name.into(), rank.into(), Box::new(function));
        self
    }

    /// Take a function out. `false`: there is none of that name.
    pub fn remove(&mut self, name: &str) -> bool {
        self.members.remove(name)
    }

    /// Run them all. May be done again.
    pub fn run(&mut self) -> CollectionOutcome<T> {
        let run = |function: &mut Function<T>| {
            panics::catch(function)
                .unwrap_or_else(|panicked| Err(format!("panicked: {}", panicked.message))?)
        };
        let results = self.members.iter_mut().map(|member| run(&mut member.function)).collect();
        self.members.outcome(results)
    }
}

impl<T> Default for FunctionCollection<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> std::fmt::Debug for FunctionCollection<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("FunctionCollection").field(&self.members).finish()
    }
}
