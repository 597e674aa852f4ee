//! How workers end.

use super::*;

#[test]
fn the_cause_of_death_is_told() {
    let _watchdog = Watchdog::new();
    let pool = Pool::new(config());
    let cases: [(&str, &[u8], ExitCause); 4] = [
        ("segfault", b"", ExitCause::Signal(libc::SIGSEGV)),
        ("abort", b"", ExitCause::Signal(libc::SIGABRT)),
        ("exit", b"3", ExitCause::Code(3)),
        ("exit", b"0", ExitCause::Code(0)),
    ];
    for (function, arguments, cause) in cases {
        let (worker, pid) = pool.spawn_ready();
        pool.stage(worker, function, arguments);
        let exit = pool.exit(worker);
        assert_eq!(exit.status, cause, "{function}");
        assert_eq!(
            (exit.pid, exit.started, exit.signalled),
            (Some(pid), true, None)
        );
        assert!(exit.start_error.is_none());
    }
}
