//! Whether a supervisor that has nothing to do has as many workers as it is to have, spare ones included, and none
//! that has served for longer than it may.

use std::collections::HashMap;
use std::time::Duration;

use atasker::{Supervisor, SupervisorInfo};

use crate::fleet::Death;
use crate::life::Shared;
use crate::oracle::Ran;
use crate::plan::LifePlan;
use crate::verdict::Ledger;

/// How many attempts have come to their end in each process that lives.
#[derive(Clone, Debug, Default)]
pub(crate) struct Served(HashMap<u32, u64>);

impl Served {
    /// What ran and who died in another chapter.
    pub(crate) fn add(&mut self, ran: &Ran, deaths: &HashMap<u32, Vec<Death>>) {
        self.0.retain(|pid, _| !deaths.contains_key(pid));
        for attempt in ran.iter().flat_map(|(_, attempts)| attempts) {
            let death = deaths.get(&attempt.pid).and_then(|deaths| deaths.last());
            let lives = death.is_none_or(|death| death.at_ns < attempt.began_ns);
            if lives && attempt.ended.is_some() {
                *self.0.entry(attempt.pid).or_default() += 1;
            }
        }
    }
}

/// Wait until it is so, under the eyes of the watchdog.
pub(crate) fn await_complete(shared: &Shared, supervisor: &Supervisor, ledger: &Ledger) {
    while let Some(missing) = incomplete(&shared.plan, &supervisor.info(), &ledger.served) {
        *shared.awaited.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = missing;
        std::thread::sleep(Duration::from_millis(1));
    }
    shared.awaited.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clear();
}

fn incomplete(plan: &LifePlan, info: &SupervisorInfo, served: &Served) -> Option<String> {
    let wanted = info.processes.limits.places() + plan.spares;
    let ready = info.workers.iter().filter(|worker| worker.pid.is_some()).count();
    if ready < wanted as usize {
        return Some(format!("{ready} workers are ready, there are to be {wanted}"));
    }
    let most = u64::from(plan.recycled_after_tasks?);
    let pids = info.workers.iter().filter_map(|worker| worker.pid);
    let worn = pids.filter_map(|pid| Some((pid, *served.0.get(&pid)?)));
    let (pid, count) = worn.into_iter().find(|(_, count)| *count >= most)?;
    Some(format!("process {pid} has served {count} calls, and is to be replaced after {most}"))
}
