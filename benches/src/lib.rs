//! What the benchmarks share: atasker and its peers behind functions of the same shape, work of a known length,
//! and where everything runs.
//!
//! To be read in this order: [`work`] (what tasks do), [`ours`] (atasker, by transport), [`threads`],
//! [`processes`] and [`echo`] (the peers), [`ping_pong`] over [`shared`] (the limits), [`trip`] and [`batch`]
//! (one task after another, and many at once, the same for everybody), [`pools`] (all of them together),
//! [`placement`] (on which cores).

pub mod batch;
pub mod echo;
pub mod ours;
pub mod ping_pong;
pub mod placement;
pub mod pools;
pub mod processes;
pub mod shared;
pub mod threads;
pub mod trip;
pub mod work;

/// The first line of every benchmark that starts processes: serve, if this is one of them.
pub fn serve_if_started_for_that() {
    if let Ok(role) = std::env::var(echo::ROLE) {
        echo::serve(&role);
        std::process::exit(0);
    }
    if std::env::var_os(ping_pong::ROLE).is_some() {
        ping_pong::serve();
        std::process::exit(0);
    }
    atasker::worker::run_if_spawned();
    procspawn::init();
}
