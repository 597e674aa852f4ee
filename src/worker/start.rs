//! Becoming a worker: from the first line of `main` to the first call. The coordinator's side is in
//! `process::control`, the order and its reasons in process/README.md.

use std::ffi::OsStr;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::Ordering;

use ipc_channel::ipc::{IpcOneShotServer, IpcSender};

use super::{IS_WORKER, lifeline, log, serve, test_entry};
use crate::blackbox::Recorder;
use crate::process::protocol::{
    Announcement, CANNOT_START, CRATE_VERSION, FIRST_MESSAGE_BYTES_MAX, FirstMessage, FromWorker,
    Marker, PROTOCOL_VERSION, ProcessLimits, Welcome, WorkerData,
};
use crate::registry;
use crate::shm::{Handout, Segment};
use crate::sys::descriptors::{IfNotReady, receive_with_descriptors, send_with_descriptors};
use crate::sys::{descriptors, environment, process, signals};
use crate::transport::channel::WorkerEnd;
use crate::transport::ring::RingEnd;
use crate::transport::ring::layout::SEGMENT_BYTES;

pub(super) fn become_worker(marker: &Marker) -> ! {
    IS_WORKER.store(true, Ordering::Relaxed);
    // Nothing may unwind from here into the program's own main.
    let ended = catch_unwind(AssertUnwindSafe(|| run(marker)));
    // First of all: the coordinator may be gone, and that may be why.
    lifeline::remove_directory();
    match ended {
        Ok(Ok(())) => std::process::exit(0),
        // Not `eprintln`, which panics if nobody reads any more.
        Ok(Err(error)) => drop(writeln!(io::stderr(), "atasker worker: {error}")),
        Err(_panic) => {}
    }
    std::process::exit(CANNOT_START);
}

fn run(marker: &Marker) -> io::Result<()> {
    descriptors::close_inherited();
    signals::unblock_all();
    signals::heed_children();
    let lifeline = descriptors::take_stdin()?;
    set_title();
    let announced = lifeline.try_clone()?;
    // Before its thread listens there, which would take the message for nothing.
    let is_known = marker.protocol == PROTOCOL_VERSION;
    let equipment = if is_known { Some(receive_equipment(&lifeline)?) } else { None };
    // Not before: memory with a name is opened by then, and so has none any more.
    exit_if_orphaned(marker);
    lifeline::watch(lifeline)?;

    let announce = |server: &str, listening: &[BorrowedFd<'_>]| {
        let announcement = Announcement {
            protocol: PROTOCOL_VERSION,
            crate_version: CRATE_VERSION.to_owned(),
            server: server.to_owned(),
        };
        let text = announcement.to_text();
        send_with_descriptors(announced.as_fd(), text.as_bytes(), listening, IfNotReady::Wait)
    };
    let Some(equipment) = equipment else {
        // The coordinator reads the versions in these words, which are the same in all versions.
        announce("", &[])?;
        wait_to_be_killed();
    };
    let (server, name) = lifeline::within_directory(&marker.directory, || one_shot_server(marker))
        .map_err(|error| {
            let directory = marker.directory.display();
            let what = format!(
                "can't make a socket in {directory} (TMPDIR must be a directory that it may write to)"
            );
            explain(&error, &what)
        })?;
    // So that the coordinator can connect even if this process dies just now.
    let listening = descriptors::listening_at(Path::new(&name))
        .map_err(|error| explain(&error, "can't find its own socket"))?;
    announce(&name, &[listening.as_fd()])?;
    drop(listening);
    let (_, welcome) =
        server.accept().map_err(|error| explain(&error, "the coordinator did not welcome"))?;
    lifeline::remove_directory();
    // Neither before: killed by a signal, nobody would have removed the directory.
    process::die_with_parent()?;
    descriptors::kill_own_group_at_end_of(announced.as_fd())?;
    drop(announced);
    exit_if_orphaned(marker);
    prepare_and_serve(welcome, equipment)
}

/// What a worker is sent ahead.
struct Equipment {
    recorder: Recorder,
    /// Unless calls come over channels.
    ring: Option<RingEnd>,
    /// For the initialisers.
    data: Option<OwnedFd>,
}

/// What the coordinator sent ahead.
fn receive_equipment(lifeline: &OwnedFd) -> io::Result<Equipment> {
    const DESCRIPTORS_MAX: usize = 4;
    let mut text = [0; FIRST_MESSAGE_BYTES_MAX];
    let received =
        receive_with_descriptors(lifeline.as_fd(), &mut text, DESCRIPTORS_MAX, IfNotReady::Wait);
    let received = received.map_err(|error| explain(&error, "no first message"))?;
    if received.length == 0 {
        // The coordinator is gone.
        process::exit_now(0);
    }
    let mut descriptors = received.descriptors.into_iter();
    let mut next = || {
        let incomplete = "the coordinator's first message is incomplete";
        descriptors.next().ok_or_else(|| io::Error::other(incomplete))
    };
    let blackbox = next()?;
    let ring = match FirstMessage::parse(&text[..received.length]) {
        Some(FirstMessage::Channel) => None,
        Some(FirstMessage::Ring { name }) => {
            let (segment, parcels) = (next()?, next()?);
            let segment = match name {
                None => Segment::open(segment, SEGMENT_BYTES),
                Some(name) => Segment::open_named(name, SEGMENT_BYTES),
            };
            let segment =
                segment.map_err(|error| explain(&error, "can't map the ring's memory"))?;
            Some(RingEnd::new(segment, parcels, serve::end_unkilled))
        }
        None => return Err(io::Error::other("the coordinator's first message is not known")),
    };
    let recorder =
        Recorder::install(blackbox).map_err(|error| explain(&error, "can't map the black box"))?;
    Ok(Equipment { recorder, ring, data: next().ok() })
}

/// Its temporary directory is within the one that the coordinator has chosen and will remove.
fn one_shot_server(marker: &Marker) -> io::Result<(IpcOneShotServer<Welcome>, String)> {
    const TMPDIR: &str = "TMPDIR";
    let before = std::env::var_os(TMPDIR);
    environment::set_at_start(TMPDIR, marker.directory.as_os_str());
    let server = IpcOneShotServer::new();
    match before {
        Some(before) => environment::set_at_start(TMPDIR, &before),
        None => environment::remove_at_start(TMPDIR),
    }
    server
}

fn prepare_and_serve(welcome: Welcome, equipment: Equipment) -> io::Result<()> {
    let Welcome {
        working_directory,
        worker_data,
        limits,
        log_level,
        with_catalogue,
        control,
        endpoints,
        ..
    } = welcome;
    if test_entry::is_running() {
        // Standard output is /dev/null, for libtest's sake.
        rustix::stdio::dup2_stdout(rustix::stdio::stderr())?;
    }
    log::install(control.clone(), log_level);
    registry::panics::install_hook();
    let say = |message| {
        let said: Result<(), ipc_channel::IpcError> = IpcSender::send(&control, message);
        said.map_err(|error| explain(&error, "the coordinator does not listen"))
    };
    say(FromWorker::Hello {
        crate_version: CRATE_VERSION.to_owned(),
        catalogue: with_catalogue.then(registry::catalogue),
    })?;
    if let Err(error) = set_limits(limits) {
        return say(FromWorker::StartFailed { reason: error.to_string() });
    }
    let Equipment { recorder, ring, data } = equipment;
    let data = match (worker_data, data) {
        (None, _) => None,
        (Some(WorkerData { type_name, length }), Some(data)) => {
            let bytes = Handout::read(data, length)
                .map_err(|error| explain(&error, "can't read the worker data"))?;
            Some((type_name, bytes))
        }
        (Some(_), None) => return Err(io::Error::other("the worker data did not come along")),
    };
    let lent = data.as_ref().map(|(type_name, bytes)| (type_name.as_str(), bytes.as_slice()));
    if let Err(reason) = initialise(&working_directory, lent) {
        return say(FromWorker::StartFailed { reason });
    }
    drop(data);
    say(FromWorker::Ready)?;
    match (ring, endpoints) {
        (Some(ring), None) => serve::serve_ring(ring, recorder),
        (None, Some(endpoints)) => serve::serve_channel(WorkerEnd::from(endpoints), recorder)?,
        _ => return Err(io::Error::other("the coordinator offers no way for calls, or two")),
    }
    Ok(())
}

fn set_limits(limits: ProcessLimits) -> io::Result<()> {
    if !limits.core_dumps {
        process::forbid_core_dumps()
            .map_err(|error| explain(&error, "can't do without core dumps"))?;
    }
    if let Some(bytes) = limits.address_space {
        process::limit_address_space(bytes).map_err(|error| {
            explain(&error, &format!("can't limit the address space to {bytes} bytes"))
        })?;
    }
    Ok(())
}

fn initialise(working_directory: &[u8], data: Option<(&str, &[u8])>) -> Result<(), String> {
    let directory = OsStr::from_bytes(working_directory);
    std::env::set_current_dir(directory).map_err(|error| {
        format!("can't change to the directory {}: {error}", directory.display())
    })?;
    for init in registry::init::worker_inits() {
        catch_unwind(AssertUnwindSafe(|| (init.run)(data))).unwrap_or_else(|panic| {
            let message = panic.downcast_ref::<&str>().map(ToString::to_string);
            let message = message.or_else(|| panic.downcast_ref::<String>().cloned());
            Err(format!(
                "an initialiser panicked: {}",
                message.unwrap_or_else(|| "no message".to_owned())
            ))
        })?;
    }
    Ok(())
}

/// The coordinator died before its lifeline was watched, and this process belongs to another now.
fn exit_if_orphaned(marker: &Marker) {
    if process::parent_pid() != marker.coordinator {
        lifeline::remove_directory();
        process::exit_now(0);
    }
}

/// For `ps` and `top`; and let the kernel, short of memory, take a worker before its host.
fn set_title() {
    let _ = rustix::thread::set_name(c"atasker-worker");
    let _ = std::fs::write("/proc/self/oom_score_adj", "500");
}

fn wait_to_be_killed() -> ! {
    loop {
        std::thread::park();
    }
}

fn explain(error: &dyn std::fmt::Display, what: &str) -> io::Error {
    io::Error::other(format!("{what}: {error}"))
}
