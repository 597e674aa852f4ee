//! From frame to frame: by the tables that compilers leave for exceptions (`.eh_frame`), and where there are none by
//! frame pointers. Knows how a frame is undone, not what it is called.

use gimli::{
    BaseAddresses, CfaRule, EhFrame, EhFrameHdr, EndianSlice, EvaluationResult, LittleEndian,
    Register, RegisterRule, UnwindContext, UnwindExpression, UnwindSection, Value,
};

use super::elf::{Contents, Elf};
use super::painting::{Architecture, Registers, StackBytes};

type Bytes<'a> = EndianSlice<'a, LittleEndian>;

/// An expression that takes more steps is given up.
const STEPS_MAX: u32 = 1000;
/// Return addresses of aarch64 may be signed in the bits above.
const ADDRESS_BITS: u64 = (1 << 48) - 1;

/// The tables of one file.
#[derive(Debug)]
pub(super) struct Tables {
    frames: Contents,
    index: Contents,
    text: u64,
}

/// What a frame was entered by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entered {
    /// By a call: its address is that behind the call.
    Called,
    /// By a signal, or it is the innermost: its address is that of the next instruction.
    Stopped,
}

impl Tables {
    pub(super) fn of(elf: &Elf) -> Self {
        Self {
            frames: elf.section(".eh_frame"),
            index: elf.section(".eh_frame_hdr"),
            text: elf.section(".text").address,
        }
    }

    /// The registers of the caller, and by what it was left.
    ///
    /// `bias`: how far above the addresses in the file its code is. `entered`: how the frame of `registers` was left.
    pub(super) fn step(
        &self,
        registers: &Registers,
        bias: u64,
        entered: Entered,
        stack: &StackBytes,
    ) -> Option<(Registers, Entered)> {
        let back = u64::from(entered == Entered::Called);
        let address = registers.instruction_pointer().checked_sub(bias)?.checked_sub(back)?;
        let bytes = |contents| EndianSlice::new(contents, LittleEndian);
        let frames = EhFrame::new(&self.frames.bytes, LittleEndian);
        let bases = BaseAddresses::default()
            .set_eh_frame(self.frames.address)
            .set_eh_frame_hdr(self.index.address)
            .set_text(self.text);
        let index = EhFrameHdr::from(bytes(&self.index.bytes)).parse(&bases, 8).ok();
        let entry = match index.as_ref().and_then(gimli::ParsedEhFrameHdr::table) {
            Some(table) => {
                table.fde_for_address(&frames, &bases, address, EhFrame::cie_from_offset).ok()?
            }
            None => frames.fde_for_address(&bases, address, EhFrame::cie_from_offset).ok()?,
        };
        let mut context = UnwindContext::new();
        let row = entry.unwind_info_for_address(&frames, &bases, &mut context, address).ok()?;
        let undo = Undo { registers, stack, frames: &frames, encoding: entry.cie().encoding() };
        let frame = match row.cfa() {
            CfaRule::RegisterAndOffset { register, offset } => {
                undo.register(*register)?.wrapping_add_signed(*offset)
            }
            CfaRule::Expression(expression) => undo.evaluate(expression, None)?,
        };
        let mut caller = *registers;
        caller.values[registers.architecture.stack_pointer()] = frame;
        for (register, rule) in row.registers() {
            let place = caller.values.get_mut(usize::from(register.0))?;
            *place = undo.rule(*register, rule, frame)?;
        }
        let ret = entry.cie().return_address_register();
        let is_there = match row.register(ret) {
            Some(RegisterRule::Undefined) => false,
            Some(_) => true,
            // It is still in its register, if it has one.
            None => registers.architecture == Architecture::Aarch64,
        };
        let address = *caller.values.get(usize::from(ret.0)).filter(|_| is_there)?;
        caller.values[registers.architecture.instruction_pointer()] = plain(registers, address);
        let left = if entry.is_signal_trampoline() { Entered::Stopped } else { Entered::Called };
        Some((caller, left))
    }
}

/// By the frame pointer, which code without tables may have kept.
pub(super) fn step_by_frame_pointer(
    registers: &Registers,
    stack: &StackBytes,
) -> Option<Registers> {
    let pointer = frame_pointer(registers.architecture);
    let frame = registers.values[pointer];
    let mut caller = *registers;
    caller.values[pointer] = stack.word(frame)?;
    let address = stack.word(frame.checked_add(8)?)?;
    caller.values[registers.architecture.instruction_pointer()] = plain(registers, address);
    caller.values[registers.architecture.stack_pointer()] = frame.checked_add(16)?;
    Some(caller)
}

/// Of a call to where no code is: the caller is where it would return to.
pub(super) fn step_from_nowhere(registers: &Registers, stack: &StackBytes) -> Option<Registers> {
    const LINK: usize = 30;
    let mut caller = *registers;
    let address = match registers.architecture {
        Architecture::X86_64 => {
            let top = registers.stack_pointer();
            caller.values[registers.architecture.stack_pointer()] = top.checked_add(8)?;
            stack.word(top)?
        }
        Architecture::Aarch64 => registers.values[LINK],
    };
    caller.values[registers.architecture.instruction_pointer()] = plain(registers, address);
    Some(caller)
}

fn frame_pointer(architecture: Architecture) -> usize {
    match architecture {
        Architecture::X86_64 => 6,
        Architecture::Aarch64 => 29,
    }
}

fn plain(registers: &Registers, address: u64) -> u64 {
    match registers.architecture {
        Architecture::X86_64 => address,
        Architecture::Aarch64 => address & ADDRESS_BITS,
    }
}

/// What is needed to undo a frame.
struct Undo<'a> {
    registers: &'a Registers,
    stack: &'a StackBytes,
    frames: &'a EhFrame<Bytes<'a>>,
    encoding: gimli::Encoding,
}

impl Undo<'_> {
    fn register(&self, register: Register) -> Option<u64> {
        self.registers.values.get(usize::from(register.0)).copied()
    }

    /// What a register was in the caller.
    fn rule(&self, register: Register, rule: &RegisterRule<usize>, frame: u64) -> Option<u64> {
        match rule {
            RegisterRule::Offset(offset) => self.stack.word(frame.wrapping_add_signed(*offset)),
            RegisterRule::ValOffset(offset) => Some(frame.wrapping_add_signed(*offset)),
            RegisterRule::Register(other) => self.register(*other),
            RegisterRule::Expression(expression) => {
                self.stack.word(self.evaluate(expression, Some(frame))?)
            }
            RegisterRule::ValExpression(expression) => self.evaluate(expression, Some(frame)),
            RegisterRule::Constant(value) => Some(*value),
            _ => self.register(register),
        }
    }

    fn evaluate(&self, expression: &UnwindExpression<usize>, frame: Option<u64>) -> Option<u64> {
        let expression = expression.get(self.frames).ok()?;
        let mut evaluation = expression.evaluation(self.encoding);
        evaluation.set_max_iterations(STEPS_MAX);
        if let Some(frame) = frame {
            evaluation.set_initial_value(frame);
        }
        let mut result = evaluation.evaluate().ok()?;
        // Each question is a step of its own, so these end too.
        for _ in 0..STEPS_MAX {
            result = match result {
                EvaluationResult::Complete => {
                    return evaluation.value_result()?.to_u64(u64::MAX).ok();
                }
                EvaluationResult::RequiresRegister { register, .. } => {
                    let value = Value::Generic(self.register(register)?);
                    evaluation.resume_with_register(value).ok()?
                }
                EvaluationResult::RequiresMemory { address, size: 8, .. } => {
                    let value = Value::Generic(self.stack.word(address)?);
                    evaluation.resume_with_memory(value).ok()?
                }
                _ => return None,
            };
        }
        None
    }
}
