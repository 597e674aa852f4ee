//! A picture of a thread, as the coordinator reads it: copied once, and every number of it checked or only shown.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use super::layout::{MAPS_BYTES, Picture, STATUS_BYTES};
use super::maps::{self, Module};
use crate::shm::Board;
use crate::sys::snapshot::{
    AARCH64, ADDRESS, ARCHITECTURE, BESIDE, CODE, COUNT, HEAD_WORDS, MAPS_LENGTH, PAINTED,
    REGISTERS, REGISTERS_MAX, SENDER, SIGNAL, STACK_BYTES, STACK_FROM, STACK_LENGTH, STATE,
    STATUS_LENGTH, THREAD_NAME, X86_64,
};

/// A picture of a thread that a signal had stopped.
#[derive(Debug)]
pub(crate) struct Painting {
    /// Number and attempt of the task that ran.
    pub(crate) of: (u64, u32),
    pub(crate) signal: i32,
    /// `si_code` of sigaction(2).
    pub(crate) code: i32,
    pub(crate) address: u64,
    pub(crate) sender: u32,
    pub(crate) thread_name: String,
    pub(crate) registers: Option<Registers>,
    pub(crate) stack: StackBytes,
    /// Code that was mapped.
    pub(crate) modules: Vec<Module>,
    /// The most memory that the process had had in RAM, in bytes.
    pub(crate) peak_memory: Option<u64>,
    /// When it was read; the files of the modules were as they were before.
    pub(crate) at: SystemTime,
}

/// The registers of a thread, by their numbers in DWARF.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Registers {
    pub(crate) architecture: Architecture,
    pub(crate) values: [u64; REGISTERS_MAX],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Architecture {
    X86_64,
    Aarch64,
}

impl Architecture {
    pub(crate) fn stack_pointer(self) -> usize {
        match self {
            Self::X86_64 => 7,
            Self::Aarch64 => 31,
        }
    }

    pub(crate) fn instruction_pointer(self) -> usize {
        match self {
            Self::X86_64 => 16,
            Self::Aarch64 => 32,
        }
    }
}

impl Registers {
    pub(crate) fn stack_pointer(&self) -> u64 {
        self.values[self.architecture.stack_pointer()]
    }

    pub(crate) fn instruction_pointer(&self) -> u64 {
        self.values[self.architecture.instruction_pointer()]
    }
}

/// A piece of a stack.
#[derive(Debug, Default)]
pub(crate) struct StackBytes {
    pub(crate) from: u64,
    pub(crate) bytes: Vec<u8>,
}

impl StackBytes {
    /// The word at this address, if it is in the piece.
    pub(crate) fn word(&self, address: u64) -> Option<u64> {
        let offset = usize::try_from(address.checked_sub(self.from)?).ok()?;
        let word = self.bytes.get(offset..)?.first_chunk()?;
        Some(u64::from_le_bytes(*word))
    }
}

impl Painting {
    /// The picture there, if there is one. `of`: only if it is of this task and attempt.
    pub(super) fn read(board: &Board, picture: &Picture, of: Option<(u64, u32)>) -> Option<Self> {
        let head: &[AtomicU64; HEAD_WORDS] = board.words(picture.head);
        // Acquire: pairs with the release in `Canvas::paint`.
        let is_painted = || head[STATE].load(Ordering::Acquire) == PAINTED;
        let word = |index: usize| head[index].load(Ordering::Acquire);
        let count = word(COUNT);
        if !is_painted() {
            return None;
        }
        let whose = (word(BESIDE), word(BESIDE + 1) as u32);
        if of.is_some_and(|of| of != whose) {
            return None;
        }
        let copy = |at, length: usize, max: usize| {
            let length = usize::try_from(word(length)).unwrap_or(max).min(max);
            let mut bytes = Vec::new();
            board.append_to(at, length, &mut bytes);
            bytes
        };
        let bytes = copy(picture.stack, STACK_LENGTH, STACK_BYTES);
        let painting = Self {
            of: whose,
            signal: word(SIGNAL) as i32,
            code: word(CODE) as i32,
            address: word(ADDRESS),
            sender: word(SENDER) as u32,
            thread_name: name([word(THREAD_NAME), word(THREAD_NAME + 1)]),
            registers: registers(word(ARCHITECTURE), |index| word(REGISTERS + index)),
            stack: StackBytes { from: word(STACK_FROM), bytes },
            modules: maps::modules(&copy(picture.maps, MAPS_LENGTH, MAPS_BYTES)),
            peak_memory: peak_memory(&copy(picture.status, STATUS_LENGTH, STATUS_BYTES)),
            at: SystemTime::now(),
        };
        // A living thread may have been asked again meanwhile.
        (is_painted() && word(COUNT) == count).then_some(painting)
    }
}

fn name(words: [u64; 2]) -> String {
    let bytes = words.map(u64::to_ne_bytes).concat();
    let length = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..length]).into_owned()
}

fn registers(architecture: u64, word: impl Fn(usize) -> u64) -> Option<Registers> {
    let architecture = match architecture {
        X86_64 => Architecture::X86_64,
        AARCH64 => Architecture::Aarch64,
        _ => return None,
    };
    Some(Registers { architecture, values: std::array::from_fn(word) })
}

/// Of /proc/self/status, see `proc_pid_status(5)`.
fn peak_memory(status: &[u8]) -> Option<u64> {
    let status = String::from_utf8_lossy(status);
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_outside_of_the_piece_are_not_read() {
        let stack = StackBytes { from: 100, bytes: (0..20).collect() };
        assert_eq!(stack.word(100), Some(u64::from_le_bytes([0, 1, 2, 3, 4, 5, 6, 7])));
        assert!(stack.word(112).is_some());
        for outside in [0, 99, 113, 120, u64::MAX] {
            assert_eq!(stack.word(outside), None, "{outside}");
        }
    }

    #[test]
    fn the_peak_is_found_or_not() {
        assert_eq!(peak_memory(b"Name:\tx\nVmHWM:\t    1234 kB\nVmRSS:\t 5 kB\n"), Some(1_263_616));
        for other in
            [&b""[..], b"VmHWM:", b"VmHWM: 7 MB", b"VmHWM: 99999999999999999999 kB\n", &[0xff]]
        {
            assert_eq!(peak_memory(other), None);
        }
    }

    #[test]
    fn names_end_at_a_zero_or_with_the_words() {
        let words = |text: &[u8; 16]| {
            let (one, two) = text.split_at(8);
            [one, two].map(|half| u64::from_ne_bytes(half.try_into().expect("eight bytes")))
        };
        assert_eq!(name(words(b"atasker-worker\0\0")), "atasker-worker");
        assert_eq!(name(words(b"0123456789abcdef")), "0123456789abcdef");
        assert_eq!(name([0, 0]), "");
    }
}
