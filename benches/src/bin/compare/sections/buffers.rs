//! Large payloads that nobody copies: lent to a worker and changed in place, or sealed and only read.

#![expect(unsafe_code, reason = "a lent buffer is read in place after it has come back")]

use atasker::{Blob, SealedBlob, Supervisor, task};
use atasker_benches::ours::Transport;
use atasker_benches::placement::Placement;
use atasker_benches::pools::Pools;
use atasker_benches::trip::{self, Pace};
use atasker_benches::work::{flip, read, seconds};

use super::payload::{LARGE, LOCAL, ROUNDS_LARGE, in_local_memory, sum_of};
use crate::report::{Bar, Unit};
use crate::rounds::{Contender, Length, Table};
use crate::run::Run;

const HOT: &str = "an empty task without it";

/// Every byte turned over where it is.
#[task]
fn flip_in_place(mut bytes: Blob) -> Blob {
    flip(bytes.as_mut_slice().expect("a worker may"));
    bytes
}

/// An empty task that has the bytes mapped.
#[task]
fn touch_nothing(bytes: SealedBlob) -> usize {
    bytes.len()
}

/// Two tables, both of 64 MiB.
pub(crate) fn in_place(run: &mut Run, pools: &Pools, placement: Placement) {
    println!("64 MiB in place:\n");
    // Buffers cross over rings only.
    let (ring, supervisor) = &pools.ours[0];
    assert_eq!(*ring, Transport::Ring);
    let ours = format!("{}, lent", ring.name());
    let contenders = vec![lent_and_returned(ours.clone(), supervisor), in_local_memory(LARGE)];
    Table {
        title: format!("64 MiB lent, {placement}"),
        unit: Unit::Ms,
        length: Length::Times(1),
        rounds: if run.arguments.short { 1 } else { ROUNDS_LARGE },
        contenders,
        bars: vec![Bar::at_most(1.2, &ours, LOCAL)],
        ideal: None,
    }
    .measure(run);

    println!("64 MiB sealed, which the worker has mapped and does not touch:\n");
    let ours = format!("{}, sealed", ring.name());
    let contenders = vec![
        sealed_and_untouched(ours.clone(), supervisor),
        Contender::new(HOT, |n| trip::ours(supervisor, Pace::Hot, n)),
    ];
    Table {
        title: format!("64 MiB sealed, {placement}"),
        unit: Unit::Us,
        length: Length::Fill(run.sample() / 2),
        rounds: run.rounds(),
        contenders,
        bars: vec![Bar::at_most(3.0, &ours, HOT)],
        ideal: None,
    }
    .measure(run);
}

fn lent_and_returned(name: String, supervisor: &Supervisor) -> Contender<'_> {
    let mut value = 7_u8;
    let filled = Blob::build(LARGE, |bytes| bytes.fill(value)).expect("memory");
    let mut lent = Some(filled);
    Contender::new(name, move |times| {
        seconds(|| {
            for _ in 0..times {
                let there = lent.take().expect("it came back");
                let task = supervisor.submit(flip_in_place::call(there)).expect("accepted");
                let back = task.wait().expect("it runs");
                value = !value;
                // SAFETY: the worker has returned it and is idle; it writes nothing that it was not asked to. It
                // is sent again only after the last use of the slice.
                let bytes = unsafe { back.as_slice_unchecked() }.expect("it was not sent");
                assert_eq!(read(bytes), sum_of(value, LARGE));
                lent = Some(back);
            }
        }) / times as f64
    })
}

fn sealed_and_untouched(name: String, supervisor: &Supervisor) -> Contender<'_> {
    let draft = Blob::build(LARGE, |bytes| bytes.fill(7)).expect("memory");
    let sealed = draft.seal().expect("memory");
    Contender::new(name, move |times| {
        Pace::Hot.measure(times, |_| {
            let call = touch_nothing::call(sealed.clone());
            let task = supervisor.submit(call).expect("accepted");
            assert_eq!(task.wait().expect("it runs"), LARGE);
        })
    })
}
