//! Where results go: a file, or standard output.

use std::fs::File;
use std::io::{self, BufWriter, IsTerminal as _, Write};
use std::os::fd::AsFd as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::input::Identity;
use super::results::Record;
use crate::failure::Failure;
use crate::screen::Screen;

/// Results that have waited so long are written even if more of them keep coming.
const FLUSH_AFTER: Duration = Duration::from_millis(100);

const BUFFER_BYTES: usize = 64 * 1024;

/// Where the results go.
pub(crate) struct Output {
    writer: BufWriter<Box<dyn Write>>,
    /// For messages.
    name: String,
    unwritten_since: Option<Instant>,
    /// If results come onto the same terminal.
    screen: Option<Arc<Screen>>,
}

impl Output {
    /// Open `file` anew, or standard output for `-` and for nothing. `input`: the batch file, which must
    /// not be overwritten.
    pub(crate) fn open(
        file: Option<&Path>,
        input: Option<Identity>,
        screen: Option<Arc<Screen>>,
    ) -> Result<Self, Failure> {
        let is_input = |shown: &str, there: Option<std::fs::Metadata>| {
            let is_it = input.is_some() && there.as_ref().and_then(Identity::of) == input;
            let text = format!("can't write to {shown}: it is the batch file itself");
            if is_it { Err(Failure::Told(text)) } else { Ok(()) }
        };
        let file = file.filter(|path| *path != Path::new("-"));
        let screen = screen.filter(|_| file.is_none() && io::stdout().is_terminal());
        let (sink, name): (Box<dyn Write>, _) = match file {
            None => {
                let there = io::stdout().as_fd().try_clone_to_owned().map(File::from);
                is_input("standard output", there.and_then(|there| there.metadata()).ok())?;
                (Box::new(io::stdout()), "standard output".to_owned())
            }
            Some(path) => {
                let shown = format!("`{}`", path.display());
                is_input(&shown, std::fs::metadata(path).ok())?;
                let file = File::create(path)
                    .map_err(|error| Failure::Told(format!("can't write to {shown}: {error}")))?;
                (Box::new(file), shown)
            }
        };
        let writer = BufWriter::with_capacity(BUFFER_BYTES, sink);
        Ok(Self { writer, name, unwritten_since: None, screen })
    }

    /// Write one line. It may wait in the buffer until the next [`flush`](Self::flush), but not for long.
    pub(crate) fn write(&mut self, record: &Record) -> Result<(), Failure> {
        // Some of it may be written at once.
        self.make_way();
        serde_json::to_writer(&mut self.writer, record)
            .map_err(io::Error::from)
            .and_then(|()| self.writer.write_all(b"\n"))
            .map_err(|error| Failure::write(&self.name, &error))?;
        if self.unwritten_since.get_or_insert_with(Instant::now).elapsed() > FLUSH_AFTER {
            return self.flush();
        }
        Ok(())
    }

    /// No result goes behind the line of progress.
    fn make_way(&self) {
        if let Some(screen) = &self.screen {
            screen.clear();
        }
    }

    /// Write what waits in the buffer: whenever there is nothing else to do at once.
    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
        if self.unwritten_since.take().is_none() {
            return Ok(());
        }
        self.make_way();
        self.writer.flush().map_err(|error| Failure::write(&self.name, &error))
    }
}
