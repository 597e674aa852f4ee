//! The rules by which a pool's waiting tasks may start.

use std::time::Duration;

use super::line::{Line, Nodes, WARN_LEVELS};
use super::time::Time;
use crate::task::options::{Limits, Priority};

/// What a `pool_size` of zero means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ZeroPoolSize {
    Unlimited,
    /// Nothing of low priority starts. Refused by whoever builds such a pool.
    Closed,
}

/// How a pool admits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AdmissionConfig {
    pub(crate) limits: Limits,
    pub(crate) zero_pool_size: ZeroPoolSize,
    /// Caps every class but `Critical`.
    pub(crate) places_max: Option<u32>,
    /// After how long a task is lifted into the next class, never into `Critical`.
    pub(crate) aging: Option<Duration>,
}

/// The waiting tasks of one pool, and how many of its places are busy.
#[derive(Debug)]
pub(crate) struct Admission {
    config: AdmissionConfig,
    /// By class: it may start while fewer places than this are busy.
    ceilings: [u32; Priority::ALL.len()],
    lines: [Line; Priority::ALL.len()],
    /// One bit for each line in which anything waits.
    waiting: u8,
    orders: u64,
    busy: u32,
}

impl Admission {
    pub(crate) fn new(config: AdmissionConfig) -> Self {
        Self {
            config,
            ceilings: ceilings(&config),
            lines: [Line::EMPTY; Priority::ALL.len()],
            waiting: 0,
            orders: 0,
            busy: 0,
        }
    }

    pub(crate) fn limits(&self) -> Limits {
        self.config.limits
    }

    /// Shrinking takes no place away from what runs.
    pub(crate) fn set_limits(&mut self, limits: Limits) {
        self.config.limits = limits;
        self.ceilings = ceilings(&self.config);
    }

    pub(crate) fn busy(&self) -> u32 {
        self.busy
    }

    pub(crate) fn occupy(&mut self) {
        self.busy += 1;
    }

    pub(crate) fn vacate(&mut self) {
        self.busy = self.busy.checked_sub(1).expect("only an occupied place is vacated");
    }

    /// `class` may start while fewer places than this are busy.
    pub(crate) fn ceiling(&self, class: Priority) -> u32 {
        self.ceilings[class as usize]
    }

    /// Whether the limits let a task of `class` start now.
    pub(crate) fn has_place(&self, class: Priority) -> bool {
        self.busy < self.ceiling(class)
    }

    /// The task that is next: the front of the highest class in which anything waits. While it can't
    /// start nothing can.
    pub(crate) fn next(&self) -> Option<(u32, Priority)> {
        let class = Priority::ALL[self.waiting.checked_ilog2()? as usize];
        Some((self.line(class).front()?, class))
    }

    /// Whether anything waits in a line.
    pub(crate) fn has_waiting(&self) -> bool {
        self.waiting != 0
    }

    /// How many calls wait in the line of `class`.
    pub(crate) fn queued(&self, class: Priority) -> usize {
        self.line(class).calls()
    }

    /// Joins at the back of its class with so many calls.
    pub(crate) fn enqueue(
        &mut self,
        nodes: &mut Nodes,
        slot: u32,
        class: Priority,
        calls: u32,
        now: Time,
    ) {
        let order = self.take_orders(calls);
        nodes.set(slot, class, order, now);
        nodes.set_weight(slot, calls);
        self.join(class).push_regular(nodes, slot);
    }

    /// A task in its line stands for one call more. `false`: it does not, because others have joined a line since.
    pub(crate) fn grow(&mut self, nodes: &mut Nodes, slot: u32) -> bool {
        let weight = nodes.weight(slot);
        if nodes.order(slot) + u64::from(weight) != self.orders + 1 {
            return false;
        }
        self.orders += 1;
        nodes.set_weight(slot, weight + 1);
        self.line_mut(nodes.class(slot)).gain(1);
        true
    }

    /// One call takes its turn in its class without joining the line, in which nothing waits: it starts as it comes.
    #[inline]
    pub(crate) fn pass(&mut self, nodes: &mut Nodes, slot: u32, class: Priority, now: Time) {
        debug_assert!(!self.has_waiting(), "nothing is passed over");
        let order = self.take_orders(1);
        nodes.set(slot, class, order, now);
        nodes.set_weight(slot, 1);
        self.occupy();
    }

    /// Returns to the position that the task had in its class.
    pub(crate) fn requeue(&mut self, nodes: &mut Nodes, slot: u32) {
        self.join(nodes.class(slot)).restore(nodes, slot);
    }

    /// Gives `rest` the class of `slot`, all its calls but the first `kept`, and the position right behind
    /// these. If `slot` is in its line, so is `rest` then.
    pub(crate) fn split(
        &mut self,
        nodes: &mut Nodes,
        slot: u32,
        kept: u32,
        rest: u32,
        in_line: bool,
    ) {
        let (class, left) = (nodes.class(slot), nodes.weight(slot) - kept);
        nodes.set(rest, class, nodes.order(slot) + u64::from(kept), nodes.entered(slot));
        nodes.set_weight(rest, left);
        nodes.set_weight(slot, kept);
        if in_line {
            self.line_mut(class).lighten(left);
            self.line_mut(class).push_behind(nodes, slot, rest);
        }
    }

    /// Leaves its line, to start or because it is no longer wanted.
    pub(crate) fn remove(&mut self, nodes: &mut Nodes, slot: u32) {
        let class = nodes.class(slot);
        let line = self.line_mut(class);
        line.remove(nodes, slot);
        if line.front().is_none() {
            self.waiting &= !bit(class);
        }
    }

    /// When the next task has been in its class for one period of aging.
    pub(crate) fn next_lift(&self, nodes: &Nodes) -> Option<Time> {
        let period = self.config.aging?;
        let front = |class| Some(nodes.entered(self.line(class).front()?) + period);
        [front(Priority::Low), front(Priority::Normal)].into_iter().flatten().min()
    }

    /// Lifts one task whose period has passed to the back of the class above, and says which.
    pub(crate) fn lift_due(&mut self, nodes: &mut Nodes, now: Time) -> Option<u32> {
        let period = self.config.aging?;
        for (class, above) in
            [(Priority::Normal, Priority::High), (Priority::Low, Priority::Normal)]
        {
            if let Some(slot) = self.line(class).front()
                && nodes.entered(slot) + period <= now
            {
                self.remove(nodes, slot);
                let order = self.take_orders(nodes.weight(slot));
                nodes.set(slot, above, order, now);
                self.join(above).push_irregular(nodes, slot);
                return Some(slot);
            }
        }
        None
    }

    /// The regular task of `class` that has waited longest without a report at `level`.
    pub(crate) fn unreported(&self, class: Priority, level: usize) -> Option<u32> {
        debug_assert!(level < WARN_LEVELS);
        self.line(class).cursor(level)
    }

    /// What [`unreported`](Self::unreported) named has been reported.
    pub(crate) fn set_reported(&mut self, nodes: &Nodes, class: Priority, level: usize) {
        self.line_mut(class).advance(nodes, level);
    }

    #[cfg(any(test, atasker_sabotage))]
    /// Everything that waits in `class`, the front first.
    pub(crate) fn iter<'a>(
        &self,
        nodes: &'a Nodes,
        class: Priority,
    ) -> impl Iterator<Item = u32> + use<'a> {
        self.line(class).iter(nodes)
    }

    #[cfg(test)]
    /// Panics with a sentence if the lines contradict themselves.
    pub(crate) fn check_invariants(&self, nodes: &Nodes) {
        for class in Priority::ALL {
            self.line(class).check_invariants(nodes);
            let waits = self.line(class).front().is_some();
            assert_eq!(self.waiting & bit(class) != 0, waits, "lines with tasks must be marked");
            for slot in self.iter(nodes, class) {
                assert_eq!(nodes.class(slot), class, "a task must wait in the line of its class");
                assert!(nodes.order(slot) <= self.orders, "orders are given by the admission");
            }
        }
    }

    /// One for each call, so that the parts of a pack that is split keep theirs.
    fn take_orders(&mut self, calls: u32) -> u64 {
        let first = self.orders + 1;
        self.orders += u64::from(calls);
        first
    }

    /// The line of `class`, in which there is something from now on.
    fn join(&mut self, class: Priority) -> &mut Line {
        self.waiting |= bit(class);
        self.line_mut(class)
    }

    fn line(&self, class: Priority) -> &Line {
        &self.lines[class as usize]
    }

    fn line_mut(&mut self, class: Priority) -> &mut Line {
        &mut self.lines[class as usize]
    }
}

fn bit(class: Priority) -> u8 {
    1 << class as u8
}

fn ceilings(config: &AdmissionConfig) -> [u32; Priority::ALL.len()] {
    let Limits { pool_size, reserve_normal, .. } = config.limits;
    Priority::ALL.map(|class| {
        let places = match class {
            Priority::Critical => return u32::MAX,
            _ if pool_size == 0 && config.zero_pool_size == ZeroPoolSize::Unlimited => u32::MAX,
            Priority::Low => pool_size,
            Priority::Normal => pool_size.saturating_add(reserve_normal),
            Priority::High => config.limits.places(),
        };
        places.min(config.places_max.unwrap_or(u32::MAX))
    })
}
