//! Deaths in a task.

use atasker::{Call, ExitCause, TaskError, TaskErrorKind, TaskStatus, wait_all};

use super::misdeeds::{allocate, in_c, panics};
use super::{Scene, cases};
use crate::tasks;
use crate::watch::{eventually, send_signal};

cases! {
    everywhere {
        killed_in_a_task,
        killed_while_idle,
        a_null_write,
        a_null_write_in_c,
        a_null_call_in_c,
        a_write_to_code_in_c,
        a_truncated_mapping_in_c,
        an_illegal_instruction_in_c,
        a_division_by_zero_in_c,
        abort_in_a_task,
        abort_in_c,
        a_stack_overflow,
        a_stack_overflow_in_c,
        a_double_free_in_c,
        a_write_beyond_a_heap_block_in_c,
        a_write_to_freed_memory_in_c,
        a_smashed_stack_in_c,
        a_thread_unwound_in_c,
        a_null_write_in_a_thread_in_c,
        exit_in_a_task,
        exit_in_c,
        exit_without_handlers_in_c,
        exit_in_a_thread_in_c,
        a_task_that_kills_its_group,
        a_task_that_becomes_another_program,
        panics_of_every_kind,
        a_panic_while_unwinding,
        a_panic_in_a_program_that_aborts,
        a_failed_allocation,
        two_die_at_once,
        all_die_at_once_with_more_behind,
        a_long_jump_in_c,
    }
    on_rings {
        a_task_that_becomes_a_program_that_stays,
        a_task_that_ends_its_thread,
        death_in_the_middle_of_a_map,
    }
    on_named_rings {
        killed_in_a_task,
        a_stack_overflow,
        a_task_that_becomes_another_program,
        all_die_at_once_with_more_behind,
    }
}

/// What a fault, or a library that notices one, ends a process with.
const FAULTS: [ExitCause; 3] = [
    ExitCause::Signal(libc::SIGSEGV),
    ExitCause::Signal(libc::SIGABRT),
    ExitCause::Signal(libc::SIGBUS),
];
const ABORT: [ExitCause; 1] = [ExitCause::Signal(libc::SIGABRT)];
const SEGV: [ExitCause; 1] = [ExitCause::Signal(libc::SIGSEGV)];

fn killed_in_a_task(scene: &Scene) {
    scene.dies_of(tasks::die::call("kill"), &[ExitCause::Signal(libc::SIGKILL)]);
}

fn killed_while_idle(scene: &Scene) {
    for _ in 0..3 {
        let pid = scene.run(tasks::pid::call()).expect("it runs");
        send_signal(pid, libc::SIGKILL);
        eventually("it is missed", || !scene.pids().contains(&pid));
    }
}

fn a_null_write(scene: &Scene) {
    scene.dies_of(tasks::die::call("null write"), &SEGV);
}

fn a_null_write_in_c(scene: &Scene) {
    scene.dies_of(in_c::call("null write"), &SEGV);
}

fn a_null_call_in_c(scene: &Scene) {
    scene.dies_of(in_c::call("null call"), &SEGV);
}

fn a_write_to_code_in_c(scene: &Scene) {
    scene.dies_of(in_c::call("write to code"), &SEGV);
}

fn a_truncated_mapping_in_c(scene: &Scene) {
    scene.dies_of(in_c::call("truncated mapping"), &[ExitCause::Signal(libc::SIGBUS)]);
}

fn an_illegal_instruction_in_c(scene: &Scene) {
    scene.dies_of(in_c::call("illegal instruction"), &[ExitCause::Signal(libc::SIGILL)]);
}

fn a_division_by_zero_in_c(scene: &Scene) {
    scene.dies_of(in_c::call("division by zero"), &[ExitCause::Signal(libc::SIGFPE)]);
}

fn abort_in_a_task(scene: &Scene) {
    scene.dies_of(tasks::die::call("abort"), &ABORT);
}

fn abort_in_c(scene: &Scene) {
    scene.dies_of(in_c::call("abort"), &ABORT);
}

fn a_stack_overflow(scene: &Scene) {
    scene.dies_of(tasks::die::call("stack overflow"), &FAULTS);
}

fn a_stack_overflow_in_c(scene: &Scene) {
    scene.dies_of(in_c::call("stack overflow"), &FAULTS);
}

fn a_double_free_in_c(scene: &Scene) {
    scene.dies_of(in_c::call("double free"), &FAULTS);
}

fn a_write_beyond_a_heap_block_in_c(scene: &Scene) {
    scene.dies_of(in_c::call("heap overflow"), &FAULTS);
}

fn a_write_to_freed_memory_in_c(scene: &Scene) {
    scene.dies_of(in_c::call("use after free"), &FAULTS);
}

fn a_smashed_stack_in_c(scene: &Scene) {
    scene.dies_of(in_c::call("smashed stack"), &FAULTS);
}

fn a_null_write_in_a_thread_in_c(scene: &Scene) {
    scene.dies_of(in_c::call("null write in a thread"), &SEGV);
}

fn exit_in_a_task(scene: &Scene) {
    for (how, code) in [("exit 0", 0), ("exit 42", 42)] {
        scene.dies_of(tasks::die::call(how), &[ExitCause::Code(code)]);
    }
}

fn exit_in_c(scene: &Scene) {
    for (how, code) in [("exit 0", 0), ("exit 42", 42)] {
        scene.dies_of(in_c::call(how), &[ExitCause::Code(code)]);
    }
}

fn exit_without_handlers_in_c(scene: &Scene) {
    scene.dies_of(in_c::call("_exit 0"), &[ExitCause::Code(0)]);
}

fn exit_in_a_thread_in_c(scene: &Scene) {
    scene.dies_of(in_c::call("exit in a thread"), &[ExitCause::Code(42)]);
}

/// Each worker is a group of its own.
fn a_task_that_kills_its_group(scene: &Scene) {
    let before = scene.occupy();
    let [one, two] = before.pids;
    before.release();
    scene.dies_of(in_c::call("kill own group"), &[ExitCause::Signal(libc::SIGKILL)]);
    let left = scene.pids();
    assert!(left.contains(&one) || left.contains(&two), "the other lives on");
}

fn a_task_that_becomes_another_program(scene: &Scene) {
    // Over a ring it is killed as soon as it is noticed, which that program may not live to see.
    let causes = [ExitCause::Code(0), ExitCause::Signal(libc::SIGKILL)];
    scene.dies_of(in_c::call("become another program"), &causes);
}

fn a_task_that_becomes_a_program_that_stays(scene: &Scene) {
    let stranger = scene.builder().worker_program(env!("CARGO_BIN_EXE_stranger"));
    let pool = stranger.start().expect("it is a worker");
    for how in ["become_a_sleeper", "become_a_sleeper_in_a_thread"] {
        let task = pool.submit(Call::by_name(how, serde_json::json!([]))).expect("it has that");
        is_deserted(&task.wait().expect_err("its worker is no worker any more"));
    }
    let call = Call::by_name("double", serde_json::json!([21]));
    assert_eq!(
        pool.submit(call).expect("accepted").wait().expect("by another"),
        serde_json::json!(42)
    );
}

/// As C's exit from a thread does, which comes to the frames of Rust.
fn a_thread_unwound_in_c(scene: &Scene) {
    let error = scene.crash(in_c::call("unwind the thread"));
    let crash = error.crash().expect("it crashed");
    assert_eq!(crash.cause, ExitCause::Signal(libc::SIGABRT), "{error}");
    // Said by std or glibc; by nobody where an optimizer has left no frame that could refuse to be unwound.
    let is_said =
        crash.stderr.contains("foreign exceptions") || crash.stderr.contains("not rethrown");
    let likely = crash.likely_cause.as_deref().unwrap_or_default();
    assert_eq!(likely.contains("pthread_exit"), is_said, "{error}");
}

fn a_task_that_ends_its_thread(scene: &Scene) {
    is_deserted(&scene.crash(in_c::call("end the thread")));
}

/// Nobody would ever end it.
fn is_deserted(error: &TaskError) {
    let crash = error.crash().expect("it crashed");
    assert_eq!(crash.cause, ExitCause::Signal(libc::SIGKILL), "{error}");
    let why = crash.killed_because.unwrap_or_default();
    assert!(why.contains("its thread that runs tasks had ended"), "{error}");
}

/// They cost not even the worker.
fn panics_of_every_kind(scene: &Scene) {
    let before = scene.occupy();
    let pids = before.pids;
    before.release();
    for (how, message) in
        [("with a string", "with a string"), ("with a number", ""), ("in Drop", "in Drop")]
    {
        let error = scene.run(panics::call(how)).expect_err("it panics");
        let TaskErrorKind::Panicked(report) = error.kind() else { panic!("{error}") };
        assert!(report.message.contains(message), "{report:?}");
        assert!(report.pid.is_some_and(|pid| pids.contains(&pid)));
    }
    for how in ["in a thread", "in a thread that nobody joins"] {
        assert_eq!(scene.run(panics::call(how)).expect("the task goes on"), "alive");
    }
    assert!(scene.pids().iter().all(|pid| pids.contains(pid)), "both live on");
}

/// Rust aborts then.
fn a_panic_while_unwinding(scene: &Scene) {
    scene.dies_of(panics::call("while unwinding"), &ABORT);
}

fn a_panic_in_a_program_that_aborts(scene: &Scene) {
    let error = scene.crash(panics::call("in a program that aborts"));
    let crash = error.crash().expect("it crashed");
    assert_eq!(crash.cause, ABORT[0], "{error}");
    assert!(crash.stderr.contains("the last words"), "{error}");
}

fn a_failed_allocation(scene: &Scene) {
    scene.dies_of(allocate::call(1 << 47), &ABORT);
}

fn two_die_at_once(scene: &Scene) {
    let occupied = scene.occupy();
    for pid in occupied.pids {
        send_signal(pid, libc::SIGKILL);
    }
    for task in occupied.tasks {
        assert_eq!(task.wait().expect_err("killed").status(), TaskStatus::Crashed);
    }
}

fn all_die_at_once_with_more_behind(scene: &Scene) {
    let mut tasks = Vec::new();
    for n in 0..60 {
        let call = if n % 3 == 0 { tasks::die_at::call(n, n) } else { tasks::die_at::call(n, -1) };
        tasks.push(scene.submit(call).expect("accepted"));
    }
    for (n, result) in (0..60).zip(wait_all(tasks, None).expect("without a timeout")) {
        match result {
            Ok(value) => assert!(value == n && n % 3 != 0),
            Err(error) => assert!(error.status() == TaskStatus::Crashed && n % 3 == 0, "{error}"),
        }
    }
}

fn death_in_the_middle_of_a_map(scene: &Scene) {
    // Long enough for packs of hundreds.
    let bad = [7_000, 7_001, 12_345, 19_999];
    let element = |n: i64| tasks::die_at::call(n, if bad.contains(&n) { n } else { -1 });
    let mut next = 0;
    for (n, result) in (0..).zip(scene.map((0..20_000).map(element))) {
        match result {
            Ok(value) => assert!(value == n && !bad.contains(&n), "{value} in the place of {n}"),
            Err(error) => {
                assert_eq!(error.status(), TaskStatus::Crashed, "{n}: {error}");
                assert!(bad.contains(&n), "{n}: {error}");
            }
        }
        next = n + 1;
    }
    assert_eq!(next, 20_000);
    assert_eq!(scene.info().ended.crashed, 4);
}

/// As error handling of C libraries does it. It harms nobody.
fn a_long_jump_in_c(scene: &Scene) {
    assert_eq!(scene.run(in_c::call("long jump")).expect("it returns"), 7);
}
