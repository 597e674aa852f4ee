//! One memfd that is mapped and has an id: what buffers and parcels are made of.

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};

use super::mapping::{Access, Mapping, Memory};
use super::memfd::{self, invalid};
use super::peer::{Exposures, Peer};
use super::pool;
use crate::sys;

/// Of one memory: which process made it, and the how-manieth there.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
pub(crate) struct BufferId(u64);

impl BufferId {
    fn next() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        Self(u64::from(own_tag()) << 32 | u64::from(COUNT.fetch_add(1, Ordering::Relaxed)))
    }
}

/// Tells apart the processes whose buffers may meet. Random, because pids come again.
fn own_tag() -> u32 {
    static TAG: LazyLock<u32> =
        LazyLock::new(|| RandomState::new().hash_one(std::process::id()) as u32);
    *TAG
}

/// Who has made a buffer, and recycles it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Maker {
    ThisProcess,
    Peer,
}

/// What is promised about a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) enum Grade {
    /// One process at a time has the use of it.
    Lent,
    /// Nobody can ever write it.
    Sealed,
}

/// What one process says to another about a buffer that it sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Announced {
    pub(crate) id: BufferId,
    pub(crate) grade: Grade,
    /// Of the file, in bytes.
    pub(crate) length: u64,
    /// So many bytes from the start have memory.
    pub(crate) committed: u64,
}

/// The memory behind a [`Buffer`], which outlives it if it is recycled.
#[derive(Debug)]
pub(super) struct Body {
    id: BufferId,
    maker: Maker,
    grade: Grade,
    file: OwnedFd,
    length: usize,
    committed: AtomicUsize,
    /// `None` only while it is being sealed, and if that failed.
    mapping: Option<Mapping>,
    exposures: Exposures,
}

impl Body {
    /// New memory of the lent grade. None of it is committed.
    pub(super) fn create(length: usize) -> io::Result<Self> {
        let file = memfd::create(length)?;
        memfd::seal(file.as_fd(), memfd::SIZE)?;
        let mapping = Mapping::new(file.as_fd(), length, Access::ReadWrite)?;
        Ok(Self {
            id: BufferId::next(),
            maker: Maker::ThisProcess,
            grade: Grade::Lent,
            file,
            length,
            committed: AtomicUsize::new(0),
            mapping: Some(mapping),
            exposures: Exposures::default(),
        })
    }

    /// Map what `peer` has sent, if it is what it is said to be. An error of the kind `InvalidData` is a lie.
    fn open(announced: Announced, file: OwnedFd, peer: &Peer) -> io::Result<Self> {
        let Announced { id, grade, length, committed } = announced;
        let (seals, access) = match grade {
            Grade::Lent => (memfd::SIZE, Access::ReadWrite),
            Grade::Sealed => (memfd::IMMUTABLE, Access::ReadSealed),
        };
        // Addresses are taken for what has no memory, too.
        let length = usize::try_from(length)
            .ok()
            // It may be rounded up to a power of two.
            .filter(|length| sys::memory::is_in_total(*length as u64 / 2))
            .ok_or_else(|| invalid("shared memory that is longer than all there is"))?;
        memfd::check(&file, length, seals)?;
        let mapping = Mapping::new(file.as_fd(), length, access)?;
        let body = Self {
            id,
            maker: Maker::Peer,
            grade,
            file,
            length,
            committed: AtomicUsize::new(0),
            mapping: Some(mapping),
            exposures: Exposures::of_origin(peer),
        };
        body.note_committed(committed)?;
        Ok(body)
    }

    /// The other side says that so much has memory by now.
    fn note_committed(&self, committed: u64) -> io::Result<()> {
        let committed = usize::try_from(committed)
            .ok()
            .filter(|committed| *committed <= self.length)
            .ok_or_else(|| invalid("more memory than it is long"))?;
        if committed > self.committed() {
            memfd::check_committed(self.file.as_fd(), committed)?;
            self.committed.fetch_max(committed, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Have memory for the first `bytes`.
    pub(super) fn commit(&mut self, bytes: usize) -> io::Result<()> {
        let before = *self.committed.get_mut();
        if bytes > before {
            // Not smaller steps than these, which are below what a buffer has anyway.
            let wanted = bytes.next_multiple_of(pool::CLASS_MIN).min(self.length);
            memfd::commit(self.file.as_fd(), &(before..wanted), self.length)?;
            *self.committed.get_mut() = wanted;
        }
        Ok(())
    }

    /// From now on nobody can write it. Fails if anybody else has it mapped.
    fn seal(&mut self) -> io::Result<()> {
        // The last writable mapping must be gone first.
        self.mapping = None;
        memfd::seal(self.file.as_fd(), memfd::IMMUTABLE)?;
        self.mapping = Some(Mapping::new(self.file.as_fd(), self.length, Access::ReadSealed)?);
        self.grade = Grade::Sealed;
        Ok(())
    }

    pub(super) fn length(&self) -> usize {
        self.length
    }

    pub(super) fn committed(&self) -> usize {
        self.committed.load(Ordering::Relaxed)
    }

    pub(super) fn exposures(&self) -> &Exposures {
        &self.exposures
    }

    fn is_recyclable(&self) -> bool {
        self.maker == Maker::ThisProcess && self.grade == Grade::Lent && self.mapping.is_some()
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        let bytes = self.committed();
        self.exposures.forget_everywhere(self.id, bytes);
    }
}

/// Memory in use. When it is no longer, it is recycled in the process that made it.
#[derive(Debug)]
pub(crate) struct Buffer {
    /// `None` only while it is dropped.
    body: Option<Body>,
    /// Whether a handle of the lent grade has it in this process.
    is_held: AtomicBool,
    /// Whether a peer has the use of it, if it is of the lent grade.
    is_lent: AtomicBool,
}

impl Buffer {
    pub(super) fn new(body: Body) -> Self {
        Self { body: Some(body), is_held: AtomicBool::new(false), is_lent: AtomicBool::new(false) }
    }

    /// [`Body::open`]
    pub(super) fn open(announced: Announced, file: OwnedFd, peer: &Peer) -> io::Result<Self> {
        Body::open(announced, file, peer).map(Self::new)
    }

    /// Seal it, which nobody else may have mapped.
    pub(super) fn seal(mut self) -> io::Result<Self> {
        self.body.as_mut().expect("only `drop` takes it").seal()?;
        Ok(self)
    }

    pub(super) fn announced(&self) -> Announced {
        let body = self.body();
        Announced {
            id: body.id,
            grade: body.grade,
            length: body.length as u64,
            committed: body.committed() as u64,
        }
    }

    /// [`Body::note_committed`]
    pub(super) fn note_committed(&self, committed: u64) -> io::Result<()> {
        self.body().note_committed(committed)
    }

    pub(super) fn id(&self) -> BufferId {
        self.body().id
    }

    pub(super) fn grade(&self) -> Grade {
        self.body().grade
    }

    /// In bytes, from the start. What lies behind must not be touched.
    pub(super) fn committed(&self) -> usize {
        self.body().committed()
    }

    pub(super) fn exposures(&self) -> &Exposures {
        self.body().exposures()
    }

    pub(super) fn descriptor(&self) -> BorrowedFd<'_> {
        self.body().file.as_fd()
    }

    /// Not to be written if it is sealed.
    pub(super) fn memory(&self) -> &Memory {
        self.body().mapping.as_ref().expect("mapped as long as it is in use").memory()
    }

    /// Whether the caller alone has it in this process from now on.
    pub(super) fn hold(&self) -> bool {
        // Pairs with the store in `let_go`: what the former holder did has happened.
        !self.is_held.swap(true, Ordering::Acquire)
    }

    pub(super) fn let_go(&self) {
        // Pairs with the swap in `hold`.
        self.is_held.store(false, Ordering::Release);
    }

    pub(super) fn is_held(&self) -> bool {
        self.is_held.load(Ordering::Relaxed)
    }

    pub(super) fn on_lent(&self) {
        self.is_lent.store(true, Ordering::Relaxed);
    }

    pub(super) fn on_returned(&self) {
        self.is_lent.store(false, Ordering::Relaxed);
    }

    pub(super) fn is_lent(&self) -> bool {
        self.is_lent.load(Ordering::Relaxed)
    }

    /// For writing.
    pub(super) fn writable(&self) -> &Memory {
        assert_eq!(self.grade(), Grade::Lent, "a sealed buffer can't be written");
        self.memory()
    }

    fn body(&self) -> &Body {
        self.body.as_ref().expect("only `drop` takes it")
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let Some(body) = self.body.take()
            && body.is_recyclable()
        {
            pool::give_back(body);
        }
    }
}
