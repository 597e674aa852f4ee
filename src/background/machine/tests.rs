//! The machine against a shell that does everything in any order: submissions that begin late or not at all,
//! stops, restarts, triggers and refusals at every moment.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::background::timing::MissedTicks;

const MS: u64 = 1_000_000;
const KINDS: [Kind; 5] = [
    Kind::Loop,
    Kind::Queue,
    Kind::Event,
    Kind::Interval(Timing::every(Duration::from_millis(10)).missed(MissedTicks::Burst)),
    Kind::Interval(Timing::spaced(Duration::from_millis(10)).first_after(Duration::from_millis(3))),
];

#[derive(Clone, Copy, Debug)]
enum Move {
    Start,
    Stop,
    Restart,
    Trigger {
        even_if_it_runs: bool,
    },
    Put,
    Wait {
        ms: u64,
    },
    /// One of those that were submitted begins, if its time has come.
    Begin {
        which: usize,
    },
    /// What the turn does ends.
    Go {
        breaks: bool,
        fails: bool,
    },
    /// One of those that were submitted is dropped.
    Lose {
        which: usize,
    },
    /// The turn is dropped in the middle of its run.
    LoseRun,
}

fn moves() -> impl Strategy<Value = Move> {
    prop_oneof![
        2 => Just(Move::Start),
        1 => Just(Move::Stop),
        1 => Just(Move::Restart),
        3 => any::<bool>().prop_map(|even_if_it_runs| Move::Trigger { even_if_it_runs }),
        3 => Just(Move::Put),
        4 => (0..15_u64).prop_map(|ms| Move::Wait { ms }),
        6 => (0..4_usize).prop_map(|which| Move::Begin { which }),
        8 => (any::<bool>(), any::<bool>()).prop_map(|(breaks, fails)| Move::Go {
            breaks: breaks && fails,
            fails,
        }),
        1 => (0..4_usize).prop_map(|which| Move::Lose { which }),
        1 => Just(Move::LoseRun),
    ]
}

struct Shell {
    machine: Machine,
    now: Time,
    submitted: Vec<(Turn, Time)>,
    /// Between the begin of a turn and its end.
    turn: Option<(Turn, Step)>,
    items: usize,
    greeted: bool,
    runs: u64,
    refuses: bool,
    /// Runs fail because there is no process pool.
    lacks_pool: bool,
    /// A run was promised that has not begun.
    owed: bool,
}

impl Shell {
    fn new(kind: Kind, on_failure: OnFailure) -> Self {
        Self {
            machine: Machine::new(kind, on_failure),
            now: Time::ZERO,
            submitted: Vec::new(),
            turn: None,
            items: 0,
            greeted: false,
            runs: 0,
            refuses: false,
            lacks_pool: false,
            owed: false,
        }
    }

    fn play(&mut self, step: Move) {
        match step {
            Move::Start => {
                if let Some(command) = self.machine.on_start(self.now) {
                    self.carry_out(command);
                }
            }
            Move::Stop => self.stop(),
            Move::Restart => {
                let command = self.machine.on_restart(self.now);
                self.carry_out(command);
            }
            Move::Trigger { even_if_it_runs } => self.trigger(even_if_it_runs),
            Move::Put if self.machine.kind == Kind::Queue && self.machine.takes_items() => {
                self.items += 1;
                self.trigger(true);
            }
            Move::Put => {}
            Move::Wait { ms } => self.now = Time(self.now.0 + ms * MS),
            Move::Begin { which } => self.begin(which),
            Move::Go { breaks, fails } => self.go(breaks, fails),
            Move::Lose { which } => {
                if which < self.submitted.len() {
                    let (turn, _) = self.submitted.remove(which);
                    if self.machine.is_current(turn) {
                        self.owed = false;
                    }
                    let command = self.machine.on_turn_lost(turn, self.now);
                    self.carry_out(command);
                }
            }
            Move::LoseRun => {
                if let Some((turn, Step::Run { .. })) = self.turn {
                    self.turn = None;
                    let command = self.machine.on_turn_lost(turn, self.now);
                    self.owed &= !self.machine.stopping || self.machine.again;
                    self.carry_out(command);
                }
            }
        }
        self.check();
    }

    fn stop(&mut self) {
        self.owed = false;
        let command = self.machine.on_stop(self.now);
        self.carry_out(command);
    }

    fn trigger(&mut self, even_if_it_runs: bool) {
        let ran = is_running(self) && !self.machine.again;
        let (begins, command) = self.machine.on_wanted(self.now, even_if_it_runs);
        assert!(!begins || even_if_it_runs || !ran, "a trigger during a run is ignored");
        self.owed |= begins;
        self.carry_out(command);
    }

    fn carry_out(&mut self, command: Command) {
        let Command::Submit { turn, at, is_urgent } = command else { return };
        assert!(!is_urgent || at.is_none(), "what is urgent is not planned for later");
        if !self.refuses {
            self.submitted.push((turn, at.unwrap_or(self.now)));
            return;
        }
        assert!(self.turn.is_none(), "who is in a turn submits at its end");
        let lost = turn;
        let turn = self.machine.on_refused(turn).expect("it was just submitted");
        assert_eq!(self.machine.on_turn_lost(lost, self.now), Command::Nothing);
        if let Some(step) = self.machine.on_turn_begun(turn, self.now) {
            self.took(turn, step);
        }
    }

    fn begin(&mut self, which: usize) {
        let due = |&(_, at): &(Turn, Time)| at <= self.now;
        let Some(index) = self.submitted.iter().positions(due).nth(which) else { return };
        let (turn, _) = self.submitted.remove(index);
        if let Some(step) = self.machine.on_turn_begun(turn, self.now) {
            assert!(self.turn.is_none(), "two turns at once");
            self.took(turn, step);
        }
    }

    fn took(&mut self, turn: Turn, step: Step) {
        self.turn = Some((turn, step));
        match step {
            Step::Greet => assert!(!self.greeted, "greeted twice"),
            Step::Run { planned } => {
                assert!(self.greeted, "runs before it is greeted");
                assert!(planned.is_none_or(|planned| planned <= self.now), "a tick too early");
                self.owed = false;
            }
            Step::Part => assert!(self.greeted, "parts without having been greeted"),
            Step::Leave(command) => {
                self.turn = None;
                self.carry_out(command);
            }
        }
    }

    fn go(&mut self, breaks: bool, failed: bool) {
        let Some((turn, step)) = self.turn.take() else { return };
        let next = match step {
            Step::Greet => {
                self.greeted = true;
                self.machine.on_greeted(self.now)
            }
            Step::Run { .. } if self.machine.kind == Kind::Queue && self.items == 0 => {
                self.machine.on_nothing_found(self.now)
            }
            Step::Run { .. } => {
                self.items = self.items.saturating_sub(1);
                self.runs += 1;
                let ended =
                    Ended { breaks, failed, refused: self.lacks_pool, more: self.items > 0 };
                let step = self.machine.on_ended(self.now, ended);
                // It ends by itself, and with it what was promised; unless it starts again.
                self.owed &= !self.machine.stopping || self.machine.again;
                step
            }
            Step::Part => {
                self.greeted = false;
                self.machine.on_parted(self.now)
            }
            Step::Leave(_) => unreachable!("carried out when it was told"),
        };
        self.took(turn, next);
    }

    /// What holds between any two moves.
    fn check(&self) {
        let machine = &self.machine;
        let current = self.submitted.iter().any(|&(turn, _)| machine.is_planned(turn));
        match machine.stage {
            Stage::Inactive => {
                assert!(!self.greeted && self.turn.is_none(), "inactive in the middle of things");
                assert!(!self.owed, "a run was promised");
            }
            Stage::Waiting => {
                assert!(matches!(machine.kind, Kind::Queue | Kind::Event), "waits for nothing");
                assert!(!machine.wanted && !machine.stopping && self.greeted, "waits in vain");
                assert!(
                    machine.kind != Kind::Queue || self.items == 0,
                    "waits before a full queue"
                );
            }
            Stage::Planned { .. } => assert!(current, "nobody is on his way"),
            Stage::Turning { .. } => assert!(self.turn.is_some(), "nobody is in its turn"),
        }
        assert!(!self.owed || machine.stage != Stage::Waiting, "a run was promised");
    }

    /// Let everything happen that is to happen.
    fn settle(&mut self) {
        for _ in 0..10_000 {
            if self.turn.is_some() {
                self.go(false, false);
            } else if let Some(&(_, at)) = self.submitted.iter().min_by_key(|(_, at)| *at) {
                self.now = self.now.max(at);
                self.begin(0);
            } else {
                return;
            }
            self.check();
        }
        panic!("it does not come to rest");
    }
}

trait Positions: Iterator + Sized {
    /// The places of those that are so.
    fn positions(self, is_so: impl Fn(Self::Item) -> bool) -> impl Iterator<Item = usize> {
        self.enumerate().filter_map(move |(index, item)| is_so(item).then_some(index))
    }
}

impl<T: Iterator> Positions for T {}

fn policies() -> [OnFailure; 3] {
    [OnFailure::GoOn, OnFailure::Stop, OnFailure::Backoff(Backoff::fixed(Duration::from_millis(5)))]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn whatever_happens_it_stops_when_it_is_told(
        kind in 0..KINDS.len(),
        policy in 0..3_usize,
        moves in prop::collection::vec(moves(), 0..60),
        refuses in any::<bool>(),
    ) {
        let mut shell = Shell::new(KINDS[kind], policies()[policy]);
        for step in moves {
            shell.play(step);
        }
        // While it is in a turn, a stopping supervisor refuses only what that submits.
        shell.refuses = refuses;
        shell.stop();
        shell.check();
        shell.settle();
        prop_assert!(!shell.machine.is_active());
        prop_assert!(!shell.greeted);
        prop_assert!(shell.machine.counts().runs >= shell.runs);
    }
}

fn started(kind: Kind) -> Shell {
    let mut shell = Shell::new(kind, OnFailure::GoOn);
    shell.play(Move::Start);
    shell.play(Move::Begin { which: 0 });
    shell.go(false, false);
    shell
}

fn is_running(shell: &Shell) -> bool {
    matches!(shell.turn, Some((_, Step::Run { .. })))
}

#[test]
fn triggers_during_a_run_are_ignored_or_become_one() {
    let mut shell = started(Kind::Event);
    assert_eq!(shell.machine.stage, Stage::Waiting);
    assert!(shell.machine.on_wanted(shell.now, false).0);
    // Another before it begins is the same run.
    let command = shell.machine.on_wanted(shell.now, true);
    assert_eq!(command, (true, Command::Nothing));
    shell.submitted.push((shell.machine.turn, shell.now));
    shell.begin(0);
    assert!(is_running(&shell));
    shell.trigger(false);
    shell.go(false, false);
    assert_eq!(shell.machine.stage, Stage::Waiting);
    shell.trigger(false);
    shell.begin(0);
    for _ in 0..100 {
        shell.trigger(true);
    }
    shell.go(false, false);
    shell.settle();
    assert_eq!(shell.runs, 3);
}

#[test]
fn a_trigger_by_hand_leaves_the_ticks_where_they_are() {
    let interval = Timing::every(Duration::from_millis(10));
    let mut shell = started(Kind::Interval(interval));
    shell.go(false, false);
    shell.play(Move::Wait { ms: 4 });
    shell.trigger(false);
    // The one that was planned for ten comes too late to be of use.
    let late = shell.submitted.remove(0).0;
    assert_eq!(shell.machine.on_turn_begun(late, shell.now), None);
    shell.begin(0);
    assert_eq!(shell.turn.map(|(_, step)| step), Some(Step::Run { planned: None }));
    shell.go(false, false);
    assert_eq!(shell.submitted.last().map(|(_, at)| *at), Some(Time(10 * MS)));
}

#[test]
fn failures_in_a_row_wait_longer_and_a_trigger_does_not_shorten_that() {
    let backoff = Backoff::exponential(Duration::from_millis(100), Duration::from_secs(1));
    let mut shell = Shell::new(Kind::Event, OnFailure::Backoff(backoff));
    shell.play(Move::Start);
    shell.begin(0);
    shell.go(false, false);
    let mut last = 0;
    for _ in 0..4 {
        shell.trigger(false);
        let at = shell.submitted[0].1;
        let waited = at.0 - shell.now.0;
        assert!(waited >= last, "{waited} after {last}");
        last = waited;
        shell.now = at;
        shell.begin(0);
        assert!(is_running(&shell));
        shell.go(false, true);
    }
    // Up to a quarter is taken off.
    assert!(last >= 300 * MS, "{last}");
    assert_eq!(shell.machine.counts().errors, 4);
}

#[test]
fn a_loop_without_a_process_pool_waits_longer_and_longer() {
    let mut shell = started(Kind::Loop);
    shell.lacks_pool = true;
    assert!(is_running(&shell));
    shell.go(false, true);
    for least_ms in [7, 15, 30, 60, 120, 240, 480, 750, 750] {
        let at = shell.submitted[0].1;
        assert!(at.0 - shell.now.0 >= least_ms * MS, "{} for {least_ms}", at.0 - shell.now.0);
        shell.now = at;
        shell.begin(0);
        assert!(is_running(&shell));
        shell.go(false, true);
    }
}

#[test]
fn a_restart_in_a_run_that_breaks_is_still_a_restart() {
    let mut shell = started(Kind::Loop);
    assert!(is_running(&shell));
    shell.play(Move::Restart);
    shell.go(true, false);
    assert_eq!(shell.turn.map(|(_, step)| step), Some(Step::Part));
    shell.go(false, false);
    assert!(shell.machine.is_active());
    shell.begin(0);
    assert_eq!(shell.turn.map(|(_, step)| step), Some(Step::Greet));
    assert_eq!(shell.machine.lives_ended(), 1);
}

#[test]
fn ten_thousand_ticks_of_a_worker_do_not_drift() {
    let interval = Timing::every(Duration::from_millis(10)).missed(MissedTicks::Burst);
    let mut shell = started(Kind::Interval(interval));
    for tick in 0..10_000 {
        let Some((_, Step::Run { planned })) = shell.turn else { panic!("it runs") };
        assert_eq!(planned, Some(Time(tick * 10 * MS)));
        shell.now = Time(shell.now.0 + tick % 7 * MS);
        shell.go(false, false);
        // Somewhat late, sometimes by more than an interval.
        let (_, at) = shell.submitted[0];
        shell.now = Time(shell.now.max(at).0 + tick % 13 * MS);
        shell.begin(0);
    }
}

#[test]
fn who_submits_late_learns_that_it_was_for_nothing() {
    let hour = Timing::every(Duration::from_secs(3600));
    let mut machine = Machine::new(Kind::Interval(hour), OnFailure::GoOn);
    let now = Time(0);
    let Some(Command::Submit { turn: first, .. }) = machine.on_start(now) else {
        panic!("it starts")
    };
    assert_eq!(machine.on_turn_begun(first, now), Some(Step::Greet));
    let planned = match machine.on_greeted(now) {
        Step::Leave(Command::Submit { turn, .. }) => turn,
        Step::Run { .. } => {
            let ended = Ended { breaks: false, failed: false, refused: false, more: false };
            let Step::Leave(Command::Submit { turn, .. }) = machine.on_ended(now, ended) else {
                panic!("the next is an hour away");
            };
            turn
        }
        other => panic!("{other:?}"),
    };
    // While that is being submitted the worker stops, and its last turn begins.
    let Command::Submit { turn: last, .. } = machine.on_stop(now) else { panic!("it has hooks") };
    assert_eq!(machine.on_turn_begun(last, now), Some(Step::Part));
    assert!(machine.take_overtaken(planned), "it has to be withdrawn");
    assert!(!machine.take_overtaken(planned), "once");
    assert!(!machine.take_overtaken(last) && !machine.take_overtaken(first), "these have begun");
}
