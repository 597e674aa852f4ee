//! A pool of workers as a supervisor would drive it, one step at a time.

use std::cell::Cell;

use super::*;
use crate::registry;
use crate::transport::{Revoke, Staged};

pub(in crate::process) fn config(transport: Transport) -> ProcessConfig {
    ProcessConfig {
        program: Program::Current,
        transport,
        output: Output::Silent,
        worker_data: None,
        start_timeout: Duration::from_secs(30),
        places: 2,
        limits: ProcessLimits::default(),
    }
}

/// A pool and the owner that it reports to.
pub(in crate::process) struct Pool {
    pub(super) processes: Processes,
    pub(super) recorder: Arc<Recorder>,
    workers: Cell<u64>,
    tasks: Cell<u64>,
}

impl Pool {
    pub(super) fn new(config: ProcessConfig) -> Self {
        let recorder = Arc::new(Recorder::default());
        let weak = Arc::downgrade(&recorder);
        let owner: Weak<dyn Owner> = weak;
        let processes = Processes::start(config, owner).expect("the pool starts");
        Self { processes, recorder, workers: 0.into(), tasks: 0.into() }
    }

    pub(super) fn spawn(&self) -> WorkerId {
        self.workers.set(self.workers.get() + 1);
        let worker = WorkerId(self.workers.get());
        self.processes.spawn(worker, Duration::ZERO);
        worker
    }

    #[track_caller]
    pub(super) fn spawn_ready(&self) -> (WorkerId, u32) {
        let worker = self.spawn();
        let ready = |of: WorkerId, told: &Told| match told {
            Told::Ready { pid, .. } if of == worker => Some(Ok(*pid)),
            Told::Exited(exit, _) if of == worker => Some(Err(Arc::clone(exit))),
            _ => None,
        };
        match self.recorder.wait_for("ready worker", ready) {
            Ok(pid) => (worker, pid),
            Err(exit) => panic!("it did not start: {exit:?}"),
        }
    }

    pub(super) fn link(&self, worker: WorkerId) -> Arc<dyn Link> {
        self.recorder.link(worker)
    }

    pub(super) fn ticket(&self) -> Ticket {
        self.tickets(1)
    }

    /// A ticket for so many calls, numbered in a row.
    fn tickets(&self, calls: u32) -> Ticket {
        let number = self.tasks.get() + 1;
        self.tasks.set(self.tasks.get() + u64::from(calls));
        Ticket { task: TaskId { number, slot: 7 }, attempt: 1 }
    }

    pub(super) fn stage(&self, worker: WorkerId, name: &str, arguments: &[u8]) -> Ticket {
        let ticket = self.ticket();
        let _woken = self.stage_as(worker, ticket, name, arguments);
        ticket
    }

    /// Whether it was staged for a worker that sleeps and had to be woken.
    pub(super) fn stage_as(
        &self,
        worker: WorkerId,
        ticket: Ticket,
        name: &str,
        arguments: &[u8],
    ) -> Staged {
        let function = &format!("process::tests::functions::{name}");
        let index = registry::find_index(function).map_or(u32::MAX, |(index, _)| index);
        self.stage_frame(
            worker,
            ticket,
            CallFrame {
                function,
                index,
                calls: 1,
                is_pack: false,
                codec: CodecId::Postcard,
                is_measured: false,
                arguments,
                shared: None,
                attachments: &[],
            },
        )
    }

    fn stage_frame(&self, worker: WorkerId, ticket: Ticket, call: CallFrame<'_>) -> Staged {
        let link = self.link(worker);
        let staged = link.stage(ticket, call);
        if staged == Staged::Asleep {
            link.wake(false);
        }
        staged
    }

    /// Stage calls of `functions::act` as a pack.
    pub(super) fn stage_pack(&self, worker: WorkerId, calls: &[&[u8]]) -> Ticket {
        let count = u32::try_from(calls.len()).expect("a few");
        let ticket = self.tickets(count);
        let (index, entry) = registry::find_index("process::tests::functions::act").expect("there");
        let mut arguments = Vec::new();
        for call in calls {
            arguments.extend(u16::try_from(call.len()).expect("a short call").to_le_bytes());
            arguments.extend_from_slice(call);
        }
        let _woken = self.stage_frame(
            worker,
            ticket,
            CallFrame {
                function: entry.path,
                index,
                calls: count,
                is_pack: true,
                codec: CodecId::Postcard,
                is_measured: false,
                arguments: &arguments,
                shared: None,
                attachments: &[],
            },
        );
        ticket
    }

    #[track_caller]
    pub(super) fn outcome(&self, ticket: Ticket) -> Outcome {
        let frame = self.recorder.wait_for("outcome", |_, told| match told {
            Told::Outcome(of, frame) if *of == ticket => Some(frame.clone()),
            _ => None,
        });
        frame.outcome
    }

    /// What a call returns that does not fail.
    #[track_caller]
    pub(super) fn value(&self, ticket: Ticket) -> Vec<u8> {
        value_of(self.outcome(ticket))
    }

    /// The values of a pack's calls until its last delivery, and how many it says have begun.
    #[track_caller]
    pub(super) fn pack_values(&self, ticket: Ticket) -> (Vec<Vec<u8>>, u32) {
        let mut values = Vec::new();
        loop {
            let (outcomes, begun) =
                self.recorder.wait_for("part of a pack", |_, told| match told {
                    Told::Part(of, outcomes, begun) if *of == ticket => {
                        Some((outcomes.clone(), *begun))
                    }
                    _ => None,
                });
            values.extend(outcomes.into_iter().map(value_of));
            if let Some(begun) = begun {
                return (values, begun);
            }
        }
    }

    #[track_caller]
    pub(super) fn call(&self, worker: WorkerId, function: &str, arguments: &[u8]) -> Vec<u8> {
        let ticket = self.stage(worker, function, arguments);
        self.value(ticket)
    }

    #[track_caller]
    pub(super) fn call_text(&self, worker: WorkerId, function: &str, arguments: &str) -> String {
        String::from_utf8(self.call(worker, function, arguments.as_bytes())).expect("text")
    }

    pub(super) fn revoke(&self, worker: WorkerId, ticket: Ticket) -> Revoke {
        self.link(worker).revoke(ticket)
    }

    #[track_caller]
    pub(super) fn exit(&self, worker: WorkerId) -> Arc<Exit> {
        self.exit_and_fates(worker).0
    }

    #[track_caller]
    pub(super) fn exit_and_fates(&self, worker: WorkerId) -> (Arc<Exit>, Vec<Fate>) {
        self.recorder.wait_for("exit", |of, told| match told {
            Told::Exited(exit, fates) if of == worker => Some((Arc::clone(exit), fates.clone())),
            _ => None,
        })
    }

    pub(super) fn kill(&self, worker: WorkerId) {
        self.processes.signal(worker, SignalReason::Cancelled);
    }

    /// Whether anything was told of this ticket that nobody has taken out.
    pub(super) fn is_told_of(&self, ticket: Ticket) -> bool {
        self.recorder.rest().iter().any(|(_, told)| match told {
            Told::Outcome(of, _) | Told::Part(of, _, _) => *of == ticket,
            Told::Ready { .. } | Told::Corrupt(_) | Told::Exited(..) => false,
        })
    }
}

#[track_caller]
pub(super) fn value_of(outcome: Outcome) -> Vec<u8> {
    match outcome {
        Outcome::Returned { value, error: None } => {
            value.decode(<[u8]>::to_vec).expect("there is memory")
        }
        other => panic!("{other:?}"),
    }
}
