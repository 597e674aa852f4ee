//! Who receives a link's outcomes: the link's own thread, or a thread that waits for one of them.
//!
//! One at a time; receiving is a *role*. A thread that waits for a task takes the role if it is free, and so
//! gets the outcome without anybody in between: a round trip then costs what a bare one does, one wake
//! there and one back. The link's own thread has the role at the start, keeps it while outcomes are
//! outstanding, and leaves it when a waiter has come in vain and nothing is outstanding any more.
//!
//! While the role is free, a call may be staged whose submitter does not come to wait for it. Then the
//! link's thread takes over: at once if anything else is submitted ([`Reception::take_over`]), else at its
//! next tick but one. It ticks only as long as calls are staged; without them it sleeps without a limit.
//!
//! No outcome is left lying: whoever leaves the role looks under the lock whether anything is outstanding
//! or the worker has died, and calls the thread; whoever stages or ends does the same from the other side
//! of the lock.

use std::sync::Condvar;
use std::time::Duration;

use ipc_channel::ipc::IpcBytesReceiver;

use crate::sync::{Mutex, wait_on};

/// Between two looks of the link's thread at a role that nobody has.
const TICK: Duration = Duration::from_millis(1);

#[derive(Debug)]
pub(super) struct Reception {
    desk: Mutex<Desk>,
    changed: Condvar,
    /// Locked by the holder of the role only.
    pub(super) inbox: Mutex<Inbox>,
}

/// What the holder of the role works with.
#[derive(Debug)]
pub(super) struct Inbox {
    /// Gone once the link is over: whoever still sends into it must not wait for a reader.
    pub(super) receiver: Option<IpcBytesReceiver>,
    /// It has lied. Nothing that it says is believed any more.
    pub(super) corrupt: bool,
    pub(super) failures: u32,
}

#[derive(Debug)]
struct Desk {
    holder: Holder,
    /// The thread is to take the role.
    called: bool,
    /// The thread sleeps without a limit.
    asleep: bool,
    /// A call was staged since the last tick.
    staged: bool,
    /// A waiter came while the thread had the role.
    waiter_came: bool,
    /// The end marker has been received.
    over: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holder {
    Nobody,
    Thread,
    Waiter,
}

impl Reception {
    pub(super) fn new(receiver: IpcBytesReceiver) -> Self {
        Self {
            desk: Mutex::new(Desk {
                holder: Holder::Nobody,
                called: true,
                asleep: false,
                staged: false,
                waiter_came: false,
                over: false,
            }),
            changed: Condvar::new(),
            inbox: Mutex::new(Inbox { receiver: Some(receiver), corrupt: false, failures: 0 }),
        }
    }

    /// The link's thread waits until it has the role. `false`: the link is over.
    pub(super) fn await_turn(&self, outstanding: impl Fn() -> bool) -> bool {
        let mut desk = self.desk.lock();
        loop {
            if desk.over {
                return false;
            }
            if desk.holder == Holder::Nobody && desk.called {
                desk.called = false;
                desk.holder = Holder::Thread;
                return true;
            }
            let ticking = std::mem::take(&mut desk.staged);
            if !ticking && desk.holder == Holder::Nobody && outstanding() {
                // It has been lying for a whole tick, and nobody came.
                desk.called = true;
                continue;
            }
            desk.asleep = !ticking;
            desk = wait_on(&self.changed, desk, ticking.then_some(TICK));
            desk.asleep = false;
        }
    }

    /// Whether the link's thread, which has the role, may leave it to waiters now.
    pub(super) fn leave_to_waiters(&self, outstanding: impl Fn() -> bool) -> bool {
        let mut desk = self.desk.lock();
        if !desk.waiter_came || desk.called || outstanding() {
            return false;
        }
        desk.waiter_came = false;
        desk.holder = Holder::Nobody;
        desk.staged = true;
        true
    }

    /// A waiter takes the role, if it is free and what it waits for is `due` here.
    pub(super) fn take_as_waiter(&self, due: impl Fn() -> bool) -> bool {
        let mut desk = self.desk.lock();
        if desk.over || !due() {
            return false;
        }
        if desk.holder != Holder::Nobody || desk.called {
            desk.waiter_came = true;
            return false;
        }
        desk.holder = Holder::Waiter;
        true
    }

    /// A waiter leaves the role.
    pub(super) fn leave_as_waiter(&self, outstanding: impl Fn() -> bool) {
        let mut desk = self.desk.lock();
        desk.holder = Holder::Nobody;
        desk.called |= outstanding();
        if desk.called || desk.over {
            drop(desk);
            self.changed.notify_one();
        }
    }

    /// A call was staged. Whether somebody has the role.
    pub(super) fn on_staged(&self) -> bool {
        let mut desk = self.desk.lock();
        desk.staged = true;
        let attended = desk.holder != Holder::Nobody || desk.called;
        if std::mem::take(&mut desk.asleep) {
            drop(desk);
            self.changed.notify_one();
        }
        attended
    }

    /// If nobody has the role, the link's thread is to take it.
    pub(super) fn take_over(&self) {
        let mut desk = self.desk.lock();
        if desk.holder == Holder::Nobody {
            desk.called = true;
            drop(desk);
            self.changed.notify_one();
        }
    }

    /// The worker has died; its end marker is on the way, and must be received whoever has the role now.
    pub(super) fn on_worker_died(&self) {
        self.desk.lock().called = true;
        self.changed.notify_one();
    }

    /// The end marker was received.
    pub(super) fn on_over(&self) {
        self.desk.lock().over = true;
        self.changed.notify_one();
    }
}
