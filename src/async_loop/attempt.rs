//! The future around the user's: one attempt at a task, which reports how it ended, whichever way.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tracing::Span;

use super::aloop::Phase;
use super::seat::Seat;
use super::work::{BoxFuture, Source};
use crate::registry::panics;
use crate::say::say;
use crate::supervisor::context;
use crate::supervisor::shared::Shared;
use crate::task::current::{self, Here};
use crate::task::id::Ticket;
use crate::task::info::Pool;

/// Polls the user's future, keeps its panics to its task, and tells the core of its end: also when it is dropped
/// before, because it was aborted or its runtime is shut down.
pub(super) struct Attempt {
    shared: Weak<Shared>,
    context: context::Context,
    here: Option<Here>,
    ticket: Ticket,
    /// Around each poll.
    span: Span,
    life: Life,
    started: Option<Instant>,
    /// Left last, after the end was told.
    seat: Arc<Seat>,
}

enum Life {
    Unmade(Source),
    Made(BoxFuture),
    Ended,
}

impl Attempt {
    pub(super) fn new(
        shared: &Shared,
        here: Here,
        span: Span,
        source: Source,
        seat: Arc<Seat>,
    ) -> Self {
        let ticket = here.ticket;
        let context = context::Context { task: Some(ticket.task), ..seat.aloop().context() };
        let life = Life::Unmade(source);
        let (shared, here) = (shared.this.clone(), Some(here));
        Self { shared, context, here, ticket, span, life, started: None, seat }
    }

    /// Drop the user's future. A panic of its Drop is logged and costs nothing else.
    fn drop_future(&mut self) {
        let future = std::mem::replace(&mut self.life, Life::Ended);
        let dropped = context::within(self.context, || {
            current::within(&mut self.here, || panics::catch(move || drop(future)))
        });
        if let Err(panicked) = dropped {
            say!(error, target: "atasker::loops", task = self.ticket.task.number(),
                panic = panicked.message, "a future panicked while it was dropped");
        }
    }

    fn ran(&self) -> Duration {
        self.started.map_or(Duration::ZERO, |started| started.elapsed())
    }
}

impl Life {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<crate::task::cell::Returned> {
        if let Self::Unmade(_) = self
            && let Self::Unmade(source) = std::mem::replace(self, Self::Ended)
            && let Some(future) = source.make()
        {
            *self = Self::Made(future);
        }
        match self {
            Self::Made(future) => future.as_mut().poll(context),
            Self::Unmade(_) | Self::Ended => {
                unreachable!("an attempt has its future until it ends")
            }
        }
    }
}

impl Future for Attempt {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        if this.started.is_none() {
            say!(debug, target: "atasker::task", task = this.ticket.task.number(),
                pool = ?Pool::Loops, aloop = this.seat.aloop().name(), "begun");
            this.started = Some(Instant::now());
        }
        // A subscriber that panics must not keep the future from being polled.
        let span = panics::catch(|| this.span.enter());
        let (here, life) = (&mut this.here, &mut this.life);
        let polled = context::within(this.context, || {
            current::within(here, || panics::catch(|| life.poll(context)))
        });
        panics::let_go(span);
        let outcome = match polled {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(returned)) => Ok(returned),
            Err(panicked) => Err(panicked),
        };
        let ran = this.ran();
        this.drop_future();
        if let Some(shared) = this.shared.upgrade() {
            shared.on_future_ended(this.ticket, Some(outcome), ran);
        }
        Poll::Ready(())
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if matches!(self.life, Life::Ended) {
            return;
        }
        let ran = self.ran();
        if !self.seat.is_given_up(self.ticket.attempt) && !std::thread::panicking() {
            // Its runtime is gone. What comes after it would come to the same end, one within the other's.
            self.seat.aloop().close(Phase::Cancelling);
        }
        self.drop_future();
        if let Some(shared) = self.shared.upgrade() {
            shared.on_future_ended(self.ticket, None, ran);
        }
    }
}
