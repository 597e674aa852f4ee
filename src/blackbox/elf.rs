//! As much of an ELF file as symbols and unwinding need, read piece by piece: a file that is cut off meanwhile is a
//! piece less, where a mapping of it would be a SIGBUS. Only 64-bit little-endian; see elf(5).

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::SystemTime;

use super::maps::Module;

/// A section that is larger is left out: debug information of a gigabyte is not worth its memory.
const SECTION_BYTES_MAX: u64 = 1 << 30;

const PT_LOAD: u32 = 1;
const PF_X: u32 = 1;
const SHT_NOBITS: u32 = 8;
const SHF_COMPRESSED: u64 = 1 << 11;

/// An open program or library.
#[derive(Debug)]
pub(super) struct Elf {
    file: File,
    segments: Vec<Segment>,
    sections: Vec<Section>,
}

/// A piece with code.
#[derive(Debug)]
struct Segment {
    offset: u64,
    address: u64,
    length: u64,
}

#[derive(Debug)]
struct Section {
    name: String,
    /// Where it is in memory, as the file was linked.
    address: u64,
    offset: u64,
    length: u64,
}

/// A section and where it is in memory, as the file was linked.
#[derive(Debug, Default)]
pub(super) struct Contents {
    pub(super) address: u64,
    pub(super) bytes: Vec<u8>,
}

impl Elf {
    /// The file of a module, as it was before `then`. `None`: it is not there any more, or no such file.
    pub(super) fn of_module(module: &Module, then: SystemTime) -> Option<Self> {
        // A program that was replaced while it runs can still be had by its processes, of which this is one.
        let own = Path::new("/proc/self/exe");
        let is_own = std::fs::metadata(own).is_ok_and(|own| own.ino() == module.inode);
        if is_own {
            return Self::read(File::open(own).ok()?);
        }
        if module.deleted {
            return None;
        }
        // The path is a worker's word: it may be anything that can be opened, and a pipe would wait.
        let options = &mut File::options();
        let file = options.read(true).custom_flags(libc::O_NONBLOCK).open(&module.path).ok()?;
        let metadata = file.metadata().ok()?;
        // On some layered file systems the two numbers differ.
        let is_it = metadata.ino() == module.inode
            || metadata.modified().is_ok_and(|modified| modified < then);
        if metadata.is_file() && is_it { Self::read(file) } else { None }
    }

    fn read(file: File) -> Option<Self> {
        let head = read_at(&file, 0, 64).ok()?;
        if !head.starts_with(b"\x7fELF\x02\x01") {
            return None;
        }
        let [segments_at, sections_at] = [u64_at(&head, 32)?, u64_at(&head, 40)?];
        let [segment_length, segments, section_length, sections, names] =
            [54, 56, 58, 60, 62].map(|at| u64::from(u16_at(&head, at).unwrap_or(0)));
        if segment_length != 56 || section_length != 64 {
            return None;
        }
        let table = read_at(&file, segments_at, segments * segment_length).ok()?;
        let segments = table.chunks_exact(56).filter_map(|entry| {
            let is_code = u32_at(entry, 0)? == PT_LOAD && u32_at(entry, 4)? & PF_X != 0;
            is_code.then_some(Segment {
                offset: u64_at(entry, 8)?,
                address: u64_at(entry, 16)?,
                length: u64_at(entry, 32)?,
            })
        });
        let segments = segments.collect();
        let table = read_at(&file, sections_at, sections * section_length).ok()?;
        let place = |entry: &[u8]| Some((u64_at(entry, 24)?, u64_at(entry, 32)?));
        let names_entry = table.chunks_exact(64).nth(usize::try_from(names).ok()?)?;
        let (names_at, names_length) = place(names_entry)?;
        let names = read_at(&file, names_at, names_length).ok()?;
        let sections = table.chunks_exact(64).filter_map(|entry| {
            let (offset, length) = place(entry)?;
            let is_there =
                u32_at(entry, 4)? != SHT_NOBITS && u64_at(entry, 8)? & SHF_COMPRESSED == 0;
            let name = text_at(&names, u32_at(entry, 0)?)?.into_owned();
            is_there.then_some(Section { name, address: u64_at(entry, 16)?, offset, length })
        });
        let sections = sections.collect();
        Some(Self { file, segments, sections })
    }

    /// Where a place in the code of the file is in memory, as the file was linked.
    pub(super) fn address_of(&self, offset: u64) -> Option<u64> {
        // A mapping begins with a page, which may have the end of the segment before in it.
        let ends_behind =
            |segment: &&Segment| segment.offset.saturating_add(segment.length) > offset;
        let segment = self.segments.iter().find(ends_behind)?;
        Some(segment.address.wrapping_add(offset.wrapping_sub(segment.offset)))
    }

    /// What stands in a section. Empty if there is none.
    pub(super) fn section(&self, name: &str) -> Contents {
        let section = self.sections.iter().find(|section| section.name == name);
        let read = section.and_then(|section| {
            let bytes = read_at(&self.file, section.offset, section.length).ok()?;
            Some(Contents { address: section.address, bytes })
        });
        read.unwrap_or_default()
    }

    /// Whether there is such a section.
    pub(super) fn has(&self, name: &str) -> bool {
        self.sections.iter().any(|section| section.name == name && section.length > 0)
    }
}

fn read_at(file: &File, offset: u64, length: u64) -> io::Result<Vec<u8>> {
    // Checked before memory is had for it on the word of a file.
    let end = offset.checked_add(length).filter(|_| length <= SECTION_BYTES_MAX);
    if end.is_none_or(|end| file.metadata().map_or(true, |metadata| metadata.len() < end)) {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
    file.read_exact_at(&mut bytes, offset)?;
    Ok(bytes)
}

/// The text that begins there and ends with a zero.
pub(super) fn text_at(bytes: &[u8], at: u32) -> Option<std::borrow::Cow<'_, str>> {
    let from = bytes.get(usize::try_from(at).ok()?..)?;
    Some(String::from_utf8_lossy(from.split(|byte| *byte == 0).next()?))
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|word| u16::from_le_bytes(*word))
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|word| u32::from_le_bytes(*word))
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().map(|word| u64::from_le_bytes(*word))
}
