//! The coordinator's end of a ring against a worker that writes anything anywhere.
#![no_main]

libfuzzer_sys::fuzz_target!(|moves: &[u8]| atasker::fuzzing::ring(moves));
