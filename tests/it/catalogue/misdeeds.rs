//! What the tasks of the catalogue do to their worker, beside `tasks::die`.

use std::ffi::{CString, c_char, c_int};
use std::path::Path;

use atasker::task;

/// Does what programs/misdeeds.c has under this name. What returns has not ended its process.
#[task]
#[expect(unsafe_code, reason = "the catalogue is about what native code does")]
pub(super) fn in_c(name: &str) -> i32 {
    unsafe extern "C" {
        fn misdeed(name: *const c_char) -> c_int;
    }
    let name = CString::new(name).expect("a plain name");
    // SAFETY: the name ends with a null byte. Nothing else is promised; that is the point.
    let answer = unsafe { misdeed(name.as_ptr()) };
    assert!(answer >= 0, "{name:?}: {answer}");
    answer
}

/// Panics where it is dropped.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("in Drop");
    }
}

#[task]
pub(super) fn panics(how: &str) -> String {
    match how {
        "with a string" => panic!("with a {}", "string"),
        "with a number" => std::panic::panic_any(5_u8),
        "in Drop" => drop(Bomb),
        "while unwinding" => {
            let _bomb = Bomb;
            panic!("the first");
        }
        "in a thread" => {
            let thread = std::thread::spawn(|| panic!("in a thread"));
            assert!(thread.join().is_err());
        }
        "in a thread that nobody joins" => {
            let thread = std::thread::spawn(|| panic!("in a thread"));
            while !thread.is_finished() {
                std::thread::yield_now();
            }
        }
        // As a program that is built with `panic = "abort"`: its hook runs, then it aborts.
        "in a program that aborts" => {
            let before = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |panic| {
                before(panic);
                std::process::abort();
            }));
            panic!("the last words");
        }
        other => panic!("no such panic: {other}"),
    }
    "alive".to_owned()
}

/// Asks for more memory than there is address space for.
#[task]
pub(super) fn allocate(bytes: usize) -> usize {
    std::hint::black_box(vec![1_u8; bytes]).len()
}

/// Touches so much memory, page by page.
#[task]
pub(super) fn touch(bytes: usize) -> usize {
    let mut memory = vec![0_u8; bytes];
    memory.iter_mut().step_by(4096).for_each(|byte| *byte = 1);
    std::hint::black_box(memory).len()
}

#[task]
pub(super) fn lock_twice() {
    let mutex = std::sync::Mutex::new(());
    let _held = mutex.lock();
    let _never = mutex.lock();
}

/// Starts `sleep` in the worker's group and lets it run. With `hold`, it has the worker's standard streams. The answer is
/// its process id.
#[task]
pub(super) fn leave_a_grandchild(hold: bool) -> u32 {
    let mut command = std::process::Command::new("sleep");
    command.arg("1000");
    if !hold {
        let null = std::process::Stdio::null;
        command.stdin(null()).stdout(null()).stderr(null());
    }
    #[expect(clippy::zombie_processes, reason = "that it stays is what is tested")]
    let child = command.spawn().expect("there is a sleep(1)");
    child.id()
}

/// Starts a grandchild, writes its process id to the file, and hangs.
#[task]
pub(super) fn hang_with_a_grandchild(file: &Path) {
    let child = leave_a_grandchild(true);
    crate::tasks::publish(file, child);
    loop {
        std::thread::park();
    }
}

/// Starts a grandchild, writes its process id to the file, and dies so.
#[task]
pub(super) fn die_with_a_grandchild(file: &Path, how: &str) {
    crate::tasks::publish(file, leave_a_grandchild(false));
    crate::tasks::die(how);
}

#[task]
pub(super) fn change_directory(to: &Path) {
    std::env::set_current_dir(to).expect("it is there");
}

#[task]
pub(super) fn current_directory() -> std::path::PathBuf {
    std::env::current_dir().expect("there is one")
}

/// Writes so many lines of a hundred bytes to standard output, and as many to standard error.
#[task]
pub(super) fn flood(lines: usize) -> usize {
    let line = "x".repeat(99);
    for _ in 0..lines {
        println!("{line}");
        eprintln!("{line}");
    }
    lines
}

/// Writes bytes that are no text, without an end of line, and dies if it is to.
#[task]
pub(super) fn print_no_text(die: bool) {
    use std::io::Write;
    std::io::stdout().write_all(b"\xff\xfe out\n").expect("it is open");
    std::io::stderr().write_all(b"\xff\xfe err \x80").expect("it is open");
    if die {
        std::process::abort();
    }
}
