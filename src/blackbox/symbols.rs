//! From an address in a file to the names of the functions there, and their lines.

use addr2line::Context;
use gimli::{Dwarf, DwarfSections, EndianSlice, LittleEndian, SectionId};

use super::elf::{Elf, text_at, u32_at, u64_at};

/// More functions are not in one place, however much was inlined.
const INLINED_MAX: usize = 32;

/// A function at a place, and its line there.
#[derive(Clone, Debug, Default)]
pub(super) struct Symbol {
    pub(super) function: Option<String>,
    pub(super) file: Option<String>,
    pub(super) line: Option<u32>,
}

/// Names of all the addresses in one file: for each the functions there, those that were inlined first.
pub(super) fn symbols(elf: &Elf, addresses: &[u64]) -> Vec<Vec<Symbol>> {
    let table = Table::of(elf);
    let named =
        |address: &u64| vec![Symbol { function: table.name(*address), ..Symbol::default() }];
    let by_table = || addresses.iter().map(named).collect();
    if !elf.has(".debug_info") {
        return by_table();
    }
    let load = |id: SectionId| Ok::<_, gimli::Error>(elf.section(id.name()).bytes);
    let Ok(sections) = DwarfSections::load(load) else { return by_table() };
    let dwarf: Dwarf<EndianSlice<'_, LittleEndian>> =
        sections.borrow(|bytes| EndianSlice::new(bytes, LittleEndian));
    let Ok(context) = Context::from_dwarf(dwarf) else { return by_table() };
    addresses
        .iter()
        .map(|address| {
            let mut found = frames(&context, *address);
            match found.last_mut() {
                // The linker knows the full path, line tables alone only its end.
                Some(outermost) => {
                    outermost.function = table.name(*address).or(outermost.function.take());
                }
                None => found = named(address),
            }
            found
        })
        .collect()
}

fn frames(context: &Context<EndianSlice<'_, LittleEndian>>, address: u64) -> Vec<Symbol> {
    let mut symbols = Vec::new();
    let Ok(mut frames) = context.find_frames(address).skip_all_loads() else { return symbols };
    while let Ok(Some(frame)) = frames.next()
        && symbols.len() < INLINED_MAX
    {
        let name = frame.function.as_ref().and_then(|function| function.raw_name().ok());
        let location = frame.location.as_ref();
        symbols.push(Symbol {
            function: name.map(|name| demangled(&name)),
            file: location.and_then(|location| location.file).map(str::to_owned),
            line: location.and_then(|location| location.line),
        });
    }
    symbols
}

fn demangled(name: &str) -> String {
    format!("{:#}", rustc_demangle::demangle(name))
}

/// The functions that the linker knows.
struct Table {
    symbols: Vec<u8>,
    names: Vec<u8>,
}

const SYMBOL_BYTES: usize = 24;
const FUNCTION: u8 = 2;

impl Table {
    fn of(elf: &Elf) -> Self {
        let (symbols, names) =
            if elf.has(".symtab") { (".symtab", ".strtab") } else { (".dynsym", ".dynstr") };
        Self { symbols: elf.section(symbols).bytes, names: elf.section(names).bytes }
    }

    /// The function that an address is in.
    fn name(&self, address: u64) -> Option<String> {
        let (_, name) = self
            .symbols
            .chunks_exact(SYMBOL_BYTES)
            .filter_map(|symbol| {
                let from = u64_at(symbol, 8)?;
                // Functions in assembler have no length.
                let length = u64_at(symbol, 16)?.max(1);
                let is_it = symbol[4] & 0xf == FUNCTION
                    && (from..from.saturating_add(length)).contains(&address);
                is_it.then_some((from, u32_at(symbol, 0)?))
            })
            .max_by_key(|(from, _)| *from)?;
        let name = text_at(&self.names, name)?;
        (!name.is_empty()).then(|| demangled(&name))
    }
}
