//! Large payloads: there, every byte turned over, back, every byte read. Here by those who copy; those who do
//! not are in `buffers`.

use atasker::Supervisor;
use atasker_benches::echo::BytesEcho;
use atasker_benches::ours;
use atasker_benches::placement::Placement;
use atasker_benches::pools::Pools;
use atasker_benches::processes::{flip_bytes, flip_vec};
use atasker_benches::work::{flip, read, seconds};
use serde_bytes::ByteBuf;

use crate::report::Unit;
use crate::rounds::{Contender, Length, Table};
use crate::run::{Run, warn_unless_placed};

const MIB: usize = 1 << 20;
pub(super) const LARGE: usize = 64 * MIB;
pub(super) const ROUNDS_LARGE: usize = 5;
pub(super) const LOCAL: &str = "in local memory, the limit";

/// One MiB, then 64.
pub(crate) fn large(run: &mut Run, placement: Placement) {
    let Some(layout) = run.layout(placement, 1) else { return };
    let pools = Run::pools(1, &layout);
    let echo = BytesEcho::start();
    warn_unless_placed(layout.pin_processes(&[echo.pid()]));

    println!("1 MiB:\n");
    Table {
        title: format!("1 MiB there and back, {placement}"),
        unit: Unit::Ms,
        length: Length::Fill(run.sample()),
        rounds: run.rounds(),
        contenders: copies(&pools, &echo, MIB),
        bars: Vec::new(),
        ideal: None,
    }
    .measure(run);

    println!("64 MiB:\n");
    Table {
        title: format!("64 MiB there and back, {placement}"),
        unit: Unit::Ms,
        length: Length::Times(1),
        rounds: if run.arguments.short { 1 } else { ROUNDS_LARGE },
        contenders: copies(&pools, &echo, LARGE),
        bars: Vec::new(),
        ideal: None,
    }
    .measure(run);

    super::buffers::in_place(run, &pools, placement);
}

/// Those who copy. What comes back becomes the next payload.
fn copies<'a>(pools: &'a Pools, echo: &'a BytesEcho, size: usize) -> Vec<Contender<'a>> {
    let ours = pools.ours.iter().map(|(transport, supervisor)| {
        there_and_back(format!("{}, &[u8] and Vec<u8>", transport.name()), size, |bytes| {
            copied_by_ours(supervisor, bytes)
        })
    });
    let mut contenders: Vec<_> = ours.collect();
    contenders.extend([
        in_local_memory(size),
        there_and_back("procspawn, ByteBuf", size, |bytes| {
            let task = pools.procspawn.spawn(ByteBuf::from(bytes), flip_bytes);
            task.join().expect("it runs").into_vec()
        }),
        there_and_back("procspawn, Vec<u8>", size, |bytes| {
            pools.procspawn.spawn(bytes, flip_vec).join().expect("it runs")
        }),
        there_and_back("ipc-channel, bare, bytes", size, |bytes| echo.round_trip(&bytes)),
    ]);
    contenders
}

/// What is left if nothing is sent anywhere.
pub(super) fn in_local_memory<'a>(size: usize) -> Contender<'a> {
    there_and_back(LOCAL, size, |mut bytes| {
        flip(&mut bytes);
        bytes
    })
}

fn copied_by_ours(supervisor: &Supervisor, bytes: Vec<u8>) -> Vec<u8> {
    let task = supervisor.submit(ours::flip_copy::call(&bytes)).expect("accepted");
    task.wait().expect("it runs")
}

fn there_and_back<'a>(
    name: impl Into<String>,
    size: usize,
    flipped: impl Fn(Vec<u8>) -> Vec<u8> + 'a,
) -> Contender<'a> {
    let mut bytes = vec![7_u8; size];
    let mut value = 7_u8;
    Contender::new(name, move |times| {
        seconds(|| {
            for _ in 0..times {
                bytes = flipped(std::mem::take(&mut bytes));
                value = !value;
                assert_eq!(read(&bytes), sum_of(value, size));
            }
        }) / times as f64
    })
}

/// What [`read`] returns for so many bytes of this value, a multiple of eight.
pub(super) fn sum_of(value: u8, size: usize) -> u64 {
    (size as u64 / 8).wrapping_mul(u64::from_le_bytes([value; 8]))
}
