//! Who looks after the rings of a pool: a thread that waits for a task, or else the pool's own thread.
//!
//! Looking after them is a *role* that one thread has at a time. A waiting thread takes it if it is free and
//! gets its outcome without anybody in between: a hot round trip costs no wake at all. When it leaves while
//! anything is outstanding that others wait for, it has the workers ring the collector from then on, which
//! sleeps meanwhile and need not be woken for that.
//!
//! By which flags it is decided who has it stands in `role`; here stand the lock, the sleeping, and the thread.
//!
//! Whoever has the role may have to sleep: it sets the flags of all rings, looks once more, and sleeps on
//! all their bells at once. Where a worker has said with its bell that it may commit without ringing, because outcomes
//! come one upon the other, the first such sleep is limited to [`TICK`], since it announces no less often than that; once
//! it has passed without a bell, the next completion is surely announced, and the sleep needs no limit but that of
//! mistrust, [`UNRUNG_MAX`].
//!
//! What is outstanding while nobody has the role, and nobody is known to wait for it, may be awaited in a
//! moment or never. As long as threads keep coming by, to submit or to wait, no bell is asked for: every bell
//! costs a wake, and the collector would only be in their way. But it looks once a tick whether somebody has
//! come since, and takes over if not. Where waits are long (`slow`) it is the ticks that would be in the way, and
//! the bell is asked for: whoever has left is mostly back before it is rung.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::task::{Wake, Waker};
use std::time::{Duration, Instant};

use super::announce::ANNOUNCED_WITHIN;
use super::link::RingLink;
use super::patience::{Patience, YIELDING_FOR_A_WAKE};
use super::role::{Nudge, Remains, Role, Turn, Watched};
use super::sleep::Listener;
use super::view::{Caution, Rings, View};
use crate::sync::Wish;
use crate::sys::futex::{self, Waited};
use crate::task::id::WorkerId;

/// Not shorter than what a worker takes to announce: `announce::ANNOUNCED_WITHIN`.
const TICK: Duration = Duration::from_millis(3);

/// Who waits for a bell looks after this time anyway, as long as anything is outstanding: a worker gone mad may commit without
/// ringing.
const UNRUNG_MAX: Duration = Duration::from_secs(1);

/// How often a waiter gives its core away to somebody who delivers, before it waits as if that one had the role.
const TRIES_MAX: u32 = 1000;

const _: () = assert!(TICK.as_nanos() >= ANNOUNCED_WITHIN.as_nanos());

/// Delivers what the rings have. `partly`: of packs that are not done, too. With the time when it was seen, if
/// that is known. `false`: there was nothing, or somebody else was at it.
pub(crate) type Gather<'a> = dyn Fn(&[Arc<RingLink>], bool, Option<Instant>) -> bool + 'a;

#[derive(Debug)]
pub(crate) struct Collector {
    rings: Rings,
    nudge: Nudge,
    role: Role,
    /// Whoever has this has the role, a waiter or somebody who delivers just now.
    lock: Mutex<Holder>,
    stopping: AtomicBool,
    cores: usize,
}

/// What belongs to the holder of the role.
#[derive(Debug)]
struct Holder {
    view: View,
    patience: Patience,
}

impl Collector {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            rings: Rings::default(),
            nudge: Nudge::default(),
            role: Role::default(),
            lock: Mutex::new(Holder {
                view: View::default(),
                patience: Patience::up_to(YIELDING_FOR_A_WAKE),
            }),
            stopping: AtomicBool::new(false),
            cores: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        })
    }

    pub(crate) fn add(&self, link: Arc<RingLink>) {
        self.rings.add(Arc::clone(&link));
        // Its worker may have died just before, and `remove` have come too early.
        if link.is_ended() {
            self.remove(link.worker());
        }
    }

    pub(crate) fn remove(&self, worker: WorkerId) {
        self.rings.remove(worker);
        // Whoever has the role looks for changes itself.
        if let Some(mut holder) = self.try_role() {
            holder.view.refresh(&self.rings);
        }
    }

    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    /// Have whoever sleeps over the rings look at them once more.
    pub(crate) fn look_again(&self) {
        self.rings.on_changed();
    }

    /// End the collector's thread.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
        self.rings.on_changed();
    }

    /// Something was staged. `asleep`: for a worker that sleeps and is woken after this.
    #[inline]
    pub(crate) fn on_staged(&self, link: &RingLink, asleep: bool) {
        match self.role.on_staged(link, asleep) {
            Remains::Nothing => {}
            Remains::WakeCollector | Remains::Look => self.rings.on_changed(),
        }
        // Nobody may sleep without a limit while a pack runs, for it rings nobody before its last call.
        if self.nudge.is_wanted() && link.runs_pack() {
            self.give_nudge();
        }
    }

    /// Nobody will come to wait for what is outstanding: have the collector rung.
    pub(crate) fn attend(&self, gather: &Gather<'_>) {
        self.finish(self.role.attend(|| self.rings.all()), gather);
    }

    /// Deliver what there is, if nobody has the role.
    pub(crate) fn look(&self, gather: &Gather<'_>) {
        self.role.visit();
        self.deliver(gather);
    }

    fn deliver(&self, gather: &Gather<'_>) {
        let all = self.try_role().is_some_and(|mut holder| {
            let Holder { view, patience } = &mut *holder;
            view.refresh(&self.rings);
            let has_news = view.has_news();
            if has_news {
                patience.found();
                self.role.set_slow(patience.is_slow());
            }
            // Somebody else delivers what a dead worker left; nobody is rung for the rest.
            let missed = has_news && !gather(&view.links, false, None);
            !missed && !view.runs_packs()
        });
        if !all && self.role.on_missed() == Remains::WakeCollector {
            self.rings.on_changed();
        }
    }

    /// Do what remains.
    fn finish(&self, remains: Remains, gather: &Gather<'_>) {
        match remains {
            Remains::Nothing => {}
            Remains::WakeCollector => self.rings.on_changed(),
            Remains::Look => self.deliver(gather),
        }
    }

    fn try_role(&self) -> Option<MutexGuard<'_, Holder>> {
        match self.lock.try_lock() {
            Ok(role) => Some(role),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// Look after the rings until the wish is done or its time is up. `false`: somebody else does, or there will be nothing
    /// to look after; wait otherwise.
    pub(crate) fn wait_for(self: &Arc<Self>, wish: &Wish<'_>, gather: &Gather<'_>) -> bool {
        let mut tries = TRIES_MAX;
        loop {
            // What is waited for may be another pool's, too.
            if self.is_stopping() {
                return false;
            }
            let Some(mut holder) = self.try_role() else {
                if self.role.is_held() {
                    return false;
                }
                // Somebody delivers just now, which rarely takes long.
                if (wish.is_done)() || is_past(wish.until) {
                    return true;
                }
                if tries == 0 {
                    return false;
                }
                tries -= 1;
                std::thread::yield_now();
                continue;
            };
            self.role.take();
            let held = Held(self);
            self.look_after(&mut holder, wish, gather);
            drop(held);
            holder.view.refresh(&self.rings);
            self.role.set_slow(holder.patience.is_slow());
            let remains = self.role.arrange(&holder.view.links);
            drop(holder);
            self.finish(remains, gather);
            if (wish.is_done)() || is_past(wish.until) {
                return true;
            }
        }
    }

    fn look_after(self: &Arc<Self>, holder: &mut Holder, wish: &Wish<'_>, gather: &Gather<'_>) {
        let mut caution = Caution::LIMITED;
        let mut seen = None;
        holder.view.refresh(&self.rings);
        holder.view.stop_listening();
        loop {
            caution.limited |= holder.view.refresh(&self.rings);
            if (wish.is_done)() || is_past(wish.until) || self.is_stopping() {
                return;
            }
            if holder.view.has_news() {
                holder.patience.found();
                if !gather(&holder.view.links, false, seen.take()) {
                    std::thread::yield_now();
                }
                caution.limited = true;
                continue;
            }
            let links = &holder.view.links;
            let ready = || (wish.is_done)() || links.iter().any(|link| link.has_news());
            seen = holder.patience.look_until(self.is_crowded(links), ready);
            if seen.is_some() {
                holder.patience.succeeded();
                continue;
            }
            let start = Instant::now();
            match self.sleep(&holder.view, wish, &mut caution) {
                None => caution.limited = true,
                Some(Waited::TimedOut) => {
                    caution.limited = false;
                    gather(&holder.view.links, true, None);
                }
                Some(Waited::Woken | Waited::Changed) => {
                    caution.limited = true;
                    gather(&holder.view.links, true, None);
                }
            }
            holder.patience.learn(start.elapsed());
            holder.view.stop_listening();
        }
    }

    /// Sleep until a bell rings or the wish is done. `None`: there is something to do already.
    fn sleep(
        self: &Arc<Self>,
        view: &View,
        wish: &Wish<'_>,
        caution: &mut Caution,
    ) -> Option<Waited> {
        let nudge = self.nudge.word();
        if !(wish.wake_when_done)(&Waker::from(Arc::clone(self))) {
            return None;
        }
        let mut heard = view.bells(Listener::Waiter, &self.rings)?;
        heard.words.push(nudge);
        let is_cautious = caution.must_tick(&heard);
        let ticks = is_cautious || view.runs_packs();
        if is_cautious && caution.limited {
            view.say_taken(Listener::Waiter);
        }
        view.listen(Listener::Waiter);
        self.nudge.on_falling_asleep();
        let ready = (wish.is_done)() || view.has_news();
        let waited = (!ready).then(|| {
            let at_most = if ticks { TICK } else { UNRUNG_MAX };
            let left = wish.until.map(|until| until.saturating_duration_since(Instant::now()));
            futex::wait_any(&heard.words, left.into_iter().chain([at_most]).min())
        });
        self.nudge.on_awake();
        waited
    }

    fn give_nudge(&self) {
        if let Some(count) = self.nudge.give() {
            futex::wake_all(count);
        }
    }

    /// Whether those who compute could use the core on which this thread would look.
    fn is_crowded(&self, links: &[Arc<RingLink>]) -> bool {
        links.len() >= self.cores
            && links.iter().filter(|link| link.is_outstanding()).count() >= self.cores
    }

    /// The body of the collector's thread.
    pub(crate) fn run(&self, gather: &Gather<'_>) {
        let mut view = View::default();
        let mut caution = Caution::LIMITED;
        let mut curious = false;
        // When the present tick began.
        let mut tick = None;
        while !self.is_stopping() {
            caution.limited |= view.refresh(&self.rings);
            // Read before the look, so that a bell rung in between is not slept through.
            let Some(heard) = view.bells(Listener::Collector, &self.rings) else {
                caution.limited = true;
                continue;
            };
            let is_cautious = caution.must_tick(&heard);
            let Turn { delivers, ticks } = self.role.take_turn(&view.links);
            // A death is dealt with, whoever waits for what.
            let bereft = view.has_losses() && !self.role.is_held();
            if bereft || (delivers && (view.has_news() || (curious && view.runs_packs()))) {
                match self.try_role() {
                    Some(_role) if gather(&view.links, true, None) => {}
                    // Whoever has it looks before leaving it, or delivers what a dead worker left.
                    _ if view.has_news() => std::thread::yield_now(),
                    _ => {}
                }
                (caution.limited, curious) = (true, false);
                continue;
            }
            let watches = delivers && view.runs_packs();
            let timeout = if is_cautious || watches || ticks {
                Some(TICK)
            } else {
                view.is_outstanding().then_some(UNRUNG_MAX)
            };
            if delivers && is_cautious && caution.limited {
                view.say_taken(Listener::Collector);
            }
            tick = timeout.map(|_| tick.unwrap_or_else(Instant::now));
            let waited = futex::wait_any(&heard.words, timeout);
            caution.limited = waited != Waited::TimedOut;
            curious = true;
            // By the clock, too: a bell may ring without end, and older kernels can't wait for several words.
            if !caution.limited || tick.is_some_and(|began| began.elapsed() >= TICK) {
                self.role.on_tick();
                tick = None;
            }
        }
        // What it has seen last would keep the rings, which keep this, for ever. Who has the role was woken, too, and
        // leaves.
        self.lock.lock().unwrap_or_else(PoisonError::into_inner).view = View::default();
    }
}

/// Gives the role up, also if a panic comes through.
struct Held<'a>(&'a Collector);

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.role.give_up();
        // Then nobody arranges what the rings are to do without.
        if std::thread::panicking() && self.0.role.on_missed() == Remains::WakeCollector {
            self.0.rings.on_changed();
        }
    }
}

/// A sleeping waiter's wish is done.
impl Wake for Collector {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.give_nudge();
    }
}

impl Watched for RingLink {
    fn is_outstanding(&self) -> bool {
        self.is_outstanding()
    }

    fn has_news(&self) -> bool {
        self.has_news()
    }

    fn runs_pack(&self) -> bool {
        self.runs_pack()
    }

    fn listening(&self) -> &AtomicU32 {
        self.listening()
    }
}

fn is_past(until: Option<Instant>) -> bool {
    until.is_some_and(|until| until <= Instant::now())
}
