//! Random interleavings against a model: every call that is staged is delivered, taken back, killed,
//! refused or in doubt, exactly once; and what was taken back never begins.

use std::collections::HashSet;

use proptest::prelude::*;

use super::super::layout::{AREA_BYTES, ARGUMENTS_INLINE, OUTCOMES_INLINE};
use super::*;
use crate::transport::{Fate, Kill, Link, Outcomes, PackOutcomes, Read, Revoke, Staged as Asleep};

/// What the coordinator does next, or lets the worker do.
#[derive(Clone, Debug)]
enum Step {
    Stage {
        /// Lengths of the calls' arguments.
        calls: Vec<usize>,
        pack: bool,
    },
    /// More than the ring has places.
    Flood,
    Revoke(prop::sample::Index),
    /// All that was staged last, from behind.
    RevokeLast(usize),
    Split(prop::sample::Index, u32),
    Drain {
        partly: bool,
    },
    /// The worker may end so many more calls.
    Permit(usize),
    Pause(u32),
    Yield(u32),
}

fn lengths() -> impl Strategy<Value = usize> {
    prop_oneof![
        8 => 0..80_usize,
        2 => (ARGUMENTS_INLINE - 1)..(ARGUMENTS_INLINE + 2),
        2 => (OUTCOMES_INLINE - 5)..(OUTCOMES_INLINE + 2),
        1 => 1000..4000_usize,
    ]
}

fn steps() -> impl Strategy<Value = Step> {
    let pack = prop::collection::vec(0..300_usize, 1..30);
    let large = (AREA_BYTES - 5)..(AREA_BYTES + 2);
    prop_oneof![
        8 => lengths().prop_map(|length| Step::Stage { calls: vec![length], pack: false }),
        1 => large.prop_map(|length| Step::Stage { calls: vec![length], pack: false }),
        6 => pack.prop_map(|calls| Step::Stage { calls, pack: true }),
        1 => Just(Step::Flood),
        8 => any::<prop::sample::Index>().prop_map(Step::Revoke),
        4 => (any::<prop::sample::Index>(), 0..12_u32).prop_map(|(at, keep)| Step::Split(at, keep)),
        3 => (1..6_usize).prop_map(Step::RevokeLast),
        6 => any::<bool>().prop_map(|partly| Step::Drain { partly }),
        8 => (0..40_usize).prop_map(Step::Permit),
        6 => (0..5000_u32).prop_map(Step::Pause),
        4 => (0..100_u32).prop_map(Step::Yield),
    ]
}

/// How the worker ends.
#[derive(Clone, Copy, Debug)]
enum End {
    Retired,
    Died,
    /// The kill of the call that it runs was won, or of another, if one was.
    Killed(Option<prop::sample::Index>),
}

fn ends() -> impl Strategy<Value = End> {
    prop_oneof![
        2 => Just(End::Retired),
        1 => Just(End::Died),
        2 => prop::option::of(any::<prop::sample::Index>()).prop_map(End::Killed),
    ]
}

/// What the model knows of what was staged.
#[derive(Debug)]
struct Call {
    ticket: Ticket,
    arguments: Vec<Vec<u8>>,
    pack: bool,
    /// Those behind were taken back.
    kept: u32,
    delivered: u32,
    fate: Settled,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Settled {
    Not,
    Delivered,
    Refused,
    TakenBack,
    Killed { begun: u32 },
    InDoubt { begun: u32 },
}

struct Model {
    link: Arc<RingLink>,
    calls: Vec<Call>,
    number: u64,
}

impl Model {
    fn stage(&mut self, lengths: &[usize], pack: bool) {
        let first = self.number;
        self.number += lengths.len() as u64;
        let content = |number: u64, length: usize| -> Vec<u8> {
            (0..length).map(|at| (number as usize * 7 + at) as u8).collect()
        };
        let arguments: Vec<_> =
            (first..).zip(lengths).map(|(number, length)| content(number, *length)).collect();
        let bytes = if pack { packed(&arguments) } else { arguments[0].clone() };
        let kept = u32::try_from(lengths.len()).expect("a few");
        let frame = CallFrame { calls: kept, is_pack: pack, ..single(&bytes) };
        self.calls.push(Call {
            ticket: ticket(first),
            arguments,
            pack,
            kept,
            delivered: 0,
            fate: Settled::Not,
        });
        if self.link.stage(ticket(first), frame) == Asleep::Asleep {
            self.link.wake(true);
        }
    }

    fn call(&mut self, ticket: Ticket) -> &mut Call {
        self.calls.iter_mut().find(|call| call.ticket == ticket).expect("it was staged")
    }

    fn on_delivery(&mut self, delivery: Delivery) {
        let call = self.call(delivery.ticket);
        assert_eq!(call.fate, Settled::Not, "nothing is delivered of what is settled");
        match delivery.outcomes {
            Outcomes::OfCall(frame) => {
                assert!(!call.pack);
                call.delivered = 1;
                call.fate = match frame.outcome {
                    Outcome::Returned { value, .. } => {
                        assert!(*value.bytes() == *call.arguments[0]);
                        Settled::Delivered
                    }
                    Outcome::BadArguments { .. } => Settled::Refused,
                    _ => Settled::Delivered,
                };
            }
            Outcomes::OfPack(outcomes) => {
                call.take(&outcomes);
                if let Some(begun) = delivery.begun {
                    assert_eq!(begun, call.delivered);
                    assert!(0 < begun && begun <= call.kept);
                    // The worker had no room for more; they go elsewhere.
                    call.kept = begun;
                    call.fate = Settled::Delivered;
                }
            }
        }
    }

    fn drain(&mut self, partly: bool) {
        let mut deliveries = Vec::new();
        self.link.drain(partly, &mut deliveries).expect("no lies");
        for delivery in deliveries {
            self.on_delivery(delivery);
        }
    }

    fn revoke(&mut self, ticket: Ticket) {
        let revoked = self.link.revoke(ticket);
        let call = self.call(ticket);
        match revoked {
            Revoke::Revoked => {
                assert_eq!((call.fate, call.delivered), (Settled::Not, 0));
                call.fate = Settled::TakenBack;
            }
            Revoke::Split { kept } => call.keep(kept),
            Revoke::Begun => {}
        }
    }

    fn step(&mut self, worker: &Worker, step: Step) {
        match step {
            Step::Stage { calls, pack } => self.stage(&calls, pack),
            Step::Flood => (0..300).for_each(|_| self.stage(&[3], false)),
            Step::Permit(calls) => worker.permit(calls),
            Step::Drain { partly } => self.drain(partly),
            Step::Pause(spins) => (0..spins).for_each(|_| std::hint::spin_loop()),
            Step::Yield(times) => (0..times).for_each(|_| std::thread::yield_now()),
            Step::Revoke(at) => {
                if let Some(ticket) = self.pick(at) {
                    self.revoke(ticket);
                }
            }
            Step::RevokeLast(count) => {
                let last = self.calls.iter().rev().take(count);
                let last: Vec<_> = last.map(|call| call.ticket).collect();
                for ticket in last {
                    self.revoke(ticket);
                }
            }
            Step::Split(at, keep) => {
                if let Some(ticket) = self.pick(at)
                    && let Some(kept) = self.link.split(ticket, keep)
                {
                    assert!(kept >= keep);
                    self.call(ticket).keep(kept);
                }
            }
        }
    }

    /// One of the last, which are mostly still there.
    fn pick(&self, at: prop::sample::Index) -> Option<Ticket> {
        let last = &self.calls[self.calls.len().saturating_sub(8)..];
        (!last.is_empty()).then(|| at.get(last).ticket)
    }

    /// The one that the worker began last.
    fn running(&self, worker: &Worker) -> Option<Ticket> {
        let number = *worker.shared.state.lock().begun.last()?;
        let tickets = self.calls.iter().rev().map(|call| call.ticket);
        tickets.into_iter().find(|ticket| ticket.task.number <= number)
    }

    /// If the worker has to die of it: the number of the call that it runs.
    fn kill(&mut self, ticket: Ticket) -> Option<u64> {
        let killed = self.link.try_kill(ticket);
        let call = self.call(ticket);
        match killed {
            Kill::Won { begun, finished } => {
                assert_eq!(call.fate, Settled::Not);
                if let Some(outcomes) = &finished {
                    call.take(outcomes);
                }
                assert_eq!(call.delivered + 1, begun);
                assert!(begun <= call.kept);
                call.fate = Settled::Killed { begun };
                Some(ticket.task.number + u64::from(begun) - 1)
            }
            Kill::NotBegun => {
                assert_eq!((call.fate, call.delivered), (Settled::Not, 0));
                call.fate = Settled::TakenBack;
                None
            }
            Kill::Lost => None,
        }
    }

    /// Everything has been told. `begun`: what the worker says.
    fn check(mut self, begun: &[u64], fates: &[Fate], retired: bool) {
        for fate in fates {
            let call = self.call(fate.ticket);
            assert_eq!(call.fate, Settled::Not);
            assert_eq!(call.delivered + 1, fate.begun, "what was finished is delivered");
            call.fate = Settled::InDoubt { begun: fate.begun };
        }
        let numbers: HashSet<_> = begun.iter().copied().collect();
        assert_eq!(numbers.len(), begun.len(), "nothing begins twice");
        for call in &self.calls {
            let first = call.ticket.task.number;
            let ran = match call.fate {
                Settled::Delivered => call.kept,
                Settled::Refused | Settled::TakenBack => 0,
                Settled::Killed { begun } | Settled::InDoubt { begun } => begun,
                Settled::Not => {
                    assert!(!retired, "it was lost: {call:?}");
                    0
                }
            };
            for (number, index) in (first..).zip(0..call.arguments.len()) {
                assert_eq!(numbers.contains(&number), index < ran as usize, "{index} of {call:?}");
            }
        }
    }
}

impl Call {
    fn keep(&mut self, kept: u32) {
        assert_eq!(self.fate, Settled::Not);
        assert!(0 < kept && kept < self.kept && self.delivered < kept);
        self.kept = kept;
    }

    fn take(&mut self, outcomes: &PackOutcomes) {
        let mut offset = 0;
        for _ in 0..outcomes.count() {
            let (read, next) = outcomes.read(offset).expect("it was counted");
            offset = next;
            let arguments = &self.arguments[self.delivered as usize];
            let Read::Value(value) = read else { panic!("it returns") };
            assert!(value == arguments, "outcome {} is another's", self.delivered);
            self.delivered += 1;
        }
    }
}

fn run(steps: Vec<Step>, permits: usize, end: End) {
    let (here, there) = mappings();
    let mut model = Model { link: link_of(here), calls: Vec::new(), number: 1 };
    let worker = Worker::start(there, permits);
    for step in steps {
        model.step(&worker, step);
    }
    let killed = match end {
        End::Killed(at) => {
            let ticket = at.map_or_else(|| model.running(&worker), |at| model.pick(at));
            ticket.and_then(|ticket| model.kill(ticket))
        }
        End::Retired | End::Died => None,
    };
    let dies = killed.is_some() || matches!(end, End::Died);
    let begun = if let Some(number) = killed {
        worker.abandon(number)
    } else if dies {
        worker.die(&model.link)
    } else {
        // What waits for a place comes to the worker only while somebody drains.
        worker.permit(usize::MAX);
        while model.link.is_outstanding() {
            model.drain(true);
            std::thread::yield_now();
        }
        worker.finish(&model.link)
    };
    let mut deliveries = Vec::new();
    let fates = model.link.on_worker_died(&mut deliveries).expect("it is closed once");
    for delivery in deliveries {
        model.on_delivery(delivery);
    }
    model.check(&begun, &fates, !dies);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn each_call_is_settled_once(
        steps in prop::collection::vec(steps(), 1..80),
        permits in prop_oneof![Just(0), Just(usize::MAX)],
        end in ends(),
    ) {
        watched(|| run(steps, permits, end));
    }
}
