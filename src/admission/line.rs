//! One line of waiting tasks: an intrusive doubly linked list, so that joining, leaving from anywhere and
//! taking the front cost the same whatever its length.
//!
//! A line is sorted by the order in which its tasks first joined it. A task that left and comes back
//! returns to its old position, which is near the front, because only what was at the front leaves.
//!
//! Regular tasks joined at the back and have waited there ever since, so the longest wait is in front and
//! one cursor per level finds whose wait is to be reported next without a timer per task. The others
//! (come back, lifted by aging) are skipped by the cursors; the core keeps a timer for each of them.

use super::time::Time;
use crate::task::options::Priority;

/// How many levels of long waits are reported.
pub(crate) const WARN_LEVELS: usize = 2;

const NIL: u32 = u32::MAX;

/// The place of one task in its line.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Node {
    prev: u32,
    next: u32,
    /// Counts entries into any line of the pool; the smaller goes first.
    pub(super) order: u64,
    /// When it joined the line of `class`.
    pub(super) entered: Time,
    pub(super) class: Priority,
    /// For how many calls the task stands.
    weight: u32,
    regular: bool,
}

/// The nodes of all tasks, whether they wait or not.
#[derive(Debug, Default)]
pub(crate) struct Nodes(Vec<Node>);

impl Nodes {
    /// Makes `slot` usable.
    pub(crate) fn ensure(&mut self, slot: u32) {
        const UNUSED: Node = Node {
            prev: NIL,
            next: NIL,
            order: 0,
            entered: Time::ZERO,
            class: Priority::Low,
            weight: 0,
            regular: false,
        };
        if self.0.len() <= slot as usize {
            self.0.resize(slot as usize + 1, UNUSED);
        }
    }

    /// The class in which the task waits or waited last: its priority, or higher if aging lifted it.
    pub(crate) fn class(&self, slot: u32) -> Priority {
        self.at(slot).class
    }

    /// For how many calls the task stands.
    pub(super) fn weight(&self, slot: u32) -> u32 {
        self.at(slot).weight
    }

    pub(super) fn set_weight(&mut self, slot: u32, weight: u32) {
        self.at_mut(slot).weight = weight;
    }

    /// Where the task stands among those of its class; the smaller is nearer to the front.
    pub(crate) fn order(&self, slot: u32) -> u64 {
        self.at(slot).order
    }

    pub(super) fn entered(&self, slot: u32) -> Time {
        self.at(slot).entered
    }

    pub(super) fn set(&mut self, slot: u32, class: Priority, order: u64, entered: Time) {
        let node = self.at_mut(slot);
        (node.class, node.order, node.entered) = (class, order, entered);
    }

    fn at(&self, slot: u32) -> &Node {
        &self.0[slot as usize]
    }

    fn at_mut(&mut self, slot: u32) -> &mut Node {
        &mut self.0[slot as usize]
    }
}

/// The waiting tasks of one class.
#[derive(Debug)]
pub(super) struct Line {
    head: u32,
    tail: u32,
    /// Those of all its tasks together.
    calls: usize,
    /// For each level the first regular task whose wait has not been reported.
    cursors: [u32; WARN_LEVELS],
}

impl Line {
    pub(super) const EMPTY: Self =
        Self { head: NIL, tail: NIL, calls: 0, cursors: [NIL; WARN_LEVELS] };

    pub(super) fn calls(&self) -> usize {
        self.calls
    }

    pub(super) fn front(&self) -> Option<u32> {
        some(self.head)
    }

    /// The next whose wait is to be reported at `level`.
    pub(super) fn cursor(&self, level: usize) -> Option<u32> {
        some(self.cursors[level])
    }

    pub(super) fn advance(&mut self, nodes: &Nodes, level: usize) {
        if let Some(at) = self.cursor(level) {
            self.cursors[level] = next_regular(nodes, nodes.at(at).next);
        }
    }

    /// Joins at the back and waits in order of age.
    pub(super) fn push_regular(&mut self, nodes: &mut Nodes, slot: u32) {
        self.link_after(nodes, self.tail, slot);
        nodes.at_mut(slot).regular = true;
        for cursor in &mut self.cursors {
            if *cursor == NIL {
                *cursor = slot;
            }
        }
    }

    /// Joins at the back after having waited elsewhere.
    pub(super) fn push_irregular(&mut self, nodes: &mut Nodes, slot: u32) {
        nodes.at_mut(slot).regular = false;
        self.link_after(nodes, self.tail, slot);
    }

    /// Returns to the position that its order gives it.
    pub(super) fn restore(&mut self, nodes: &mut Nodes, slot: u32) {
        nodes.at_mut(slot).regular = false;
        let order = nodes.at(slot).order;
        let (mut before, mut after) = (NIL, self.head);
        while after != NIL && nodes.at(after).order < order {
            (before, after) = (after, nodes.at(after).next);
        }
        self.link_after(nodes, before, slot);
    }

    /// Joins right behind one that is in the line.
    pub(super) fn push_behind(&mut self, nodes: &mut Nodes, ahead: u32, slot: u32) {
        nodes.at_mut(slot).regular = false;
        self.link_after(nodes, ahead, slot);
    }

    /// A task in the line now stands for more calls.
    pub(super) fn gain(&mut self, calls: usize) {
        self.calls += calls;
    }

    /// A task in the line now stands for fewer calls.
    pub(super) fn lighten(&mut self, by: u32) {
        self.calls -= by as usize;
    }

    #[inline]
    pub(super) fn remove(&mut self, nodes: &mut Nodes, slot: u32) {
        let Node { prev, next, weight, .. } = *nodes.at(slot);
        for level in 0..WARN_LEVELS {
            if self.cursors[level] == slot {
                self.advance(nodes, level);
            }
        }
        match some(prev) {
            Some(prev) => nodes.at_mut(prev).next = next,
            None => self.head = next,
        }
        match some(next) {
            Some(next) => nodes.at_mut(next).prev = prev,
            None => self.tail = prev,
        }
        self.calls -= weight as usize;
    }

    #[cfg(any(test, atasker_sabotage))]
    pub(super) fn iter<'a>(&self, nodes: &'a Nodes) -> impl Iterator<Item = u32> + use<'a> {
        std::iter::successors(some(self.head), |&at| some(nodes.at(at).next))
    }

    #[inline]
    fn link_after(&mut self, nodes: &mut Nodes, prev: u32, slot: u32) {
        let next = if prev == NIL { self.head } else { nodes.at(prev).next };
        let node = nodes.at_mut(slot);
        (node.prev, node.next) = (prev, next);
        self.calls += node.weight as usize;
        match some(prev) {
            Some(prev) => nodes.at_mut(prev).next = slot,
            None => self.head = slot,
        }
        match some(next) {
            Some(next) => nodes.at_mut(next).prev = slot,
            None => self.tail = slot,
        }
    }

    #[cfg(test)]
    /// Panics if the links, the order or the length contradict each other.
    pub(super) fn check_invariants(&self, nodes: &Nodes) {
        let (mut prev, mut count, mut order) = (NIL, 0, 0);
        let mut seen_cursors = [false; WARN_LEVELS];
        for slot in self.iter(nodes) {
            let node = nodes.at(slot);
            assert_eq!(node.prev, prev, "a line's links must agree in both directions");
            assert!(node.order > order, "a line must be sorted by order");
            for (seen, cursor) in seen_cursors.iter_mut().zip(self.cursors) {
                *seen |= cursor == slot;
            }
            (prev, order, count) = (slot, node.order, count + node.weight as usize);
        }
        assert_eq!(self.tail, prev, "a line must end with its tail");
        assert_eq!(self.calls, count, "a line must be as long as it says");
        for (seen, cursor) in seen_cursors.into_iter().zip(self.cursors) {
            assert!(seen || cursor == NIL, "a cursor must stand in its line");
        }
    }
}

fn next_regular(nodes: &Nodes, mut at: u32) -> u32 {
    while at != NIL && !nodes.at(at).regular {
        at = nodes.at(at).next;
    }
    at
}

fn some(slot: u32) -> Option<u32> {
    (slot != NIL).then_some(slot)
}
