//! Calls and outcomes.

use super::*;

#[test]
fn a_call_comes_back() {
    let _watchdog = Watchdog::new();
    let pool = Pool::new(config());
    let (worker, pid) = pool.spawn_ready();
    assert_eq!(pool.processes.pid(worker), Some(pid));
    assert_eq!(pool.call(worker, "echo", b"hello"), b"hello");
    assert_eq!(pool.call(worker, "echo", b""), b"");
}
