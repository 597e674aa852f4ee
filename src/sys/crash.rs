//! Handlers for signals by which a process is about to die, and for the one by which it is asked where it is.
//!
//! They paint a picture ([`Canvas`]) and then let happen what would have happened without them: the handler that
//! was there before is called (of Rust's, the one that tells of a stack overflow), and the process dies by the same
//! signal.
#![expect(unsafe_code, reason = "signal handlers")]

use std::io;
use std::mem::MaybeUninit;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use super::process::thread_id;
use super::snapshot::Canvas;

/// Those that a process raises by a fault of its own, or by giving up.
const DEADLY: [libc::c_int; 7] = [
    libc::SIGSEGV,
    libc::SIGBUS,
    libc::SIGILL,
    libc::SIGFPE,
    libc::SIGABRT,
    libc::SIGTRAP,
    libc::SIGSYS,
];

/// Its own stack for the handlers of the thread that installs them. Those of others run on what Rust gives them.
const STACK_BYTES: usize = 64 << 10;

struct Handlers {
    crash: Canvas,
    inquiry: Canvas,
    /// In a fork of it nothing is painted.
    process: u32,
    before: [libc::sigaction; DEADLY.len()],
}

static HANDLERS: OnceLock<Handlers> = OnceLock::new();
/// The thread whose earlier handler runs now: should that one abort, the fault before says more.
static CHAINING: AtomicU32 = AtomicU32::new(0);

/// The signal by which a process is asked to paint the thread that gets it.
pub(crate) fn inquiry_signal() -> libc::c_int {
    // In the middle: those at the ends are the first that others take.
    libc::SIGRTMIN() + 13
}

/// From now on, what this process dies of is painted to `crash`, and what a thread does that is asked to
/// `inquiry`. To be called once, by the thread that is the most likely to overflow its stack.
pub(crate) fn install(crash: Canvas, inquiry: Canvas) -> io::Result<()> {
    let before = {
        let mut before = [const { MaybeUninit::<libc::sigaction>::zeroed() }; DEADLY.len()];
        for (signal, before) in DEADLY.iter().zip(&mut before) {
            // SAFETY: nothing is set, and the action goes into this frame's memory.
            unsafe { libc::sigaction(*signal, std::ptr::null(), before.as_mut_ptr()) };
        }
        // SAFETY: a zeroed action is valid, and the kernel wrote over it.
        before.map(|before| unsafe { before.assume_init() })
    };
    let process = std::process::id();
    if HANDLERS.set(Handlers { crash, inquiry, process, before }).is_err() {
        return Err(io::Error::other("handlers of crashes are installed once"));
    }
    give_stack()?;
    for signal in DEADLY {
        handle(signal, on_deadly, 0)?;
    }
    handle(inquiry_signal(), on_inquiry, libc::SA_RESTART)
}

pub(super) type Handler = extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void);

pub(super) fn handle(signal: libc::c_int, handler: Handler, flags: libc::c_int) -> io::Result<()> {
    let action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: a zeroed action is a valid one: no flags, an empty mask, the default.
    let mut action = unsafe { action.assume_init() };
    action.sa_sigaction = handler as libc::sighandler_t;
    action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | flags;
    // SAFETY: the mask is this frame's.
    unsafe { libc::sigaddset(&raw mut action.sa_mask, inquiry_signal()) };
    // SAFETY: the action is fully initialised, and its handler does only what a handler may.
    let result = unsafe { libc::sigaction(signal, &raw const action, std::ptr::null_mut()) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Give the current thread a stack for handlers, with a page below that nobody can touch. It is never taken back.
fn give_stack() -> io::Result<()> {
    const GUARD_BYTES: usize = 64 << 10;
    // SAFETY: a new anonymous mapping at an address of the kernel's choice touches nothing that exists.
    let base = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            GUARD_BYTES + STACK_BYTES,
            libc::PROT_NONE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_STACK,
            -1,
            0,
        )
    };
    if base == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    let stack = base.wrapping_byte_add(GUARD_BYTES);
    let access = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: this is the upper part of what was mapped above.
    if unsafe { libc::mprotect(stack, STACK_BYTES, access) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let stack = libc::stack_t { ss_sp: stack, ss_flags: 0, ss_size: STACK_BYTES };
    // SAFETY: the memory is the stack's for good.
    if unsafe { libc::sigaltstack(&raw const stack, std::ptr::null_mut()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

extern "C" fn on_inquiry(
    signal: libc::c_int,
    information: *mut libc::siginfo_t,
    context: *mut libc::c_void,
) {
    let error = ErrorNumber::save();
    if let Some(handlers) = HANDLERS.get()
        && is_original(handlers)
    {
        handlers.inquiry.paint(signal, information, context);
    }
    error.restore();
}

extern "C" fn on_deadly(
    signal: libc::c_int,
    information: *mut libc::siginfo_t,
    context: *mut libc::c_void,
) {
    let error = ErrorNumber::save();
    let Some(handlers) = HANDLERS.get() else { return };
    let thread = thread_id();
    let is_consequence = signal == libc::SIGABRT && CHAINING.load(Ordering::Relaxed) == thread;
    if is_original(handlers) && !is_consequence {
        handlers.crash.paint(signal, information, context);
    }
    let index = DEADLY.iter().position(|deadly| *deadly == signal).unwrap_or(0);
    let before = &handlers.before[index];
    let comes_again = comes_again(signal, information);
    match before.sa_sigaction {
        libc::SIG_IGN if !comes_again => {}
        libc::SIG_DFL | libc::SIG_IGN => {
            // SAFETY: the action is the one that was there before.
            unsafe { libc::sigaction(signal, before, std::ptr::null_mut()) };
            if !comes_again {
                raise(signal);
            }
        }
        handler => {
            CHAINING.store(thread, Ordering::Relaxed);
            call(handler, before.sa_flags, signal, information, context);
            CHAINING.store(0, Ordering::Relaxed);
            // What only takes itself away expects the fault to come again. One that was sent does not.
            if !comes_again && is_default(signal) {
                raise(signal);
            }
        }
    }
    error.restore();
}

fn call(
    handler: libc::sighandler_t,
    flags: libc::c_int,
    signal: libc::c_int,
    information: *mut libc::siginfo_t,
    context: *mut libc::c_void,
) {
    if flags & libc::SA_SIGINFO == 0 {
        // SAFETY: without SA_SIGINFO a handler that is neither the default nor none is of this type.
        let handler: extern "C" fn(libc::c_int) = unsafe { std::mem::transmute(handler) };
        handler(signal);
    } else {
        // SAFETY: with SA_SIGINFO it is of this one.
        let handler: Handler = unsafe { std::mem::transmute(handler) };
        handler(signal, information, context);
    }
}

/// A fork of the process has the handlers and shares the memory, but its death is none of the reader's.
fn is_original(handlers: &Handlers) -> bool {
    // SAFETY: no preconditions. (Not `std::process::id`, of which nobody says what it does in a handler.)
    let process = unsafe { libc::getpid() };
    process.cast_unsigned() == handlers.process
}

/// Whether the instruction is repeated when the handler returns, and faults again.
fn comes_again(signal: libc::c_int, information: *const libc::siginfo_t) -> bool {
    const BUS_MCEERR_AO: libc::c_int = 5;
    // SAFETY: the kernel gives a handler with SA_SIGINFO a valid one.
    let code = unsafe { information.as_ref() }.map_or(0, |information| information.si_code);
    let faults = [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE].contains(&signal);
    faults && code > 0 && !(signal == libc::SIGBUS && code == BUS_MCEERR_AO)
}

fn is_default(signal: libc::c_int) -> bool {
    let mut now = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: nothing is set, and the action goes into this frame's memory.
    unsafe { libc::sigaction(signal, std::ptr::null(), now.as_mut_ptr()) };
    // SAFETY: a zeroed action is valid, and the kernel wrote over it.
    unsafe { now.assume_init() }.sa_sigaction == libc::SIG_DFL
}

/// It is delivered when the handler returns.
fn raise(signal: libc::c_int) {
    // SAFETY: no preconditions.
    let process = unsafe { libc::getpid() };
    // SAFETY: a signal to the own thread.
    unsafe { libc::syscall(libc::SYS_tgkill, process, thread_id(), signal) };
}

/// What a handler must leave as it was.
struct ErrorNumber(libc::c_int);

impl ErrorNumber {
    fn save() -> Self {
        // SAFETY: no preconditions.
        let place = unsafe { libc::__errno_location() };
        // SAFETY: it is this thread's own.
        Self(unsafe { *place })
    }

    fn restore(&self) {
        // SAFETY: no preconditions.
        let place = unsafe { libc::__errno_location() };
        // SAFETY: it is this thread's own.
        unsafe { *place = self.0 };
    }
}
