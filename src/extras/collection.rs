//! What both kinds of collection have in common: members in their order, and what became of them.

use std::fmt;

use crate::Priority;
use crate::say::say;
use crate::task::failure::{TaskFailure, TaskResult};

/// The place of a member in the order of a collection: the lower, the earlier. Members of the same rank come in
/// the order in which they were added.
///
/// Made of a number, or of a [`Priority`]: `Critical` is 0, `High` 50, `Normal` 100, `Low` 200.
///
/// ```
/// use atasker::Priority;
/// use atasker::extras::Rank;
/// assert!(Rank::from(Priority::High) < Rank::from(60));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Rank(i32);

impl From<i32> for Rank {
    fn from(rank: i32) -> Self {
        Self(rank)
    }
}

impl From<Priority> for Rank {
    fn from(priority: Priority) -> Self {
        Self(match priority {
            Priority::Critical => 0,
            Priority::High => 50,
            Priority::Normal => 100,
            Priority::Low => 200,
        })
    }
}

impl Rank {
    /// The least urgent class whose tasks are not later in the order than this.
    pub(super) fn class(self) -> Priority {
        let classes = Priority::ALL.into_iter();
        classes.rev().find(|&class| self <= Self::from(class)).unwrap_or(Priority::Low)
    }
}

/// Called for each member that fails, with its name.
pub(super) type OnError = Box<dyn Fn(&str, &TaskFailure) + Send + Sync>;

/// The members of a collection, in their order.
pub(super) struct Members<F> {
    members: Vec<Member<F>>,
    on_error: Option<OnError>,
}

pub(super) struct Member<F> {
    pub(super) name: String,
    pub(super) rank: Rank,
    pub(super) function: F,
}

impl<F> Default for Members<F> {
    fn default() -> Self {
        Self { members: Vec::new(), on_error: None }
    }
}

impl<F> Members<F> {
    pub(super) fn set_on_error(&mut self, handler: OnError) {
        self.on_error = Some(handler);
    }

    pub(super) fn add(&mut self, name: String, rank: Rank, function: F) {
        let _replaced = self.remove(&name);
        let place = self.members.partition_point(|member| member.rank <= rank);
        self.members.insert(place, Member { name, rank, function });
    }

    pub(super) fn remove(&mut self, name: &str) -> bool {
        let before = self.members.len();
        self.members.retain(|member| member.name != name);
        self.members.len() < before
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.members.iter().map(|member| &*member.name)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Member<F>> {
        self.members.iter()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Member<F>> {
        self.members.iter_mut()
    }

    /// Tell the handler of each failure. Without one, the log is told, so that none passes in silence.
    pub(super) fn outcome<T>(&self, results: Vec<TaskResult<T>>) -> CollectionOutcome<T> {
        let named = self.names().map(str::to_owned).zip(results);
        let outcome = CollectionOutcome { results: named.collect() };
        for (name, result) in &outcome.results {
            match (result, &self.on_error) {
                (Err(failure), Some(handler)) => handler(name, failure),
                (Err(failure), None) => {
                    say!(warn, target: "atasker::extras", %name, error = %format_args!("{failure:#}"),
                        "a member of a collection failed");
                }
                (Ok(_), _) => {}
            }
        }
        outcome
    }
}

impl<F> fmt::Debug for Members<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.names()).finish()
    }
}

/// What became of the members of a collection, in their order.
///
/// ```
/// use atasker::extras::FunctionCollection;
/// let mut checks = FunctionCollection::new();
/// checks.add("disk", 1, || Ok(80)).add("memory", 2, || Err("no such file")?);
/// let outcome = checks.run();
/// assert!(!outcome.all_ok());
/// assert_eq!(outcome.values().collect::<Vec<_>>(), [("disk", &80)]);
/// for (name, result) in outcome {                        // errors included
///     println!("{name}: {result:?}");
/// }
/// ```
#[must_use = "a member may have failed"]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CollectionOutcome<T> {
    results: Vec<(String, TaskResult<T>)>,
}

impl<T> CollectionOutcome<T> {
    /// Whether no member failed.
    pub fn all_ok(&self) -> bool {
        self.results.iter().all(|(_, result)| result.is_ok())
    }

    /// What became of one member.
    pub fn get(&self, name: &str) -> Option<&TaskResult<T>> {
        self.results.iter().find(|(other, _)| other == name).map(|(_, result)| result)
    }

    /// The name and result of each member.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &TaskResult<T>)> {
        self.results.iter().map(|(name, result)| (&**name, result))
    }

    /// The same for those that did not fail.
    pub fn values(&self) -> impl Iterator<Item = (&str, &T)> {
        self.iter().filter_map(|(name, result)| Some((name, result.as_ref().ok()?)))
    }
}

impl<T> IntoIterator for CollectionOutcome<T> {
    type Item = (String, TaskResult<T>);
    type IntoIter = std::vec::IntoIter<Self::Item>;

    fn into_iter(self) -> Self::IntoIter {
        self.results.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rank_stands_for_the_class_that_is_not_earlier() {
        let class = |rank: i32| Rank::from(rank).class();
        assert_eq!(class(-1), Priority::Critical);
        assert_eq!(class(0), Priority::Critical);
        assert_eq!(class(1), Priority::High);
        assert_eq!(class(100), Priority::Normal);
        assert_eq!(class(101), Priority::Low);
        assert_eq!(class(1000), Priority::Low);
        for priority in Priority::ALL {
            assert_eq!(Rank::from(priority).class(), priority);
        }
    }

    #[test]
    fn members_stand_by_rank_and_then_by_age() {
        let mut members = Members::default();
        for (name, rank) in [("c", 2), ("a", 1), ("d", 2), ("b", 1), ("first", -5)] {
            members.add(name.to_owned(), rank.into(), ());
        }
        assert_eq!(members.names().collect::<Vec<_>>(), ["first", "a", "b", "c", "d"]);
        assert!(members.remove("b") && !members.remove("b"));
        members.add("a".to_owned(), 3.into(), ());
        assert_eq!(members.names().collect::<Vec<_>>(), ["first", "c", "d", "a"]);
    }
}
