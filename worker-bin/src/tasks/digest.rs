//! Digests of files.

use std::fmt::Write as _;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use atasker::{TaskFailure, TaskResult};
use sha2::{Digest, Sha256};

const BUFFER_BYTES: usize = 64 * 1024;

/// The SHA-256 digest of a file's bytes, in hexadecimal. Files of any size are read piece by piece.
#[atasker::task]
pub fn sha256_file(path: &Path) -> TaskResult<String> {
    let digest = digest_of(path)
        .map_err(|error| TaskFailure::from(error).context(format!("reading {}", path.display())))?;
    Ok(digest.iter().fold(String::with_capacity(2 * digest.len()), |mut text, byte| {
        // Writing to a String does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    }))
}

fn digest_of(path: &Path) -> std::io::Result<[u8; 32]> {
    let mut file = File::open(path)?;
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut hasher = Sha256::new();
    let (mut done, length) = (0, file.metadata()?.len());
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(hasher.finalize().into()),
            Ok(count) => {
                hasher.update(&buffer[..count]);
                done += count as u64;
                atasker::progress(done, length);
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_those_of_the_standard() {
        let directory = std::env::temp_dir().join(format!("atasker-digest-{}", std::process::id()));
        std::fs::create_dir_all(&directory).expect("a temporary directory");
        let check = |name: &str, bytes: &[u8], expected: &str| {
            let path = directory.join(name);
            std::fs::write(&path, bytes).expect("a temporary file");
            assert_eq!(sha256_file(&path).as_deref(), Ok(expected));
        };
        // FIPS 180-4, examples; the last one crosses many buffers.
        check("empty", b"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        check("abc", b"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        let million = vec![b'a'; 1_000_000];
        check(
            "million",
            &million,
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0",
        );
        std::fs::remove_dir_all(directory).expect("it can be removed");
    }

    #[test]
    fn a_missing_file_is_named() {
        let failure = sha256_file(Path::new("/no/such/file")).expect_err("there is none");
        assert!(
            format!("{failure:#}").starts_with("reading /no/such/file: No such file"),
            "{failure:#}"
        );
    }
}
