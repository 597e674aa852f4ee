//! What is measured, section by section.

mod batch;
mod buffers;
mod death;
mod efficiency;
mod idle_worker;
mod payload;
mod round_trip;
mod start;
mod throughput;

use atasker_benches::placement::Placement;

use crate::run::Run;

/// One heading of the report.
pub(crate) struct Section {
    pub(crate) title: &'static str,
    pub(crate) about: &'static str,
    pub(crate) placements: &'static [Placement],
    pub(crate) measure: fn(&mut Run, Placement),
}

/// In the order in which they are measured.
pub(crate) const SECTIONS: &[Section] = &[
    Section {
        title: "Round trip, hot",
        about: "One empty typed task there and back, and only then the next. Rows without “two” have one \
                worker or thread, those with it have both on its core.",
        placements: &Placement::ALL,
        measure: round_trip::hot,
    },
    Section {
        title: "Round trip after idleness",
        about: "The same after 10 ms in which both sides slept.",
        placements: &[Placement::Separate, Placement::Unpinned],
        measure: round_trip::after_idleness,
    },
    Section {
        title: "Single submissions",
        about: "Trivial tasks, each submitted by itself by one thread, to two workers.",
        placements: &Placement::ALL,
        measure: throughput::single_submissions,
    },
    Section {
        title: "Map",
        about: "Trivial tasks, as many as the contender likes at once, two workers.",
        placements: &Placement::ALL,
        measure: throughput::map,
    },
    Section {
        title: "Efficiency by task size",
        about: "Tasks of so much computation, two workers, for each task. The ideal is that of two bare \
                threads that do an equal share each.",
        placements: &[Placement::Separate, Placement::Unpinned],
        measure: efficiency::by_task_size,
    },
    Section {
        title: "Batch of 5 ms tasks",
        about: "1,000 tasks of 5 ms of computation (100 in a short run), two workers, all of them together.",
        placements: &[Placement::Separate, Placement::Unpinned],
        measure: batch::of_5_ms,
    },
    Section {
        title: "Large payloads",
        about: "There, every byte turned over, back, every byte read.",
        placements: &[Placement::Separate, Placement::Unpinned],
        measure: payload::large,
    },
    Section {
        title: "Start",
        about: "Two workers ready and both answered. The answers take 20 ms, so that one worker can't give \
                both; that is taken off.",
        placements: &[Placement::Unpinned],
        measure: start::two_workers,
    },
    Section {
        title: "Death of a worker",
        about: "One worker, killed by SIGKILL in the middle of a task, and all that follows until its caller is \
                told, or until the next task, submitted then, is done.",
        placements: &[Placement::Unpinned],
        measure: death::of_a_worker,
    },
    Section {
        title: "Idle worker",
        about: "The stock worker program after one empty task, beside the same program merely started and \
                asleep.",
        placements: &[Placement::Unpinned],
        measure: idle_worker::memory_and_time,
    },
];
