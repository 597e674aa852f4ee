//! The code that a process had mapped, out of the text of its `/proc/self/maps` (`proc_pid_maps(5)`).

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// More than any program has.
const MODULES_MAX: usize = 4096;

/// A piece of a file that was mapped to be run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Module {
    pub(crate) start: u64,
    pub(crate) end: u64,
    /// Where in the file it begins.
    pub(crate) offset: u64,
    pub(crate) inode: u64,
    pub(crate) path: PathBuf,
    /// The file had been removed or replaced.
    pub(crate) deleted: bool,
}

/// The pieces of files that could be run. Lines that make no sense are left out.
pub(super) fn modules(maps: &[u8]) -> Vec<Module> {
    maps.split(|byte| *byte == b'\n').filter_map(module).take(MODULES_MAX).collect()
}

/// The piece that an address is in.
pub(super) fn module_of(modules: &[Module], address: u64) -> Option<&Module> {
    modules.iter().find(|module| (module.start..module.end).contains(&address))
}

/// `55d0-55e0 r-xp 00002000 08:01 1234      /usr/bin/x`
fn module(line: &[u8]) -> Option<Module> {
    let mut fields = line.splitn(6, |byte| *byte == b' ');
    let mut field = || std::str::from_utf8(fields.next()?).ok();
    let (start, end) = field()?.split_once('-')?;
    let start = u64::from_str_radix(start, 16).ok()?;
    let end = u64::from_str_radix(end, 16).ok()?;
    let is_code = field()?.as_bytes().get(2) == Some(&b'x');
    let offset = u64::from_str_radix(field()?, 16).ok()?;
    let _device = field()?;
    let inode = field()?.parse().ok()?;
    let path = fields.next()?.trim_ascii_start();
    let (path, deleted) = match path.strip_suffix(b" (deleted)") {
        Some(path) => (path, true),
        None => (path, false),
    };
    let is_file = path.first() == Some(&b'/');
    (is_code && is_file && start < end).then(|| Module {
        start,
        end,
        offset,
        inode,
        path: PathBuf::from(OsStr::from_bytes(path)),
        deleted,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAPS: &str = "\
00400000-00452000 r-xp 00001000 08:02 173521                             /usr/bin/some thing
00651000-00652000 r--p 00051000 08:02 173521                             /usr/bin/some thing
35b1800000-35b1820000 r-xp 00000000 08:02 135522                         /usr/lib/ld.so (deleted)
7fff85bfe000-7fff85bff000 r-xp 00000000 00:00 0                          [vdso]
7f0000000000-7f0000001000 rwxp 00000000 00:00 0 
";

    #[test]
    fn code_of_files_is_found() {
        let modules = modules(MAPS.as_bytes());
        assert_eq!(modules.len(), 2);
        let first = Module {
            start: 0x0040_0000,
            end: 0x0045_2000,
            offset: 0x1000,
            inode: 173_521,
            path: "/usr/bin/some thing".into(),
            deleted: false,
        };
        assert_eq!(modules[0], first);
        assert!(modules[1].deleted && modules[1].path.ends_with("ld.so"));
        assert_eq!(module_of(&modules, 0x0045_1fff), Some(&first));
        assert_eq!(module_of(&modules, 0x0045_2000), None);
    }

    #[test]
    fn the_own_maps_have_the_own_program() {
        let maps = std::fs::read("/proc/self/maps").expect("procfs");
        let here = module_of as *const () as usize as u64;
        let modules = modules(&maps);
        let module = module_of(&modules, here).expect("this runs");
        assert_eq!(Some(&module.path), std::env::current_exe().ok().as_ref());
    }

    #[test]
    fn junk_is_left_out() {
        for junk in [
            "",
            "\n\n",
            "-",
            "1-0 r-xp 0 0 0 /x",
            "zz-1 r-xp 0 0 0 /x",
            "0-1 r-x",
            "0-1 r-xp 0 0 x /x",
        ] {
            assert_eq!(modules(junk.as_bytes()), [], "{junk:?}");
        }
        assert_eq!(modules(&[0xff; 4096]), []);
        let many = "0-1 r-xp 0 0 0 /x\n".repeat(2 * MODULES_MAX);
        assert_eq!(modules(many.as_bytes()).len(), MODULES_MAX);
    }
}
