//! Memory that was used and will be again: it stays mapped and touched, because a fresh page costs forty
//! times as much as copying it.
//!
//! A worker that had a buffer keeps it mapped, for the same reason. So recycled memory is of two kinds, and
//! who asks says which will do: what a live worker can still write may only be copied into and out of.

use std::collections::VecDeque;
use std::io;

use super::buffer::{Body, Buffer};
use super::error::BufferError;
use super::peer::Peer;
use crate::sync::Mutex;

/// The smallest size of a buffer's memory. All sizes are powers of two.
pub(super) const CLASS_MIN: usize = 64 << 10;

/// At most so much is kept for another use.
const IDLE_BYTES_MAX: usize = 256 << 20;

/// And at most so many pieces, each of which takes a descriptor.
const IDLE_COUNT_MAX: usize = 64;

static POOL: Mutex<Pool> = Mutex::new(Pool { idle: VecDeque::new(), idle_bytes: 0 });

/// Which recycled memory will do.
#[derive(Clone, Copy, Debug)]
pub(super) enum Wanted<'p> {
    /// Rather such that others can write: of the rest there is less.
    Any,
    /// Only such that others can write.
    Exposed,
    /// Only such that no other process has mapped, or only one that is trusted.
    Private,
    /// Only such that no other process has mapped.
    Unmapped,
    /// Only such that nobody has mapped but perhaps this one.
    For(&'p Peer),
}

/// What memory holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Contents {
    Zeros,
    /// Whatever its last user left.
    Leftovers,
}

struct Pool {
    /// What was given back last is at the end.
    idle: VecDeque<Body>,
    idle_bytes: usize,
}

/// A buffer with memory for `bytes`.
pub(super) fn take(bytes: usize, wanted: Wanted<'_>) -> Result<(Buffer, Contents), BufferError> {
    if let Some(recycled) = take_idle(bytes, wanted)? {
        return Ok((recycled, Contents::Leftovers));
    }
    let class = class_of(bytes)?;
    let create = || -> io::Result<Body> {
        let mut body = Body::create(class)?;
        body.commit(bytes)?;
        Ok(body)
    };
    let body = match create() {
        Err(error) if is_shortage(&error) => {
            clear();
            create()
        }
        created => created,
    };
    let body = body.map_err(|error| BufferError::of_system(error, bytes))?;
    Ok((Buffer::new(body), Contents::Zeros))
}

/// Recycled memory, if there is such.
pub(super) fn take_idle(bytes: usize, wanted: Wanted<'_>) -> Result<Option<Buffer>, BufferError> {
    let class = class_of(bytes)?;
    let taken = POOL.lock().take(class, wanted);
    let Some(mut body) = taken else { return Ok(None) };
    match body.commit(bytes) {
        Ok(()) => Ok(Some(Buffer::new(body))),
        // What is idle may be in the way; this too.
        Err(error) if is_shortage(&error) => Ok(None),
        Err(error) => Err(BufferError::of_system(error, bytes)),
    }
}

fn class_of(bytes: usize) -> Result<usize, BufferError> {
    let class = bytes.max(CLASS_MIN).checked_next_power_of_two();
    class.filter(|class| isize::try_from(*class).is_ok()).ok_or(BufferError::TooLong)
}

/// Keep it for another use, or not.
pub(super) fn give_back(body: Body) {
    if body.committed() > IDLE_BYTES_MAX {
        return;
    }
    // To be dropped without the lock: others are told of it.
    let mut superfluous = Vec::new();
    let mut pool = POOL.lock();
    pool.idle_bytes += body.committed();
    pool.idle.push_back(body);
    while pool.idle_bytes > IDLE_BYTES_MAX || pool.idle.len() > IDLE_COUNT_MAX {
        superfluous.extend(pool.take_at(0));
    }
    drop(pool);
    drop(superfluous);
}

fn clear() {
    let mut pool = POOL.lock();
    let idle = std::mem::take(&mut pool.idle);
    pool.idle_bytes = 0;
    drop(pool);
    drop(idle);
}

/// Of memory or of descriptors, both of which idle buffers hold.
fn is_shortage(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let shortages = [Errno::NOMEM, Errno::NOSPC, Errno::MFILE, Errno::NFILE];
    error.raw_os_error().is_some_and(|raw| shortages.contains(&Errno::from_raw_os_error(raw)))
}

impl Pool {
    fn take(&mut self, class: usize, wanted: Wanted<'_>) -> Option<Body> {
        let last = |suits: &dyn Fn(&Body) -> bool| {
            self.idle.iter().rposition(|body| body.length() == class && suits(body))
        };
        let exposed = |body: &Body| !body.exposures().is_private();
        let position = match wanted {
            Wanted::Any => last(&exposed).or_else(|| last(&|_| true)),
            Wanted::Exposed => last(&exposed),
            Wanted::Private => last(&|body| body.exposures().is_private()),
            Wanted::Unmapped => last(&|body| body.exposures().is_unmapped()),
            Wanted::For(peer) => last(&|body| body.exposures().is_private_to(peer)),
        }?;
        self.take_at(position)
    }

    fn take_at(&mut self, position: usize) -> Option<Body> {
        let body = self.idle.remove(position)?;
        self.idle_bytes -= body.committed();
        Some(body)
    }
}

/// How much is idle: pieces and bytes.
#[cfg(test)]
pub(super) fn idle() -> (usize, usize) {
    let pool = POOL.lock();
    (pool.idle.len(), pool.idle_bytes)
}

#[cfg(test)]
pub(super) const LIMITS: (usize, usize) = (IDLE_COUNT_MAX, IDLE_BYTES_MAX);
