//! The stack of a thread in a worker, as it was: what stands there is found out when somebody asks.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use super::maps::module_of;
use super::painting::Painting;

/// More frames are not looked at.
pub(super) const FRAMES_MAX: usize = 128;

/// The stack of a thread in a worker process, as it was when the worker crashed or was asked where it is.
///
/// The worker only copies registers and a piece of its stack (64 KiB). What functions these are is found out here when
/// [`backtrace`](Self::backtrace) is called first, from the debug information of the program; until then it costs
/// nothing but memory.
#[derive(Clone)]
pub struct Stack(Arc<Inner>);

struct Inner {
    painting: Arc<Painting>,
    /// The full path of the task's function: what called it is not the user's.
    function: String,
    backtrace: OnceLock<Backtrace>,
}

/// The functions on a stack, the innermost first.
///
/// `Display` is a list of them, a line or two for each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Backtrace {
    /// Down to the task's function, if that was found. At most 128, and no more than 64 KiB of the stack.
    pub frames: Vec<Frame>,
}

/// A function on a stack.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Frame {
    /// Its name, if the program or library tells.
    pub function: Option<String>,
    /// The source file, if there is debug information.
    pub file: Option<String>,
    /// The line there.
    pub line: Option<u32>,
    /// The program or library.
    pub module: Option<PathBuf>,
    /// Where in that file's memory image it is, or, without a module, the address in the process.
    pub address: u64,
}

impl Stack {
    /// `function`: the full path of the task's.
    pub(crate) fn new(painting: Arc<Painting>, function: &str) -> Self {
        let function = function.to_owned();
        Self(Arc::new(Inner { painting, function, backtrace: OnceLock::new() }))
    }

    /// The name of the thread.
    pub fn thread_name(&self) -> &str {
        &self.0.painting.thread_name
    }

    /// The functions on it. At the first call the program's debug information is read, which takes a tenth of a second
    /// or more, and as much memory meanwhile.
    ///
    /// Without the feature `backtrace`, or on another architecture than `x86_64` and `aarch64`, it is only where the
    /// thread was, without names.
    pub fn backtrace(&self) -> &Backtrace {
        self.0.backtrace.get_or_init(|| {
            let frames = catch_unwind(AssertUnwindSafe(|| self.frames()));
            Backtrace { frames: frames.unwrap_or_default() }
        })
    }

    #[cfg(feature = "backtrace")]
    fn frames(&self) -> Vec<Frame> {
        super::backtrace::frames(&self.0.painting, &self.0.function)
    }

    #[cfg(not(feature = "backtrace"))]
    fn frames(&self) -> Vec<Frame> {
        let Painting { registers, modules, .. } = &*self.0.painting;
        let Some(registers) = registers else { return Vec::new() };
        vec![Frame::unnamed(modules, registers.instruction_pointer())]
    }
}

impl Frame {
    /// All that is known without debug information.
    pub(super) fn unnamed(modules: &[super::maps::Module], address: u64) -> Self {
        match module_of(modules, address) {
            Some(module) => Self {
                module: Some(module.path.clone()),
                address: (address - module.start).wrapping_add(module.offset),
                ..Self::default()
            },
            None => Self { address, ..Self::default() },
        }
    }
}

impl Backtrace {
    /// The innermost frame that belongs to a program or library of the user's rather than to the standard libraries:
    /// where to look first.
    ///
    /// ```
    /// # fn show(error: &atasker::TaskError) {
    /// if let Some(place) = error.crash().and_then(|crash| crash.backtrace()?.culprit()) {
    ///     println!("look at {place}");
    /// }
    /// # }
    /// ```
    pub fn culprit(&self) -> Option<&Frame> {
        self.frames.iter().find(|frame| frame.is_of_user()).or_else(|| self.frames.first())
    }
}

impl Frame {
    fn is_of_user(&self) -> bool {
        // What the compiler ships was built there.
        const OF_RUST: [&str; 2] = ["/rustc/", "/library/std/src/"];
        let is_of_rust = |file: &String| OF_RUST.iter().any(|path| file.contains(path));
        let name = self.function.as_deref().unwrap_or_default();
        let is_std =
            ["std::", "core::", "alloc::", "__rust", "rust_", "<std::", "<core::", "<alloc::"]
                .iter()
                .any(|prefix| name.starts_with(prefix));
        let module = self.module.as_deref().and_then(|module| module.file_name()?.to_str());
        let is_system = module.is_some_and(|module| {
            ["libc.so", "libc-", "ld-linux", "ld-musl", "libpthread", "libm.so", "libgcc_s"]
                .iter()
                .any(|prefix| module.starts_with(prefix))
        });
        !is_std && !is_system && !self.file.as_ref().is_some_and(is_of_rust)
    }
}

/// Function and place: `decode (src/decode.rs:17)`.
impl fmt::Display for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let module = self.module.as_deref().and_then(|module| module.file_name());
        match (&self.function, module) {
            (Some(function), _) => f.write_str(function)?,
            (None, Some(module)) => write!(f, "{}+{:#x}", module.display(), self.address)?,
            (None, None) => write!(f, "{:#x}", self.address)?,
        }
        match (&self.file, self.line, module) {
            (Some(file), Some(line), _) => write!(f, " ({file}:{line})"),
            (Some(file), None, _) => write!(f, " ({file})"),
            (None, _, Some(module)) if self.function.is_some() => {
                write!(f, " ({}+{:#x})", module.display(), self.address)
            }
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Backtrace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, frame) in self.frames.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{index:4}: {frame}")?;
        }
        Ok(())
    }
}

/// Whether it is the same picture of the same thread.
impl PartialEq for Stack {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Stack {}

/// The frames, if they are known already.
impl fmt::Debug for Stack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stack")
            .field("thread_name", &self.thread_name())
            .field("backtrace", &self.0.backtrace.get())
            .finish_non_exhaustive()
    }
}
