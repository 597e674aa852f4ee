//! Fuzzing without a fuzzer: the corpus of `fuzz/`, and random mutations of it. Unlike a fuzzer this is not led
//! by what the code does, but it needs nothing beside the tests, so that every change is played against for a
//! while.
//!
//! Each seed is one sequence of games; it is another at each run. `ATASKER_FUZZ_SEED=n` plays one again,
//! `ATASKER_FUZZ_GAMES=n` sets how many games it has.

use std::fmt::Write;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use super::super::hostile::play;
use super::watched_as;
use crate::dice::{Dice, number_from};

const GAMES: u64 = 2000;
/// A game is no longer than this, so that many are played.
const MOVES_MAX: usize = 600;

/// What the fuzzer found, and what it began with. Not part of the published package.
fn corpus() -> Option<Vec<Vec<u8>>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/ring");
    let mut paths: Vec<_> =
        std::fs::read_dir(folder).ok()?.flatten().map(|entry| entry.path()).collect();
    // A seed is to mean the same everywhere.
    paths.sort();
    let corpus: Vec<_> =
        paths.iter().map(|path| std::fs::read(path).expect("it can be read")).collect();
    assert!(!corpus.is_empty());
    Some(corpus)
}

/// Play, and if the worker wins or the game hangs, say how it went so that it can join the corpus.
fn play_and_tell(moves: &[u8]) {
    let mut game = String::from("echo ");
    for byte in moves {
        write!(game, "{byte:02x}").expect("strings grow");
    }
    game.push_str(" | xxd -r -p > fuzz/corpus/ring/found-NN");
    watched_as(game.clone(), || {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| play(moves))) {
            eprintln!("the worker wins; to keep the game: {game}");
            resume_unwind(panic);
        }
    });
}

#[test]
fn the_corpus_is_played() {
    for moves in corpus().unwrap_or_default() {
        play_and_tell(&moves);
    }
}

#[test]
fn mutations_of_the_corpus_are_played() {
    let Some(corpus) = corpus() else { return };
    let now =
        || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_nanos() as u64);
    let seed = number_from("ATASKER_FUZZ_SEED").unwrap_or_else(now);
    // Shown if it fails.
    println!("to play the same games: ATASKER_FUZZ_SEED={seed} cargo test --lib mutations");
    let mut dice = Dice::new(seed);
    for _ in 0..number_from("ATASKER_FUZZ_GAMES").unwrap_or(GAMES) {
        play_and_tell(&mutated(&corpus, &mut dice));
    }
}

/// One game of the corpus, changed in a few places.
fn mutated(corpus: &[Vec<u8>], dice: &mut Dice) -> Vec<u8> {
    let mut moves = corpus[dice.index(corpus.len())].clone();
    for _ in 0..=dice.index(8) {
        mutate(&mut moves, &corpus[dice.index(corpus.len())], dice);
    }
    moves.truncate(MOVES_MAX);
    moves
}

fn mutate(moves: &mut Vec<u8>, other: &[u8], dice: &mut Dice) {
    let at = dice.index(moves.len() + 1);
    match dice.below(6) {
        // Flip a bit, or make a byte another.
        0 | 1 if at < moves.len() => {
            let bits = if dice.one_in(2) { 1 << dice.below(8) } else { dice.next() as u8 };
            moves[at] ^= bits;
        }
        // Insert something.
        2 => {
            let inserted: Vec<u8> = (0..=dice.index(8)).map(|_| dice.next() as u8).collect();
            moves.splice(at..at, inserted);
        }
        // Take something out, or have it twice.
        3 => drop(moves.drain(part(moves.len(), dice))),
        4 => {
            let twice = moves[part(moves.len(), dice)].to_vec();
            moves.splice(at..at, twice);
        }
        // Splice a part of another game in, instead of what is there or before it.
        _ => {
            let end = if dice.one_in(2) { at } else { moves.len() };
            moves.splice(at..end, other[part(other.len(), dice)].iter().copied());
        }
    }
}

/// Some part of what has this length.
fn part(length: usize, dice: &mut Dice) -> std::ops::Range<usize> {
    let start = dice.index(length + 1);
    start..start + dice.index(length - start + 1)
}
