//! A picture of a thread that was stopped by a signal: what the signal says, the registers, a piece of the stack,
//! and what this process has mapped, copied into memory that somebody else reads.
//!
//! Runs within signal handlers, on stacks of few kilobytes, in a process in any state: nothing here allocates,
//! locks or panics, and large copies are made by the kernel, which fails where this process would fault
//! (signal-safety(7)).
#![expect(unsafe_code, reason = "what a signal handler is given are pointers")]

use std::ffi::CStr;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

/// How many words the head of a picture has.
pub(crate) const HEAD_WORDS: usize = 64;

// Words of the head.

/// Zero, [`PAINTED`], or in between.
pub(crate) const STATE: usize = 0;
pub(crate) const SIGNAL: usize = 1;
/// `si_code` of sigaction(2).
pub(crate) const CODE: usize = 2;
/// Of a fault: what was accessed, or what did it.
pub(crate) const ADDRESS: usize = 3;
/// Of a signal that was sent: by which process.
pub(crate) const SENDER: usize = 4;
/// Two words of text, up to a zero.
pub(crate) const THREAD_NAME: usize = 6;
pub(crate) const ARCHITECTURE: usize = 8;
pub(crate) const STACK_FROM: usize = 9;
pub(crate) const STACK_LENGTH: usize = 10;
pub(crate) const MAPS_LENGTH: usize = 11;
pub(crate) const STATUS_LENGTH: usize = 12;
/// Copies of the two words [beside](Canvas::new).
pub(crate) const BESIDE: usize = 13;
/// How many pictures were painted here.
pub(crate) const COUNT: usize = 15;
/// By their numbers in DWARF.
pub(crate) const REGISTERS: usize = 16;
pub(crate) const REGISTERS_MAX: usize = 33;

const PAINTING: u64 = 1;
pub(crate) const PAINTED: u64 = 2;

pub(crate) const X86_64: u64 = 1;
pub(crate) const AARCH64: u64 = 2;

/// How much is looked at where the stack pointer points to nothing: a stack that has overflowed.
const UNREADABLE_MAX: usize = 16 * PIECE;
/// The kernel copies a piece or none of it. No page is smaller.
const PIECE: usize = 4096;
const PIECES: usize = 16;
/// Of the stack, at most.
pub(crate) const STACK_BYTES: usize = PIECES * PIECE;

/// Where a picture is painted.
#[derive(Debug)]
pub(crate) struct Canvas {
    head: &'static [AtomicU64; HEAD_WORDS],
    beside: &'static [AtomicU64; 2],
    stack: NonNull<u8>,
    maps: Part,
    status: Part,
}

/// Memory that only the kernel writes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Part {
    pub(crate) address: NonNull<u8>,
    pub(crate) length: usize,
}

// SAFETY: the pointers are only handed to the kernel, and one thread at a time paints, see `claim`.
unsafe impl Send for Canvas {}
// SAFETY: as above.
unsafe impl Sync for Canvas {}

impl Canvas {
    /// `beside`: two words that are copied along. `stack` has [`STACK_BYTES`]. All of the memory stays where it is
    /// for the life of this process; should it not, the kernel says so.
    pub(crate) fn new(
        head: &'static [AtomicU64; HEAD_WORDS],
        beside: &'static [AtomicU64; 2],
        stack: NonNull<u8>,
        maps: Part,
        status: Part,
    ) -> Self {
        Self { head, beside, stack, maps, status }
    }

    /// Paint what a signal handler was given. Nothing happens while another thread does.
    pub(super) fn paint(
        &self,
        signal: libc::c_int,
        information: *const libc::siginfo_t,
        context: *const libc::c_void,
    ) {
        let state = self.head[STATE].load(Ordering::Relaxed);
        // Acquire: nothing of this picture is written before the last one was.
        let claimed = state != PAINTING
            && self.head[STATE]
                .compare_exchange(state, PAINTING, Ordering::Acquire, Ordering::Relaxed)
                .is_ok();
        if !claimed {
            return;
        }
        self.put(SIGNAL, signal.cast_unsigned().into());
        self.put_information(information);
        self.put_thread_name();
        for (index, word) in self.beside.iter().enumerate() {
            self.put(BESIDE + index, word.load(Ordering::Relaxed));
        }
        let stack_pointer = self.put_registers(context);
        let (from, length) = copy_stack(stack_pointer, self.stack);
        self.put(STACK_FROM, from as u64);
        self.put(STACK_LENGTH, length as u64);
        self.put(STATUS_LENGTH, copy_file(c"/proc/self/status", self.status) as u64);
        self.put(MAPS_LENGTH, copy_file(c"/proc/self/maps", self.maps) as u64);
        self.put(COUNT, self.head[COUNT].load(Ordering::Relaxed).wrapping_add(1));
        // Release: whoever sees it painted sees all of it.
        self.head[STATE].store(PAINTED, Ordering::Release);
    }

    fn put(&self, word: usize, value: u64) {
        self.head[word].store(value, Ordering::Relaxed);
    }

    fn put_information(&self, information: *const libc::siginfo_t) {
        // SAFETY: the kernel gives a handler with SA_SIGINFO a valid one.
        let Some(information) = (unsafe { information.as_ref() }) else { return };
        self.put(CODE, i64::from(information.si_code).cast_unsigned());
        // SAFETY: what the union has not is read as other bytes of it; nothing is followed.
        let address = unsafe { information.si_addr() };
        self.put(ADDRESS, address.addr() as u64);
        // SAFETY: as above.
        let sender = unsafe { information.si_pid() };
        self.put(SENDER, sender.cast_unsigned().into());
    }

    fn put_thread_name(&self) {
        let mut name = [0_u64; 2];
        // SAFETY: the name is of 16 bytes at most, its final zero included.
        unsafe { libc::prctl(libc::PR_GET_NAME, name.as_mut_ptr()) };
        self.put(THREAD_NAME, name[0]);
        self.put(THREAD_NAME + 1, name[1]);
    }

    /// The stack pointer, or zero where this is not known how to be found.
    fn put_registers(&self, context: *const libc::c_void) -> usize {
        // SAFETY: the kernel gives a handler with SA_SIGINFO a valid one.
        let Some(context) = (unsafe { context.cast::<libc::ucontext_t>().as_ref() }) else {
            return 0;
        };
        let (architecture, registers, stack_pointer) = registers(context);
        self.put(ARCHITECTURE, architecture);
        for (index, value) in registers.iter().enumerate() {
            self.put(REGISTERS + index, *value);
        }
        stack_pointer as usize
    }
}

/// The architecture, its registers by their numbers in DWARF, and the stack pointer.
#[cfg(target_arch = "x86_64")]
fn registers(context: &libc::ucontext_t) -> (u64, [u64; 17], u64) {
    // System V ABI for AMD64, figure 3.36.
    const ORDER: [libc::c_int; 17] = [
        libc::REG_RAX,
        libc::REG_RDX,
        libc::REG_RCX,
        libc::REG_RBX,
        libc::REG_RSI,
        libc::REG_RDI,
        libc::REG_RBP,
        libc::REG_RSP,
        libc::REG_R8,
        libc::REG_R9,
        libc::REG_R10,
        libc::REG_R11,
        libc::REG_R12,
        libc::REG_R13,
        libc::REG_R14,
        libc::REG_R15,
        libc::REG_RIP,
    ];
    let all = &context.uc_mcontext.gregs;
    let registers = ORDER.map(|register| all[register.cast_unsigned() as usize].cast_unsigned());
    (X86_64, registers, registers[7])
}

#[cfg(target_arch = "aarch64")]
fn registers(context: &libc::ucontext_t) -> (u64, [u64; 33], u64) {
    // DWARF for the Arm 64-bit architecture: x0 to x30, sp, pc.
    let all = &context.uc_mcontext;
    let mut registers = [0; 33];
    registers[..31].copy_from_slice(&all.regs);
    registers[31] = all.sp;
    registers[32] = all.pc;
    (AARCH64, registers, all.sp)
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn registers(_context: &libc::ucontext_t) -> (u64, [u64; 0], u64) {
    (0, [], 0)
}

/// Copy the stack from here on, or from a little above, to `target`. Where it begins, and how much it is.
fn copy_stack(stack_pointer: usize, target: NonNull<u8>) -> (usize, usize) {
    let mut from = stack_pointer & !7;
    let end = from.saturating_add(UNREADABLE_MAX);
    while from != 0 && from < end {
        let copied = copy_own_memory(from, target);
        if copied > 0 {
            return (from, copied);
        }
        from = (from & !(PIECE - 1)).saturating_add(PIECE);
    }
    (stack_pointer, 0)
}

fn copy_own_memory(from: usize, target: NonNull<u8>) -> usize {
    let here = libc::iovec { iov_base: target.as_ptr().cast(), iov_len: STACK_BYTES };
    let mut pieces =
        [const { libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 } }; PIECES + 1];
    let mut at = from;
    for piece in &mut pieces {
        let next = (at & !(PIECE - 1)).saturating_add(PIECE);
        piece.iov_base = std::ptr::without_provenance_mut(at);
        piece.iov_len = next - at;
        at = next;
    }
    // SAFETY: no preconditions.
    let process = unsafe { libc::getpid() };
    // SAFETY: the kernel checks the addresses on both sides and writes no more than `here` has room for, which
    // is nobody's but the reader's, who expects any bytes.
    let copied = unsafe {
        libc::process_vm_readv(process, &raw const here, 1, pieces.as_ptr(), PIECES as u64 + 1, 0)
    };
    usize::try_from(copied).unwrap_or(0)
}

/// Whether the copying above works here: some sandboxes forbid it.
pub(crate) fn can_copy_own_memory() -> bool {
    let (from, mut to) = ([7_u8; 8], [0_u8; 8]);
    let source = libc::iovec { iov_base: from.as_ptr().cast_mut().cast(), iov_len: from.len() };
    let target = libc::iovec { iov_base: to.as_mut_ptr().cast(), iov_len: to.len() };
    // SAFETY: no preconditions.
    let process = unsafe { libc::getpid() };
    // SAFETY: both pieces are this frame's, and what is read is only read.
    let copied =
        unsafe { libc::process_vm_readv(process, &raw const target, 1, &raw const source, 1, 0) };
    copied == 8 && to == from
}

/// Copy as much of a file as there is room for. How much it is.
fn copy_file(path: &CStr, target: Part) -> usize {
    // SAFETY: the path ends with a zero.
    let file = unsafe { libc::open(path.as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC) };
    if file < 0 {
        return 0;
    }
    let mut length = 0;
    while length < target.length {
        // SAFETY: within the part, since `length` is less.
        let to = unsafe { target.address.add(length) };
        // SAFETY: the kernel checks the address and writes no more than there is left of the part.
        let read = unsafe { libc::read(file, to.as_ptr().cast(), target.length - length) };
        match usize::try_from(read) {
            Ok(read) if read > 0 => length += read,
            _ => break,
        }
    }
    // SAFETY: opened above.
    unsafe { libc::close(file) };
    length.min(target.length)
}
