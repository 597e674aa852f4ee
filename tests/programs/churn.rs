//! Keeps a machine busy while tests run: cores, memory, a disk, the scheduler. For where there is no stress-ng.
//! Ends with the process that started it.

use std::io::{Seek, Write};
use std::os::unix::process::parent_id;
use std::sync::mpsc;
use std::thread;

fn main() {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    for _ in 0..cores {
        thread::spawn(|| {
            let mut number = 1_u64;
            loop {
                number = std::hint::black_box(number.wrapping_mul(6_364_136_223_846_793_005));
            }
        });
    }
    thread::spawn(|| {
        loop {
            // Fresh pages each time.
            let mut memory = vec![0_u8; 256 << 20];
            memory.iter_mut().step_by(4096).for_each(|byte| *byte = 1);
            std::hint::black_box(&memory);
        }
    });
    thread::spawn(write_again_and_again);
    for _ in 0..2 {
        play_ping_pong();
    }
    let parent = parent_id();
    while parent_id() == parent {
        thread::sleep(std::time::Duration::from_millis(100));
    }
}

fn write_again_and_again() -> std::io::Result<()> {
    let path = std::env::temp_dir().join(format!("churn-{}", std::process::id()));
    let mut file = std::fs::File::create(&path)?;
    // So that nothing is left, however this ends.
    std::fs::remove_file(&path)?;
    let block = vec![7; 16 << 20];
    loop {
        file.rewind()?;
        file.write_all(&block)?;
        file.sync_data()?;
    }
}

/// Two threads that wake each other.
fn play_ping_pong() {
    let (ping, pinged) = mpsc::sync_channel::<()>(0);
    let (pong, ponged) = mpsc::sync_channel::<()>(0);
    thread::spawn(move || while ping.send(()).is_ok() && ponged.recv().is_ok() {});
    thread::spawn(move || while pinged.recv().is_ok() && pong.send(()).is_ok() {});
}
