//! Standard error as a screen.

use std::io::{self, IsTerminal as _, Write as _};
use std::sync::{Arc, Mutex, PoisonError};

/// A terminal with one line at its bottom that is written over and over, and others that scroll by above it.
#[derive(Debug, Default)]
pub(crate) struct Screen {
    line: Mutex<String>,
}

/// To the beginning of the line, and empty it (ECMA-48, CR and EL).
const WIPE: &str = "\r\x1b[2K";
const WIDTH_UNKNOWN: usize = 80;

impl Screen {
    /// Standard error, if it is a terminal.
    pub(crate) fn open() -> Option<Arc<Self>> {
        io::stderr().is_terminal().then(Arc::default)
    }

    /// Put `text` into the bottom line.
    pub(crate) fn show(&self, text: String) {
        let width =
            rustix::termios::tcgetwinsize(io::stderr()).map_or(0, |size| usize::from(size.ws_col));
        let width = if width == 0 { WIDTH_UNKNOWN } else { width };
        // One column less, so that no terminal wraps.
        // Nor does anything in it move the cursor, or change colours: names of jobs are a file's.
        let plain = |character: char| if character.is_control() { ' ' } else { character };
        let text: String = text.chars().map(plain).take(width - 1).collect();
        let mut line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        if *line != text {
            write(&format!("{WIPE}{text}"));
            *line = text;
        }
    }

    /// Print a line above the bottom line.
    pub(crate) fn print(&self, text: &str) {
        let line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        write(&format!("{WIPE}{text}\n{line}"));
    }

    /// Empty the bottom line.
    pub(crate) fn clear(&self) {
        let mut line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        if !line.is_empty() {
            write(WIPE);
            line.clear();
        }
    }
}

fn write(text: &str) {
    // In one piece, and without complaint: progress is not worth failing for.
    let _ = io::stderr().write_all(text.as_bytes());
}
