//! Bytes that every worker of a pool reads: in memory that nobody can change any more, so that one copy is enough.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;

use super::memfd;

/// The maker's end.
#[derive(Debug)]
pub(crate) struct Handout {
    descriptor: OwnedFd,
    length: usize,
}

impl Handout {
    pub(crate) fn new(bytes: &[u8]) -> io::Result<Self> {
        let size = size_for(bytes.len());
        let file = memfd::create(size)?;
        memfd::commit(file.as_fd(), &(0..size), size)?;
        let file = File::from(file);
        file.write_all_at(bytes, 0)?;
        let descriptor = OwnedFd::from(file);
        memfd::seal(descriptor.as_fd(), memfd::IMMUTABLE)?;
        Ok(Self { descriptor, length: bytes.len() })
    }

    /// What a reader is to be sent.
    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }

    /// In bytes; to be told to a reader.
    pub(crate) fn length(&self) -> usize {
        self.length
    }

    /// Read it in another process.
    pub(crate) fn read(descriptor: OwnedFd, length: usize) -> io::Result<Vec<u8>> {
        memfd::check(&descriptor, size_for(length), memfd::IMMUTABLE)?;
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(length)?;
        bytes.resize(length, 0);
        // The position in the file is that of all who have it.
        File::from(descriptor).read_exact_at(&mut bytes, 0)?;
        Ok(bytes)
    }
}

/// There is no memory of no size.
fn size_for(length: usize) -> usize {
    length.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_reads_the_same() {
        for length in [0, 1, 4096, 3 << 20] {
            let bytes: Vec<u8> = (0..length).map(|n| n as u8).collect();
            let handout = Handout::new(&bytes).expect("memory");
            assert_eq!(handout.length(), length);
            for _ in 0..2 {
                let sent = handout.descriptor().try_clone_to_owned().expect("a descriptor");
                assert!(Handout::read(sent, length).expect("it is there") == bytes, "{length}");
            }
            let sent = handout.descriptor().try_clone_to_owned().expect("a descriptor");
            Handout::read(sent, length + 2).expect_err("a lie about the length");
        }
    }

    #[test]
    fn what_can_still_be_changed_is_refused() {
        let file = memfd::create(4096).expect("memory");
        Handout::read(file, 4096).expect_err("not sealed");
    }
}
