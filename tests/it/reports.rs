//! What a report of a crash says. The worker's end is attacked by the tasks themselves: they fault in every way, and
//! write over what is to be read.

#![expect(
    clippy::undocumented_unsafe_blocks,
    clippy::multiple_unsafe_ops_per_block,
    reason = "nothing of it is safe: the crash is the purpose"
)]

use std::fs::File;
use std::path::Path;

use atasker::{CrashReport, ExitCause, Supervisor, TaskError, task};

use crate::tasks;
use crate::watch::{each_transport, is_alive};

#[task]
fn crash(how: &str) -> u64 {
    eprintln!("about to crash by {how}");
    atasker::breadcrumb!("crashing by {}", how);
    crash_now(how)
}

#[inline(never)]
#[expect(unsafe_code, reason = "real faults are what is tested")]
fn crash_now(how: &str) -> u64 {
    let address = |address| std::ptr::without_provenance_mut::<u64>(std::hint::black_box(address));
    match how {
        "null" => unsafe { address(0).write_volatile(1) },
        "null with an offset" => unsafe { address(0x48).write_volatile(1) },
        "a wild address" => unsafe { address(0x1234_5678_9000).write_volatile(1) },
        "a constant" => {
            static CONSTANT: u64 = 7;
            let constant = std::ptr::from_ref(&CONSTANT).cast_mut();
            unsafe { std::hint::black_box(constant).write_volatile(1) };
        }
        "no address" => unsafe { address(0x4141_4141_4141_4140).write_volatile(1) },
        "a jump to null" => {
            let function = std::hint::black_box(8_usize);
            // Through a pointer of C's: Rust's may be assumed to lead somewhere.
            let function: extern "C" fn() = unsafe { std::mem::transmute(function) };
            function();
        }
        "a thread" => {
            let thread = std::thread::Builder::new().name("helper".to_owned());
            let thread = thread.spawn(|| crash_now("null")).expect("a thread");
            thread.join().expect("never");
        }
        "a stack overflow" => return deeper(0),
        "a stack overflow in a thread" => {
            std::thread::spawn(|| deeper(0)).join().expect("never");
        }
        "divide" => divide_by_zero(),
        "trap" => trap(),
        "illegal" => illegal(),
        "abort" => std::process::abort(),
        "raise" => _ = unsafe { libc::raise(libc::SIGSEGV) },
        "exit" => std::process::exit(3),
        "kill" => _ = unsafe { libc::kill(libc::getpid(), libc::SIGKILL) },
        "panic" => panic!("as {how} asks"),
        "panic twice" => {
            struct Bomb;
            impl Drop for Bomb {
                fn drop(&mut self) {
                    panic!("the second");
                }
            }
            let _bomb = Bomb;
            panic!("the first");
        }
        "panic where it aborts" => {
            extern "C" fn no_unwinding() {
                panic!("within C");
            }
            no_unwinding();
        }
        "allocation" => drop(std::hint::black_box(
            std::alloc::Layout::from_size_align(1 << 46, 1)
                .map(|layout| std::alloc::handle_alloc_error(layout)),
        )),
        other => panic!("no such crash: {other}"),
    }
    0
}

#[inline(never)]
#[expect(unconditional_recursion, reason = "it is to overflow")]
fn deeper(depth: u64) -> u64 {
    let page = std::hint::black_box([depth; 512]);
    deeper(depth + 1) + page[3]
}

#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "the compiler would not divide by zero")]
fn divide_by_zero() {
    // SAFETY: the trap is the purpose.
    unsafe {
        std::arch::asm!("xor edx, edx", "xor ecx, ecx", "mov eax, 1", "div ecx", out("eax") _, out("ecx") _, out("edx") _);
    };
}

#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "a trap is what is tested")]
fn trap() {
    // SAFETY: the trap is the purpose.
    unsafe { std::arch::asm!("int3") };
}

#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "an illegal instruction is what is tested")]
fn illegal() {
    // SAFETY: the trap is the purpose.
    unsafe { std::arch::asm!("ud2") };
}

/// Reads a mapped file beyond where it was cut off.
#[task]
#[expect(unsafe_code, reason = "SIGBUS can only be had from a mapping")]
fn read_beyond(path: &Path) -> u8 {
    use std::os::fd::AsRawFd;
    let file = File::options().read(true).write(true).open(path).expect("the test has made it");
    let (protection, flags) = (libc::PROT_READ, libc::MAP_SHARED);
    // SAFETY: a new mapping.
    let bytes =
        unsafe { libc::mmap(std::ptr::null_mut(), 8192, protection, flags, file.as_raw_fd(), 0) };
    file.set_len(0).expect("it can be cut off");
    // SAFETY: none; the crash is the purpose.
    unsafe { bytes.cast::<u8>().add(4096).read_volatile() }
}

fn report_of(supervisor: &Supervisor, how: &str) -> (TaskError, CrashReport) {
    let error = supervisor.submit(crash::call(how)).expect("accepted").wait().unwrap_err();
    let report = error.crash().unwrap_or_else(|| panic!("{how}: {error}")).clone();
    assert!(!is_alive(report.pid), "{how}");
    (error, report)
}

/// `signals`: that of the fault, and that of the death.
fn check(how: &'static str, signals: (i32, i32), words: &'static str, function: &'static str) {
    each_transport(|supervisor| {
        let supervisor = supervisor(1);
        let (error, report) = report_of(&supervisor, how);
        assert_eq!(report.cause, ExitCause::Signal(signals.1), "{how}: {error}");
        let fault = report.fault.as_ref().unwrap_or_else(|| panic!("{how}: no fault: {error}"));
        assert_eq!(fault.signal, signals.0, "{how}: {error}");
        let likely = report.likely_cause.as_deref().unwrap_or_default();
        assert!(likely.contains(words), "{how}: {likely:?} is not {words:?}: {report:?}");
        assert_eq!(report.breadcrumbs, [format!("crashing by {how}")]);
        let is_cut = report.stderr.len() >= 16 << 10;
        let began = report.stderr.contains(&format!("about to crash by {how}"));
        assert!(began || is_cut, "{}", report.stderr);
        let backtrace = report.backtrace().expect("there is a picture");
        let index = backtrace
            .frames
            .iter()
            .position(|frame| frame.function.as_ref().is_some_and(|name| name.ends_with(function)));
        let index = index.unwrap_or_else(|| panic!("{how}: no {function} in\n{backtrace}"));
        let file = backtrace.frames[index].file.as_deref().unwrap_or_default();
        assert!(file.ends_with("it/reports.rs"), "{how}: {backtrace}");
        assert!(backtrace.frames[index].line.is_some(), "{how}: {backtrace}");
        let text = error.to_string();
        assert!(!text.contains('\n') && text.len() < 800, "{how}: {text}");
        assert!(report.cpu_time.is_some() && report.arguments.is_some(), "{how}: {report:?}");
        let next = supervisor.submit(tasks::add::call(2, 3)).expect("accepted").wait();
        assert_eq!(next.expect("the pool goes on"), 5);
    });
}

const SEGV: (i32, i32) = (libc::SIGSEGV, libc::SIGSEGV);

#[test]
fn the_arguments_are_those_of_the_call_of_a_map_that_crashed() {
    crate::watch::watched(|| {
        let supervisor = Supervisor::builder().processes(atasker::Limits::new(2)).start();
        let supervisor = supervisor.expect("workers start");
        let of = |error: TaskError| error.crash().expect("it crashed").arguments.expect("known");
        let alone = |n| {
            let task = supervisor.submit(tasks::die_at::call(n, n)).expect("accepted");
            of(task.wait().expect_err("it dies"))
        };
        for bad in [0, 1, 77, 199] {
            let calls = (0..200).map(|n| tasks::die_at::call(n, bad));
            let crashed: Vec<_> = supervisor.map(calls).filter_map(Result::err).collect();
            let [error] = <[TaskError; 1]>::try_from(crashed).expect("one crashes");
            assert_eq!(of(error), alone(bad));
        }
    });
}

#[test]
fn a_null_pointer() {
    check("null", SEGV, "null pointer (address 0x0)", "reports::crash_now");
    check("null with an offset", SEGV, "null pointer (address 0x48)", "reports::crash_now");
}

#[test]
fn other_pointers() {
    check("a wild address", SEGV, "0x123456789000", "reports::crash_now");
    check("a constant", SEGV, "may only be read", "reports::crash_now");
    #[cfg(target_arch = "x86_64")]
    check("no address", SEGV, "no address can be like", "reports::crash_now");
    check("a jump to null", SEGV, "called or jumped to 0x8", "reports::crash_now");
}

#[test]
fn a_thread_of_the_task() {
    check("a thread", SEGV, "null pointer", "reports::crash_now");
    each_transport(|supervisor| {
        let (_, report) = report_of(&supervisor(1), "a thread");
        assert_eq!(report.fault.expect("it faults").thread, "helper");
    });
}

#[test]
fn stacks_that_overflow() {
    let signals = (libc::SIGSEGV, libc::SIGABRT);
    for how in ["a stack overflow", "a stack overflow in a thread"] {
        check(how, signals, "stack has overflowed", "reports::deeper");
    }
    each_transport(|supervisor| {
        let (error, report) = report_of(&supervisor(1), "a stack overflow");
        assert!(report.stderr.contains("has overflowed its stack"), "Rust's own words: {error}");
    });
}

#[test]
#[cfg(target_arch = "x86_64")]
fn faults_of_the_processor() {
    let twice = |signal| (signal, signal);
    check("divide", twice(libc::SIGFPE), "divided by zero", "reports::divide_by_zero");
    check("illegal", twice(libc::SIGILL), "must not reach", "reports::illegal");
    check("trap", twice(libc::SIGTRAP), "breakpoint", "reports::trap");
}

#[test]
fn a_file_that_was_cut_off() {
    each_transport(|supervisor| {
        let file = tempfile::NamedTempFile::new().expect("a file");
        file.as_file().set_len(8192).expect("it is made longer");
        let supervisor = supervisor(1);
        let task = supervisor.submit(read_beyond::call(file.path())).expect("accepted");
        let error = task.wait().unwrap_err();
        let report = error.crash().expect("it crashes");
        assert_eq!(report.cause, ExitCause::Signal(libc::SIGBUS), "{error}");
        assert!(report.likely_cause.as_ref().is_some_and(|text| text.contains("cut off")));
        let culprit = report.backtrace().and_then(|backtrace| backtrace.culprit()).expect("known");
        assert!(culprit.to_string().contains("reports::read_beyond"), "{culprit}");
    });
}

#[test]
fn an_abort_and_what_aborts() {
    let twice = |signal| (signal, signal);
    let abort = twice(libc::SIGABRT);
    check("abort", abort, "aborted by itself", "reports::crash_now");
    check("allocation", abort, "no memory", "reports::crash_now");
    check("panic twice", abort, "it panicked: the first (at", "reports::crash_now");
    check("panic where it aborts", abort, "it panicked: within C (at", "no_unwinding");
    each_transport(|supervisor| {
        let supervisor = supervisor(1);
        let (_, report) = report_of(&supervisor, "panic twice");
        let messages: Vec<_> = report.panics.iter().map(|panic| &*panic.message).collect();
        assert_eq!(messages[..2], ["the first", "the second"]);
        // A panic that was caught is not blamed for what came after.
        let caught = supervisor.submit(crash::call("panic")).expect("accepted").wait();
        assert!(caught.unwrap_err().crash().is_none());
        let (error, report) = report_of(&supervisor, "abort");
        assert!(report.panics.is_empty(), "{error}");
    });
}

#[test]
fn a_signal_that_was_sent() {
    check("raise", SEGV, "", "reports::crash_now");
    each_transport(|supervisor| {
        let (error, report) = report_of(&supervisor(1), "kill");
        assert_eq!(report.cause, ExitCause::Signal(libc::SIGKILL));
        assert!(report.fault.is_none() && report.backtrace().is_none());
        assert!(error.to_string().contains("somebody has sent it SIGKILL"), "{error}");
        assert_eq!(report.breadcrumbs, ["crashing by kill"]);
    });
}

#[test]
fn an_exit() {
    each_transport(|supervisor| {
        let (error, report) = report_of(&supervisor(1), "exit");
        assert_eq!(report.cause, ExitCause::Code(3));
        assert!(error.to_string().contains("with exit(3)"), "{error}");
    });
}

#[test]
fn frames_end_with_the_tasks_function() {
    each_transport(|supervisor| {
        let (_, report) = report_of(&supervisor(1), "null");
        let backtrace = report.backtrace().expect("there is a picture");
        let last = backtrace.frames.last().and_then(|frame| frame.function.as_deref());
        assert!(last.is_some_and(|name| name.ends_with("reports::crash")), "{backtrace}");
        let culprit = backtrace.culprit().expect("there is one").to_string();
        assert!(culprit.contains("crash_now") && culprit.contains("reports.rs:"), "{culprit}");
    });
}

/// Where the worker has its box.
fn black_box() -> std::ops::Range<usize> {
    let maps = std::fs::read_to_string("/proc/self/maps").expect("procfs");
    let line = maps.lines().find(|line| line.contains("blackbox-of-atasker")).expect("it has one");
    let (from, to) = line.split(' ').next().and_then(|range| range.split_once('-')).expect("two");
    let number = |text| usize::from_str_radix(text, 16).expect("hexadecimal");
    number(from)..number(to)
}

/// Spoils its worker in some way, and crashes.
#[task]
#[expect(unsafe_code, reason = "the black box is attacked")]
fn spoil_and_crash(how: &str, seed: u64) -> u64 {
    let fill = |value: &mut dyn FnMut() -> u8| {
        for address in black_box() {
            let byte = std::ptr::with_exposed_provenance_mut::<u8>(address);
            // SAFETY: the address is mapped for writing; that nothing should be written there is the point.
            unsafe { byte.write_volatile(value()) };
        }
    };
    let mut random = seed;
    let mut next = || {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(0x5851_f42d);
        (random >> 48) as u8
    };
    match how {
        "ones before" => fill(&mut || 0xff),
        "junk before" => fill(&mut next),
        // Once it is painted: from a handler that comes behind.
        "closes everything" => {
            // SAFETY: the descriptors of others are closed; that is the point.
            unsafe { libc::close_range(0, libc::c_uint::MAX, 0) };
        }
        "blocks all signals" => {
            let mut all = std::mem::MaybeUninit::uninit();
            // SAFETY: the set is this frame's.
            unsafe { libc::sigfillset(all.as_mut_ptr()) };
            // SAFETY: it was filled above.
            unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, all.as_ptr(), std::ptr::null_mut()) };
        }
        "handles by itself" => handle(libc::SIGSEGV, exit_with_7),
        "no handlers" => {
            for signal in [libc::SIGSEGV, libc::SIGABRT] {
                // SAFETY: the default is restored.
                unsafe { libc::signal(signal, libc::SIG_DFL) };
            }
        }
        "no stack pointer" => crash_without_stack(),
        "in a fork" => {
            // SAFETY: the child only crashes.
            if unsafe { libc::fork() } == 0 {
                crash_now("null");
            }
            let mut status = 0;
            // SAFETY: the status is this frame's.
            unsafe { libc::wait(&raw mut status) };
            assert_eq!(libc::WTERMSIG(status), libc::SIGSEGV, "a fork dies like any other");
        }
        other => panic!("no such thing: {other}"),
    }
    crash_now("null")
}

extern "C" fn exit_with_7(_signal: i32) {
    // SAFETY: it ends the process.
    #[expect(unsafe_code, reason = "nothing else ends a process in a handler")]
    unsafe {
        libc::_exit(7)
    };
}

#[expect(unsafe_code, reason = "handlers are installed through libc")]
fn handle(signal: i32, handler: extern "C" fn(i32)) {
    // SAFETY: the handler does only what a handler may.
    unsafe { libc::signal(signal, handler as *const () as libc::sighandler_t) };
}

#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "no safe code loses its stack")]
fn crash_without_stack() {
    // SAFETY: none; nothing returns from here.
    unsafe { std::arch::asm!("mov rsp, 0x41414141", "mov [rsp], rax", options(noreturn)) };
}

#[test]
fn a_spoilt_worker_costs_its_report_and_nothing_else() {
    for (how, cause) in [
        ("ones before", ExitCause::Signal(libc::SIGSEGV)),
        ("junk before", ExitCause::Signal(libc::SIGSEGV)),
        ("closes everything", ExitCause::Signal(libc::SIGSEGV)),
        ("blocks all signals", ExitCause::Signal(libc::SIGSEGV)),
        ("handles by itself", ExitCause::Code(7)),
        ("no handlers", ExitCause::Signal(libc::SIGSEGV)),
        #[cfg(target_arch = "x86_64")]
        ("no stack pointer", ExitCause::Signal(libc::SIGSEGV)),
        ("in a fork", ExitCause::Signal(libc::SIGSEGV)),
    ] {
        each_transport(|supervisor| {
            let supervisor = supervisor(1);
            for seed in 0..3 {
                let task = supervisor.submit(spoil_and_crash::call(how, seed)).expect("accepted");
                let error = task.wait().unwrap_err();
                let report = error.crash().unwrap_or_else(|| panic!("{how}: {error}"));
                assert_eq!(report.cause, cause, "{how}: {error}");
                // Whatever it is, it is short and can be read.
                let backtrace = report.backtrace().map(ToString::to_string).unwrap_or_default();
                assert!(error.to_string().len() < 2000, "{how}: {error}");
                assert!(backtrace.lines().count() <= 128, "{how}: {backtrace}");
                assert!(report.breadcrumbs.len() <= 32 && report.panics.len() <= 4, "{how}");
                if how == "in a fork" || how == "closes everything" {
                    assert!(backtrace.contains("reports::crash_now"), "{how}: {backtrace}");
                }
            }
            let next = supervisor.submit(tasks::add::call(2, 3)).expect("accepted").wait();
            assert_eq!(next.expect("the pool goes on"), 5);
        });
    }
}

/// Writes, and crashes if it is to.
#[task]
fn say(text: &str, crashes: bool) -> usize {
    eprintln!("{text}");
    atasker::breadcrumb!("{text}");
    if crashes { crash_now("null") as usize } else { text.len() }
}

#[test]
fn a_report_quotes_its_own_task_only() {
    each_transport(|supervisor| {
        let supervisor = supervisor(1);
        supervisor.submit(say::call("the first", false)).expect("accepted").wait().expect("runs");
        let error = supervisor.submit(say::call("the second", true)).expect("accepted").wait();
        let error = error.unwrap_err();
        let report = error.crash().expect("it crashes");
        assert_eq!(report.breadcrumbs, ["the second"]);
        assert!(report.stderr.contains("the second"), "{}", report.stderr);
    });
}
