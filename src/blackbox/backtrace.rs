//! From a picture to the functions on the stack: unwinds, finds the names, and leaves out what is not the user's.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::elf::Elf;
use super::maps::{Module, module_of};
use super::painting::{Painting, Registers};
use super::stack::{FRAMES_MAX, Frame};
use super::symbols::{Symbol, symbols};
use super::unwind::{Entered, Tables, step_by_frame_pointer, step_from_nowhere};
use crate::sync::Mutex;

/// Where crashes were looked up before. Reading debug information takes a large part of a second, and in a batch many
/// crashes are one bug.
static KNOWN: Known = Known(Mutex::new(BTreeMap::new()));

struct Known(Mutex<BTreeMap<Place, Vec<Symbol>>>);

/// Path and inode of a file, and an address as it was linked.
type Place = (PathBuf, u64, u64);

impl Known {
    /// When there are more, all are forgotten.
    const PLACES_MAX: usize = 4096;

    fn symbols(&self, elf: &Elf, module: &Module, addresses: &[u64]) -> Vec<Vec<Symbol>> {
        let place = |address: &u64| (module.path.clone(), module.inode, *address);
        let known: Option<Vec<_>> = {
            let known = self.0.lock();
            addresses.iter().map(|address| known.get(&place(address)).cloned()).collect()
        };
        known.unwrap_or_else(|| {
            let found = symbols(elf, addresses);
            let mut known = self.0.lock();
            if known.len() + found.len() > Self::PLACES_MAX {
                known.clear();
            }
            known.extend(addresses.iter().map(place).zip(found.iter().cloned()));
            found
        })
    }
}

/// The functions on the stack, the innermost first, down to `function`.
pub(super) fn frames(painting: &Painting, function: &str) -> Vec<Frame> {
    let mut files = Files { then: painting.at, files: BTreeMap::new() };
    let addresses = unwind(painting, &mut files);
    let mut frames = name(&addresses, &painting.modules, &mut files);
    cut_machinery(&mut frames, function);
    frames
}

/// The files of the modules, as far as they were needed.
struct Files<'a> {
    then: SystemTime,
    files: BTreeMap<&'a Path, Option<(Elf, Tables)>>,
}

impl<'a> Files<'a> {
    fn get(&mut self, module: &'a Module) -> Option<&(Elf, Tables)> {
        let then = self.then;
        let open = || {
            let elf = Elf::of_module(module, then)?;
            let tables = Tables::of(&elf);
            Some((elf, tables))
        };
        self.files.entry(&module.path).or_insert_with(open).as_ref()
    }

    /// How far above the addresses in its file the code of a module is.
    fn bias(&mut self, module: &'a Module) -> Option<u64> {
        let linked = self.get(module)?.0.address_of(module.offset)?;
        module.start.checked_sub(linked)
    }
}

/// Where each frame is, the innermost first: an address within its instruction.
fn unwind<'a>(painting: &'a Painting, files: &mut Files<'a>) -> Vec<u64> {
    let Painting { registers: Some(registers), stack, modules, .. } = painting else {
        return Vec::new();
    };
    let (mut registers, mut entered) = (*registers, Entered::Stopped);
    let mut addresses = Vec::new();
    while addresses.len() < FRAMES_MAX {
        let address = registers.instruction_pointer();
        if address == 0 && entered == Entered::Called {
            break;
        }
        addresses.push(address.saturating_sub(u64::from(entered == Entered::Called)));
        let by_tables = module_of(modules, address).and_then(|module| {
            let bias = files.bias(module)?;
            files.get(module)?.1.step(&registers, bias, entered, stack)
        });
        let caller = match by_tables {
            Some(caller) => Some(caller),
            None if addresses.len() == 1 && module_of(modules, address).is_none() => {
                step_from_nowhere(&registers, stack).map(|caller| (caller, Entered::Called))
            }
            None => {
                step_by_frame_pointer(&registers, stack).map(|caller| (caller, Entered::Called))
            }
        };
        let Some((caller, left)) = caller else { break };
        // Stacks grow downwards, so this ends. Only a handler may have a stack of its own.
        let is_progress = caller.stack_pointer() > registers.stack_pointer()
            || addresses.len() == 1
            || left == Entered::Stopped;
        if !is_progress || is_same_place(&caller, &registers) {
            break;
        }
        (registers, entered) = (caller, left);
    }
    addresses
}

fn is_same_place(one: &Registers, other: &Registers) -> bool {
    one.instruction_pointer() == other.instruction_pointer()
        && one.stack_pointer() == other.stack_pointer()
}

/// The functions at these addresses.
fn name<'a>(addresses: &[u64], modules: &'a [Module], files: &mut Files<'a>) -> Vec<Frame> {
    let mut named: Vec<Vec<Frame>> =
        addresses.iter().map(|address| vec![Frame::unnamed(modules, *address)]).collect();
    let mut by_file: BTreeMap<&Path, Vec<(usize, &Module, u64)>> = BTreeMap::new();
    for (index, address) in addresses.iter().enumerate() {
        if let Some(module) = module_of(modules, *address)
            && let Some(linked) = files.bias(module).and_then(|bias| address.checked_sub(bias))
        {
            by_file.entry(&module.path).or_default().push((index, module, linked));
        }
    }
    for wanted in by_file.into_values() {
        let Some((elf, _)) = files.get(wanted[0].1) else { continue };
        let linked: Vec<u64> = wanted.iter().map(|(.., linked)| *linked).collect();
        let found = KNOWN.symbols(elf, wanted[0].1, &linked);
        for ((index, module, address), symbols) in wanted.iter().zip(found) {
            let frame = |symbol: Symbol| Frame {
                function: symbol.function,
                file: symbol.file,
                line: symbol.line,
                module: Some(module.path.clone()),
                address: *address,
            };
            named[*index] = symbols.into_iter().map(frame).collect();
        }
    }
    named.into_iter().flatten().take(FRAMES_MAX).collect()
}

/// Leave out what called the task's function, which is this crate.
fn cut_machinery(frames: &mut Vec<Frame>, function: &str) {
    let is = |frame: &Frame, name: &str| frame.function.as_deref() == Some(name);
    let own = frames.iter().rposition(|frame| is(frame, function));
    let of_crate = || {
        frames.iter().position(|frame| {
            let name = frame.function.as_deref().unwrap_or_default();
            name.starts_with("atasker::registry::run::")
                || name.contains("as atasker::registry::run::ProcessTask>")
        })
    };
    if let Some(kept) = own.map(|own| own + 1).or_else(of_crate) {
        frames.truncate(kept);
    }
}
