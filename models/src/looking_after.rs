//! Who looks after the rings. What is committed and seen by nobody leaves the collector asleep for ever, which
//! loom reports as a deadlock.
//!
//! A pool with one ring. A tick is a wait that ends at once: that more than one may be needed is what
//! `collector.rs` takes time for, not what decides whether somebody looks at all.

use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use loom::thread;

use crate::bell;
use crate::futex::Futex;
use crate::role::{Nudge, Remains, Role, Turn, Watched};
use crate::sleep::{self, Listener};
use crate::threads::spawn;
use crate::word::{self, Begin, Commit, Word};

#[derive(Default)]
struct Ring {
    word: AtomicU64,
    outstanding: AtomicBool,
    listening: AtomicU32,
    bells: [AtomicU32; 2],
}

impl Ring {
    fn bell(&self, who: Listener) -> &AtomicU32 {
        &self.bells[who as usize - 1]
    }
}

impl Watched for Ring {
    fn is_outstanding(&self) -> bool {
        self.outstanding.load(Ordering::Acquire)
    }

    fn has_news(&self) -> bool {
        self.is_outstanding() && word::look(&self.word).is_done()
    }

    fn runs_pack(&self) -> bool {
        false
    }

    fn listening(&self) -> &AtomicU32 {
        &self.listening
    }
}

struct Pool {
    role: Role,
    /// The mutex that the collector has, which nobody ever waits for.
    locked: AtomicBool,
    /// Loom's `Arc` would be one more thing that it tries.
    rings: [std::sync::Arc<Ring>; 1],
    version: AtomicU32,
    collector: Futex,
    nudge: Nudge,
    waiter: Futex,
    delivered: AtomicBool,
}

impl Pool {
    /// A waiter has the role, and is about to leave it.
    fn held(slow: bool) -> Arc<Self> {
        let pool = Self::new(slow);
        assert!(pool.try_lock());
        pool.role.take();
        pool
    }

    fn new(slow: bool) -> Arc<Self> {
        let pool = Self {
            role: Role::default(),
            locked: AtomicBool::new(false),
            rings: [std::sync::Arc::default()],
            version: AtomicU32::new(0),
            collector: Futex::new(),
            nudge: Nudge::default(),
            waiter: Futex::new(),
            delivered: AtomicBool::new(false),
        };
        pool.role.set_slow(slow);
        Arc::new(pool)
    }

    fn ring(&self) -> &Ring {
        &self.rings[0]
    }

    fn try_lock(&self) -> bool {
        self.locked.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }

    fn unlock(&self) {
        self.locked.store(false, Ordering::Release);
    }

    fn is_delivered(&self) -> bool {
        self.delivered.load(Ordering::Acquire)
    }

    /// A submitter, as `RingLink::stage` does it. `asleep`: its worker was seen to sleep, or about to.
    fn stage(&self, asleep: bool) {
        self.ring().outstanding.store(true, Ordering::Release);
        word::stage(&self.ring().word, Word::staged(1, 1));
        self.finish(self.role.on_staged(self.ring(), asleep));
    }

    /// Its worker. `false`: nothing is staged that it can see.
    fn work(&self) -> bool {
        let Ring { word, listening, .. } = self.ring();
        let seen = word::look(word);
        if !seen.is_staged() {
            return false;
        }
        let Begin::Begun(now) = word::begin(word, seen) else { panic!("it is staged") };
        assert_eq!(word::commit(word, now), Commit::Done);
        if sleep::who_listens(listening).is_some()
            && let Some(listener) = sleep::answer(listening)
        {
            bell::ring(self.ring().bell(listener));
            match listener {
                Listener::Collector => self.collector.wake(),
                Listener::Waiter => self.waiter.wake(),
            }
        }
        true
    }

    fn attend(&self) {
        self.finish(self.role.attend(|| self.rings.to_vec()));
    }

    /// Somebody comes by.
    fn look(&self) {
        self.role.visit();
        self.deliver();
    }

    fn finish(&self, remains: Remains) {
        match remains {
            Remains::Nothing => {}
            Remains::WakeCollector => self.change(),
            Remains::Look => self.deliver(),
        }
    }

    fn change(&self) {
        self.version.fetch_add(1, Ordering::SeqCst);
        self.collector.wake();
    }

    fn deliver(&self) {
        if self.try_lock() {
            self.gather();
            self.unlock();
        } else {
            self.finish(self.role.on_missed());
        }
    }

    /// Whoever has the lock delivers what there is.
    fn gather(&self) {
        if self.ring().has_news() {
            self.ring().outstanding.store(false, Ordering::Release);
            assert!(!self.delivered.swap(true, Ordering::AcqRel), "once");
        }
    }

    /// The end of `Collector::wait_for`.
    fn leave(&self) {
        self.role.give_up();
        let remains = self.role.arrange(&self.rings);
        self.unlock();
        self.finish(remains);
    }

    /// A waiter, who sleeps at once and wants nothing but the outcome.
    fn wait_for(&self) {
        if !self.try_lock() {
            return self.attend();
        }
        self.role.take();
        sleep::stop_listening(&self.ring().listening);
        while !self.is_delivered() {
            let bell = self.ring().bell(Listener::Waiter);
            let heard = bell.load(Ordering::Acquire);
            sleep::listen(&self.ring().listening, Listener::Waiter);
            if !self.ring().has_news() {
                self.waiter.wait(&[(bell, heard)]);
            }
            sleep::stop_listening(&self.ring().listening);
            self.gather();
        }
        self.leave();
    }

    /// A waiter that finds its wish done as soon as it has the role.
    fn take_and_leave(&self) {
        if self.try_lock() {
            self.role.take();
            sleep::stop_listening(&self.ring().listening);
            self.gather();
            self.leave();
        }
    }

    /// The collector's thread, as `Collector::run`, until all is delivered.
    fn collect(&self) {
        let (version, bell) = (&self.version, self.ring().bell(Listener::Collector));
        let mut limited = false;
        loop {
            let words =
                [(version, version.load(Ordering::Acquire)), (bell, bell.load(Ordering::Acquire))];
            if self.is_delivered() {
                return;
            }
            let Turn { delivers, ticks } = self.role.take_turn(&self.rings);
            if delivers && self.ring().has_news() {
                if self.try_lock() {
                    self.gather();
                    self.unlock();
                } else {
                    thread::yield_now();
                }
                limited = true;
            } else if limited || ticks {
                limited = false;
                self.role.on_tick();
                thread::yield_now();
            } else {
                self.collector.wait(&words);
                limited = true;
            }
        }
    }

    /// The others have ended. Has the collector, which slept before they began, been told of what they left?
    fn end(&self) {
        if self.is_delivered() {
            return;
        }
        let bell = self.ring().bell(Listener::Collector);
        let told = [&self.version, bell].iter().any(|word| word.load(Ordering::Acquire) != 0);
        assert!(told, "committed, and seen by nobody");
        self.collect();
    }

    /// The same if the collector has a thread of its own.
    fn end_thread(&self, collector: thread::JoinHandle<()>) {
        if self.is_delivered() {
            self.change();
        }
        collector.join().expect("it wakes up");
    }
}

/// Of the threads at work, those that only look are spawned where that can be: loom does not try anew a load that
/// another load has followed.
fn model(test: impl Fn() + Sync + Send + 'static) {
    model_with(4, test);
}

/// `interruptions`: so many of them are tried at the most, beside those where a thread waits.
fn model_with(interruptions: usize, test: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(interruptions);
    builder.check(test);
}

#[test]
fn what_is_staged_while_a_waiter_leaves_is_seen() {
    for (asleep, slow) in [(false, false), (true, false), (false, true), (true, true)] {
        model(move || {
            let pool = Pool::held(slow);
            let leaver = spawn(&pool, Pool::leave);
            pool.stage(asleep);
            leaver.join().expect("it does not panic");
            assert!(pool.work());
            pool.end();
        });
    }
}

#[test]
fn what_is_relied_on_while_a_waiter_leaves_is_seen() {
    for slow in [false, true] {
        model(move || {
            let pool = Pool::held(slow);
            pool.stage(false);
            let leaver = spawn(&pool, Pool::leave);
            let worker = spawn(&pool, |pool| assert!(pool.work()));
            pool.attend();
            leaver.join().expect("it does not panic");
            worker.join().expect("it does not panic");
            pool.end();
        });
    }
}

/// Else it would be left to ticks, of which two pass before it is seen.
#[test]
fn what_is_relied_on_stays_so_while_a_waiter_leaves() {
    model(|| {
        let pool = Pool::held(false);
        assert_eq!(pool.role.attend(|| pool.rings.to_vec()), Remains::Nothing);
        let leaver = spawn(&pool, Pool::leave);
        pool.stage(false);
        pool.attend();
        leaver.join().expect("it does not panic");
        assert!(pool.try_lock());
        pool.role.take();
        pool.role.give_up();
        assert_eq!(pool.role.arrange(&pool.rings), Remains::Look);
    });
}

#[test]
fn what_is_committed_while_a_waiter_leaves_is_seen() {
    for (relied_on, slow) in [(false, false), (true, false), (false, true)] {
        model(move || {
            let pool = Pool::held(slow);
            pool.stage(false);
            if relied_on {
                pool.attend();
            }
            let worker = spawn(&pool, |pool| assert!(pool.work()));
            pool.leave();
            worker.join().expect("it does not panic");
            pool.end();
        });
    }
}

#[test]
fn what_is_staged_at_the_last_tick_is_seen() {
    for (visited, slow) in [(false, false), (true, false), (false, true), (true, true)] {
        model(move || {
            let pool = Pool::new(slow);
            assert_eq!(pool.role.on_missed(), Remains::WakeCollector);
            if visited {
                pool.role.visit();
            }
            let collector = spawn(&pool, Pool::collect);
            pool.stage(false);
            assert!(pool.work());
            pool.end_thread(collector);
        });
    }
}

/// It was about to sleep, or ran what takes long as far as is known, but is through with what was staged just then.
#[test]
fn what_a_worker_does_sooner_than_expected_is_seen() {
    for (asleep, slow) in [(true, false), (true, true), (false, true)] {
        model(move || {
            let pool = Pool::new(slow);
            let worker = spawn(&pool, |pool| {
                pool.work();
            });
            pool.stage(asleep);
            worker.join().expect("it does not panic");
            if !word::look(&pool.ring().word).is_done() {
                assert!(pool.work());
            }
            pool.end();
        });
    }
}

#[test]
fn what_is_relied_on_is_seen_though_others_look() {
    model(|| {
        let pool = Pool::new(false);
        pool.stage(true);
        // A waiter had the role, and left when something else was relied on.
        let visitor = spawn(&pool, Pool::look);
        let worker = spawn(&pool, |pool| assert!(pool.work()));
        sleep::stop_listening(&pool.ring().listening);
        pool.attend();
        visitor.join().expect("it does not panic");
        worker.join().expect("it does not panic");
        pool.end();
    });
}

#[test]
fn a_waiter_in_the_role_is_rung_though_the_collector_listens() {
    model_with(2, || {
        let pool = Pool::new(false);
        pool.stage(false);
        let waiter = spawn(&pool, Pool::wait_for);
        let collector = spawn(&pool, Pool::collect);
        assert!(pool.work());
        waiter.join().expect("it wakes up");
        pool.end_thread(collector);
    });
}

#[test]
fn a_sleeping_waiter_is_told_that_its_wish_is_done() {
    model(|| {
        let pool = Pool::new(false);
        let done = Arc::new(AtomicBool::new(false));
        let waiter = {
            let done = Arc::clone(&done);
            spawn(&pool, move |pool| {
                let word = pool.nudge.word();
                pool.nudge.on_falling_asleep();
                while !done.load(Ordering::Acquire) {
                    pool.waiter.wait(&[word]);
                }
                pool.nudge.on_awake();
            })
        };
        done.store(true, Ordering::Release);
        if pool.nudge.give().is_some() {
            pool.waiter.wake();
        }
        waiter.join().expect("it wakes up");
    });
}

/// A submitter, a waiter that takes the role and leaves it, and the collector at the end of its ticks.
#[test]
fn what_is_staged_while_the_role_changes_hands_is_seen() {
    for slow in [false, true] {
        model_with(2, move || {
            let pool = Pool::new(slow);
            assert_eq!(pool.role.on_missed(), Remains::WakeCollector);
            let collector = spawn(&pool, Pool::collect);
            let waiter = spawn(&pool, Pool::take_and_leave);
            pool.stage(false);
            assert!(pool.work());
            waiter.join().expect("it does not panic");
            pool.end_thread(collector);
        });
    }
}
