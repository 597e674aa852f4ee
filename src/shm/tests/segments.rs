//! One suite over both backends.

use std::io;
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;

use crate::shm::memfd;
use crate::shm::segment::Segment;

const LENGTH: usize = 3 * 4096;

/// Two mappings of one segment.
struct Pair {
    backend: &'static str,
    here: Segment,
    there: Segment,
}

fn duplicate(segment: &Segment) -> OwnedFd {
    segment.descriptor().try_clone_to_owned().expect("a descriptor can be duplicated")
}

fn pairs() -> Vec<Pair> {
    let here = Segment::create(LENGTH, 4096).expect("memory");
    let there = Segment::open(duplicate(&here), LENGTH).expect("the same memory");
    let pairs = vec![Pair { backend: "memfd", here, there }];
    #[cfg(feature = "named-shm")]
    let pairs = {
        let here = Segment::create_named(LENGTH).expect("memory");
        let name = here.name().expect("it has one");
        let there = Segment::open_named(name, LENGTH).expect("the same memory");
        pairs.into_iter().chain([Pair { backend: "named", here, there }]).collect()
    };
    pairs
}

fn with_pairs(test: impl Fn(&Segment, &Segment)) {
    for Pair { backend, here, there } in pairs() {
        println!("{backend}");
        test(&here, &there);
        test(&there, &here);
    }
}

#[test]
fn what_one_side_writes_the_other_reads() {
    with_pairs(|here, there| {
        here.commit(0..LENGTH).expect("memory");
        here.copy_in(5, b"some bytes");
        here.copy_in(LENGTH - 4, b"last");
        let mut bytes = [0; 10];
        there.copy_out(5, &mut bytes);
        assert_eq!(&bytes, b"some bytes");
        let mut bytes = b"the ".to_vec();
        there.append_to(LENGTH - 4, 4, &mut bytes);
        assert_eq!(bytes, b"the last");
        here.u32_at(8192).store(0x0102_0304, Ordering::Relaxed);
        here.u64_at(8200).fetch_add(7, Ordering::Relaxed);
        assert_eq!(there.u32_at(8192).load(Ordering::Relaxed), 0x0102_0304);
        assert_ne!(there.u64_at(8200).load(Ordering::Relaxed), 0);
        assert_eq!(there.len(), LENGTH);
    });
}

#[test]
fn nothing_is_touched_beyond_the_end() {
    let panics = |what: &str, touch: &dyn Fn()| {
        assert!(catch_unwind(AssertUnwindSafe(touch)).is_err(), "{what}");
    };
    with_pairs(|here, _| {
        for offset in [LENGTH, LENGTH - 3, LENGTH + 1, usize::MAX, usize::MAX - 3] {
            panics("a word", &|| {
                here.u32_at(offset).load(Ordering::Relaxed);
            });
            panics("a long word", &|| {
                here.u64_at(offset).load(Ordering::Relaxed);
            });
            panics("in", &|| here.copy_in(offset, &[0; 4]));
            panics("out", &|| here.copy_out(offset, &mut [0; 4]));
            panics("append", &|| here.append_to(offset, 4, &mut Vec::new()));
        }
        panics("too long", &|| here.append_to(1, usize::MAX, &mut Vec::new()));
        panics("not aligned", &|| {
            here.u32_at(2).load(Ordering::Relaxed);
        });
        panics("not aligned", &|| {
            here.u64_at(4).load(Ordering::Relaxed);
        });
        // The end itself is no more than that.
        here.copy_in(LENGTH, &[]);
        here.append_to(LENGTH, 0, &mut Vec::new());
        for range in [0..LENGTH + 1, LENGTH + 1..LENGTH + 1, 0..usize::MAX] {
            let refused = here.commit(range.clone()).expect_err("not there");
            assert_eq!(refused.kind(), io::ErrorKind::InvalidInput, "{range:?}");
        }
        here.commit(LENGTH..LENGTH).expect("nothing to do");
    });
}

#[test]
fn a_fork_has_neither_mapping() {
    with_pairs(|here, there| {
        for segment in [here, there] {
            let address = segment.u32_at(0).as_ptr().addr();
            let flags = flags_of_mapping(address);
            // "Do not copy area on fork", proc_pid_smaps(5).
            assert!(flags.split_whitespace().any(|flag| flag == "dc"), "{flags}");
        }
    });
}

#[test]
#[expect(unsafe_code, reason = "forks, and maps at a chosen address")]
fn a_forked_child_that_drops_one_keeps_what_it_has_there_itself() {
    for Pair { backend, here, there } in pairs() {
        let place = here.u32_at(0).as_ptr();
        // SAFETY: the child allocates nothing, but for what the C library makes safe in a child, and ends by `_exit`.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let (protection, flags) = (
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE,
            );
            // SAFETY: nothing is replaced.
            let own = unsafe { libc::mmap(place.cast(), LENGTH, protection, flags, -1, 0) };
            let is_own = own == place.cast();
            drop(here);
            // SAFETY: mapped above, unless that is not so, which ends the child by a signal.
            let byte = unsafe { own.cast::<u8>().read_volatile() };
            // SAFETY: it ends the child at once.
            unsafe { libc::_exit(i32::from(!is_own || byte != 0)) };
        }
        let mut status = 0;
        // SAFETY: the child is this process's own, and the status this frame's.
        let waited = unsafe { libc::waitpid(child, &raw mut status, 0) };
        assert_eq!((waited, status), (child, 0), "{backend}");
        there.copy_in(0, b"still there");
    }
}

fn flags_of_mapping(address: usize) -> String {
    let maps = std::fs::read_to_string("/proc/self/smaps").expect("it is there");
    let start = format!("{address:x}-");
    let mapping = maps.lines().skip_while(|line| !line.starts_with(&start));
    let flags = mapping.skip(1).find(|line| line.starts_with("VmFlags:"));
    flags.expect("every mapping has flags").to_owned()
}

#[test]
fn lies_about_the_size_are_refused() {
    let here = Segment::create(LENGTH, 0).expect("memory");
    for length in [0, 1, LENGTH - 1, LENGTH + 1, LENGTH + 4096, usize::MAX] {
        let refused = Segment::open(duplicate(&here), length).expect_err("a lie");
        assert_eq!(refused.kind(), io::ErrorKind::InvalidData, "{length}");
    }
    for length in [0, usize::MAX, usize::MAX / 2] {
        assert!(Segment::create(length, 0).is_err(), "{length}");
    }
    assert!(Segment::create(LENGTH, LENGTH + 1).is_err());
}

#[test]
fn memory_that_can_be_resized_is_refused() {
    let unsealed = memfd::create(LENGTH).expect("memory");
    let refused = Segment::open(unsealed, LENGTH).expect_err("not sealed");
    assert_eq!(refused.kind(), io::ErrorKind::InvalidData);
    let file = std::fs::File::open(std::env::current_exe().expect("it runs")).expect("a file");
    let length = file.metadata().expect("it has a size").len();
    let refused = Segment::open(file.into(), length as usize).expect_err("not shared memory");
    assert_eq!(refused.kind(), io::ErrorKind::InvalidData);
}

#[test]
fn a_peer_can_not_resize_a_sealed_segment() {
    let here = Segment::create(LENGTH, LENGTH).expect("memory");
    let there = duplicate(&here);
    for length in [0, LENGTH as u64 - 1, LENGTH as u64 + 1] {
        let refused = rustix::fs::ftruncate(&there, length);
        assert_eq!(refused, Err(rustix::io::Errno::PERM), "{length}");
    }
}

#[cfg(feature = "named-shm")]
mod named {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn object(segment: &Segment) -> std::path::PathBuf {
        let name = segment.name().expect("it has one");
        std::path::Path::new("/dev/shm").join(name.trim_start_matches('/'))
    }

    #[test]
    fn a_name_is_there_for_nobody_else_and_until_it_is_opened() {
        let here = Segment::create_named(LENGTH).expect("memory");
        let path = object(&here);
        let metadata = std::fs::metadata(&path).expect("the name is there");
        assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
        let name = here.name().expect("it has one");
        assert!(name.starts_with(&format!("/atasker-{}-", std::process::id())), "{name}");
        let there = Segment::open_named(name, LENGTH).expect("the same memory");
        assert!(!path.exists());
        Segment::open_named(name, LENGTH).expect_err("it is gone");
        drop(there);
        here.copy_in(0, b"still there");
        let dropped = Segment::create_named(LENGTH).expect("memory");
        let path = object(&dropped);
        drop(dropped);
        assert!(!path.exists());
    }

    #[test]
    fn all_of_it_is_allocated() {
        let here = Segment::create_named(LENGTH).expect("memory");
        let stat = rustix::fs::fstat(here.descriptor()).expect("it is open");
        assert_eq!(stat.st_blocks * 512, i64::try_from(LENGTH).expect("it fits"));
    }

    #[test]
    fn what_is_not_as_announced_is_refused() {
        let here = Segment::create_named(LENGTH).expect("memory");
        let name = here.name().expect("it has one");
        for length in [0, LENGTH - 1, LENGTH + 1] {
            Segment::open_named(name, length).expect_err("a lie");
        }
        Segment::open_named("/atasker_nobody_made_this", LENGTH).expect_err("nothing is there");
        std::fs::set_permissions(object(&here), PermissionsExt::from_mode(0o660))
            .expect("it is ours");
        Segment::open_named(name, LENGTH).expect_err("others can write it");
        assert!(object(&here).exists(), "what is refused is left alone");
        Segment::create_named(0).expect_err("of no size");
    }
}
