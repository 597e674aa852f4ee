//! A future that is to be run: once, or made anew for each attempt.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use tracing::Span;

use super::attempt::Attempt;
use super::seat::Seat;
use crate::supervisor::shared::Shared;
use crate::sync::Mutex;
use crate::task::cell::Returned;
use crate::task::current::Here;

pub(crate) type BoxFuture = Pin<Box<dyn Future<Output = Returned> + Send>>;

/// What a task on a loop is made of.
pub(crate) struct FutureWork {
    source: Source,
    /// From the submission on.
    seat: Option<Arc<Seat>>,
}

/// Where the future of an attempt comes from.
pub(super) enum Source {
    Once(BoxFuture),
    /// Called for each attempt. These never overlap.
    Repeatable(Arc<Mutex<dyn FnMut() -> BoxFuture + Send>>),
    Taken,
}

impl Source {
    /// The future, if there is one. The user's code runs in here.
    pub(super) fn make(self) -> Option<BoxFuture> {
        match self {
            Self::Once(future) => Some(future),
            Self::Repeatable(make) => Some((make.lock())()),
            Self::Taken => None,
        }
    }
}

impl FutureWork {
    pub(crate) fn once(future: BoxFuture) -> Self {
        Self { source: Source::Once(future), seat: None }
    }

    pub(crate) fn repeatable(make: impl FnMut() -> BoxFuture + Send + 'static) -> Self {
        Self { source: Source::Repeatable(Arc::new(Mutex::new(make))), seat: None }
    }

    pub(crate) fn is_repeatable(&self) -> bool {
        matches!(self.source, Source::Repeatable(_))
    }

    /// Whether nothing of the user's is left in it.
    pub(crate) fn is_taken(&self) -> bool {
        matches!(self.source, Source::Taken)
    }

    /// It is submitted to the loop of this seat. `None`: it was not accepted.
    pub(crate) fn set_seat(&mut self, seat: Option<Arc<Seat>>) {
        self.seat = seat;
    }

    pub(crate) fn seat(&self) -> Option<&Arc<Seat>> {
        self.seat.as_ref()
    }

    /// What one attempt needs. The seat stays here too, so that the attempt can be aborted.
    pub(crate) fn take(&mut self) -> Self {
        let source = match &self.source {
            Source::Repeatable(make) => Source::Repeatable(Arc::clone(make)),
            Source::Once(_) | Source::Taken => std::mem::replace(&mut self.source, Source::Taken),
        };
        Self { source, seat: self.seat.clone() }
    }

    /// Begin the attempt on its loop.
    pub(crate) fn start(self, shared: &Shared, here: Here, span: Span) {
        let seat = self.seat.expect("a task that was accepted has its seat");
        let ticket = here.ticket;
        let attempt = Attempt::new(shared, here, span, self.source, Arc::clone(&seat));
        seat.aloop().spawn_attempt(&seat, ticket, attempt);
    }
}
