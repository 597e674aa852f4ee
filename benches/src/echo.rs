//! A limit and a peer: bare ipc-channel to one child process, without any pool around it.

use std::io;
use std::process::{Child, Command};

use ipc_channel::ipc::{
    self, IpcBytesReceiver, IpcBytesSender, IpcOneShotServer, IpcReceiver, IpcSender,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::work;

/// Tells a child what it is there for, and the name of its parent's one-shot server.
pub(crate) const ROLE: &str = "ATASKER_BENCH_ECHO";

/// A child that sends back the bytes that it gets, each turned over.
#[derive(Debug)]
pub struct BytesEcho {
    send: IpcBytesSender,
    receive: IpcBytesReceiver,
    child: Ended,
}

/// A child that computes for each seed of a vector, and sends back the vector of the answers.
#[derive(Debug)]
pub struct VectorEcho {
    pub(crate) send: IpcSender<(Vec<u64>, u32)>,
    pub(crate) receive: IpcReceiver<Vec<u64>>,
    child: Ended,
}

/// Dropped, it ends the child.
#[derive(Debug)]
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        // It may be dead already, and there is nobody to tell.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[derive(Serialize, Deserialize)]
struct BytesEnds(IpcBytesReceiver, IpcBytesSender);

#[derive(Serialize, Deserialize)]
struct VectorEnds(IpcReceiver<(Vec<u64>, u32)>, IpcSender<Vec<u64>>);

impl BytesEcho {
    /// Start the child.
    ///
    /// # Panics
    /// If it does not start.
    pub fn start() -> Self {
        let (send, childs_receive) = ipc::bytes_channel().expect("a channel");
        let (childs_send, receive) = ipc::bytes_channel().expect("a channel");
        let child = start("bytes", BytesEnds(childs_receive, childs_send));
        Self { send, receive, child }
    }

    /// The process.
    pub fn pid(&self) -> u32 {
        self.child.0.id()
    }

    /// There and back.
    ///
    /// # Panics
    /// If the child has died.
    pub fn round_trip(&self, bytes: &[u8]) -> Vec<u8> {
        self.send.send(bytes).expect("the child listens");
        self.receive.recv().expect("the child answers")
    }
}

impl VectorEcho {
    /// Start the child.
    ///
    /// # Panics
    /// If it does not start.
    pub fn start() -> Self {
        let (send, childs_receive) = ipc::channel().expect("a channel");
        let (childs_send, receive) = ipc::channel().expect("a channel");
        let child = start("vectors", VectorEnds(childs_receive, childs_send));
        Self { send, receive, child }
    }

    /// The process.
    pub fn pid(&self) -> u32 {
        self.child.0.id()
    }
}

/// Start this program again with a role, and give it its ends.
fn start<E: Serialize + DeserializeOwned>(role: &str, ends: E) -> Ended {
    let (server, name) = IpcOneShotServer::<IpcSender<E>>::new().expect("a server");
    let child = Command::new(std::env::current_exe().expect("this program has a path"))
        .env(ROLE, format!("{role} {name}"))
        .spawn()
        .expect("the child starts");
    let (_, give) = server.accept().expect("the child connects");
    give.send(ends).expect("the child listens");
    Ended(child)
}

/// What the child does, until its parent closes the channel.
///
/// # Panics
/// If it was not started by [`BytesEcho`] or [`VectorEcho`].
pub(crate) fn serve(role: &str) {
    match role.split_once(' ').expect("a role and a name") {
        ("bytes", name) => {
            let BytesEnds(receive, send) = connect(name);
            while let Ok(mut bytes) = receive.recv() {
                work::flip(&mut bytes);
                if send.send(&bytes).is_err() {
                    break;
                }
            }
        }
        ("vectors", name) => {
            let VectorEnds(receive, send) = connect(name);
            while let Ok((seeds, steps)) = receive.recv() {
                let answers = seeds.into_iter().map(|seed| work::compute(seed, steps)).collect();
                if send.send(answers).is_err() {
                    break;
                }
            }
        }
        (other, _) => unreachable!("no role {other}"),
    }
}

fn connect<E: Serialize + DeserializeOwned>(name: &str) -> E {
    let (give, get) = ipc::channel::<E>().expect("a channel");
    IpcSender::connect(name.to_owned())
        .and_then(|parent| parent.send(give).map_err(io::Error::other))
        .expect("the parent listens");
    get.recv().expect("the parent gives the ends")
}
