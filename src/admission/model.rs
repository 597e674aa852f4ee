//! The admission against a model that is too slow and too simple to be wrong.

use std::time::Duration;

use proptest::prelude::*;

use super::{Admission, AdmissionConfig, Nodes, Time, ZeroPoolSize};
use crate::task::options::{Limits, Priority};

const PERIOD: Duration = Duration::from_nanos(50);

/// One task as the model sees it.
#[derive(Clone, Copy, Debug)]
struct Task {
    slot: u32,
    class: Priority,
    order: u64,
    entered: u64,
    calls: u32,
}

/// Every question is answered by looking at everything.
#[derive(Debug, Default)]
struct Model {
    waiting: Vec<Task>,
    running: Vec<Task>,
    orders: u64,
}

impl Model {
    fn join(&mut self, slot: u32, class: Priority, calls: u32, now: u64) {
        let order = self.take_orders(calls);
        self.waiting.push(Task { slot, class, order, entered: now, calls });
    }

    /// Each call has one, so that both parts of a pack stand where it stood.
    fn take_orders(&mut self, calls: u32) -> u64 {
        let first = self.orders + 1;
        self.orders += u64::from(calls);
        first
    }

    fn start(&mut self, limits: Limits, zero: ZeroPoolSize, cap: Option<u32>) -> Option<u32> {
        let urgent = self.waiting.iter().map(|task| task.class).max()?;
        let first =
            self.waiting.iter().filter(|task| task.class == urgent).map(|task| task.order).min()?;
        let unlimited = limits.pool_size == 0 && zero == ZeroPoolSize::Unlimited;
        let mut places = match urgent {
            Priority::Low => limits.pool_size,
            Priority::Normal => limits.pool_size + limits.reserve_normal,
            _ => limits.pool_size + limits.reserve_normal + limits.reserve_high,
        };
        if unlimited {
            places = u32::MAX;
        }
        let places = cap.map_or(places, |cap| places.min(cap));
        if urgent != Priority::Critical && self.running.len() as u32 >= places {
            return None;
        }
        let index = self.waiting.iter().position(|task| task.order == first)?;
        let task = self.waiting.remove(index);
        self.running.push(task);
        Some(task.slot)
    }

    /// What has waited a period in its class moves up by one, the higher class first, the older first.
    fn lift(&mut self, now: u64) -> Vec<u32> {
        let mut lifted = Vec::new();
        loop {
            let due = |class: Priority| {
                let front = self
                    .waiting
                    .iter()
                    .filter(|task| task.class == class)
                    .min_by_key(|task| task.order)?;
                (front.entered + PERIOD.as_nanos() as u64 <= now).then_some(front.order)
            };
            let (order, above) = match (due(Priority::Normal), due(Priority::Low)) {
                (Some(order), _) => (order, Priority::High),
                (None, Some(order)) => (order, Priority::Normal),
                (None, None) => return lifted,
            };
            let at = self.waiting.iter().position(|task| task.order == order).expect("it waits");
            let order = self.take_orders(self.waiting[at].calls);
            let task = &mut self.waiting[at];
            (task.class, task.order, task.entered) = (above, order, now);
            lifted.push(task.slot);
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Submit(Priority, u32),
    Finish(prop::sample::Index),
    /// What runs returns to its line: an attempt failed, or was taken back.
    Return(prop::sample::Index),
    Cancel(prop::sample::Index),
    /// A pack becomes two, in its line or while it runs.
    Split(prop::sample::Index, u32),
    Resize(Limits),
    Wait(u64),
}

fn limits() -> impl Strategy<Value = Limits> {
    (0..4u32, 0..3u32, 0..3u32)
        .prop_map(|(p, n, h)| Limits::new(p).reserve_normal(n).reserve_high(h))
}

fn step() -> impl Strategy<Value = Step> {
    let index = any::<prop::sample::Index>;
    prop_oneof![
        6 => (0..4usize, 1..5u32).prop_map(|(class, calls)| Step::Submit(Priority::ALL[class], calls)),
        4 => index().prop_map(Step::Finish),
        1 => index().prop_map(Step::Return),
        1 => index().prop_map(Step::Cancel),
        2 => (index(), 1..4u32).prop_map(|(which, kept)| Step::Split(which, kept)),
        1 => limits().prop_map(Step::Resize),
        2 => (0..40u64).prop_map(Step::Wait),
    ]
}

fn config() -> impl Strategy<Value = AdmissionConfig> {
    let zero = prop_oneof![Just(ZeroPoolSize::Unlimited), Just(ZeroPoolSize::Closed)];
    let aging = prop_oneof![Just(None), Just(Some(PERIOD))];
    (limits(), zero, proptest::option::of(0..5u32), aging).prop_map(
        |(limits, zero_pool_size, places_max, aging)| AdmissionConfig {
            limits,
            zero_pool_size,
            places_max,
            aging,
        },
    )
}

fn check(mut config: AdmissionConfig, steps: Vec<Step>) {
    let (mut admission, mut nodes) = (Admission::new(config), Nodes::default());
    let (mut model, mut now, mut slots) = (Model::default(), 0, 0);
    for step in steps {
        match step {
            Step::Submit(class, calls) => {
                nodes.ensure(slots);
                admission.enqueue(&mut nodes, slots, class, calls, Time(now));
                model.join(slots, class, calls, now);
                slots += 1;
            }
            Step::Finish(which) if !model.running.is_empty() => {
                model.running.remove(which.index(model.running.len()));
                admission.vacate();
            }
            Step::Return(which) if !model.running.is_empty() => {
                let task = model.running.remove(which.index(model.running.len()));
                admission.vacate();
                admission.requeue(&mut nodes, task.slot);
                model.waiting.push(task);
            }
            Step::Cancel(which) if !model.waiting.is_empty() => {
                let task = model.waiting.remove(which.index(model.waiting.len()));
                admission.remove(&mut nodes, task.slot);
            }
            Step::Split(which, kept) => {
                nodes.ensure(slots);
                split(&mut admission, &mut nodes, &mut model, which, kept, slots);
                slots += 1;
            }
            Step::Resize(limits) => {
                config.limits = limits;
                admission.set_limits(limits);
            }
            Step::Wait(time) => {
                now += time;
                let lifted: Vec<u32> =
                    std::iter::from_fn(|| admission.lift_due(&mut nodes, Time(now))).collect();
                let expected = if config.aging.is_some() { model.lift(now) } else { Vec::new() };
                assert_eq!(lifted, expected, "the same are lifted");
                assert!(
                    admission.next_lift(&nodes).is_none_or(|due| due > Time(now)),
                    "all due are lifted"
                );
            }
            Step::Finish(_) | Step::Return(_) | Step::Cancel(_) => {}
        }
        start_all(&mut admission, &mut nodes, &mut model, config);
        assert_eq!(admission.busy() as usize, model.running.len());
        admission.check_invariants(&nodes);
        for class in Priority::ALL {
            let queued = model.waiting.iter().filter(|task| task.class == class);
            let calls: u32 = queued.map(|task| task.calls).sum();
            assert_eq!(admission.queued(class), calls as usize);
        }
    }
}

/// Splits a pack in both, if it is one.
fn split(
    admission: &mut Admission,
    nodes: &mut Nodes,
    model: &mut Model,
    which: prop::sample::Index,
    kept: u32,
    rest: u32,
) {
    let waiting = model.waiting.len();
    let all = waiting + model.running.len();
    if all == 0 {
        return;
    }
    let at = which.index(all);
    let in_line = at < waiting;
    let task = if in_line { &mut model.waiting[at] } else { &mut model.running[at - waiting] };
    if kept >= task.calls {
        return;
    }
    let (order, calls) = (task.order + u64::from(kept), task.calls - kept);
    task.calls = kept;
    let (pack, task) = (task.slot, Task { slot: rest, order, calls, ..*task });
    admission.split(nodes, pack, kept, rest, in_line);
    if !in_line {
        admission.requeue(nodes, rest);
    }
    model.waiting.push(task);
}

/// Starts what may start, in both.
fn start_all(
    admission: &mut Admission,
    nodes: &mut Nodes,
    model: &mut Model,
    config: AdmissionConfig,
) {
    loop {
        let next = admission.next().filter(|&(_, class)| admission.has_place(class));
        let started = next.map(|(slot, _)| slot);
        let expected = model.start(config.limits, config.zero_pool_size, config.places_max);
        assert_eq!(started, expected, "the same starts");
        let Some(slot) = started else { return };
        admission.remove(nodes, slot);
        admission.occupy();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_same_tasks_start_in_the_same_order(
        config in config(),
        steps in prop::collection::vec(step(), 0..120),
    ) {
        check(config, steps);
    }
}
