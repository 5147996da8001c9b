//! What an instruction costs: the gas schedule. Changing it changes [`super::VERSION`].
//!
//! One gas is about one instruction of an interpreter. Structure is free, since engines compile it away. Divisions,
//! square roots and calls cost what they take more than an addition, roughly: gas bounds time, it does not predict it.

use wasmparser::Operator;

/// Bytes that are moved or cleared for one gas.
pub const BYTES_PER_GAS: u64 = 8;
/// Bytes that a page of memory counts as.
pub const PAGE_BYTES: u64 = 65_536;
/// Bytes that an element of a table counts as.
pub const ELEMENT_BYTES: u64 = 8;
/// A call of the host, beside its bytes.
pub const HOST_CALL: u64 = 32;
/// A call of a function, beside its locals.
pub const CALL: u64 = 4;
/// Division, remainder, square root.
const SLOW: u64 = 4;

/// Gas of one instruction; operands that stand for sizes come on top.
pub fn of(operator: &Operator<'_>) -> u64 {
    use Operator as O;
    match operator {
        O::Nop | O::Drop | O::Block { .. } | O::Loop { .. } | O::Else | O::End | O::Return | O::Unreachable => 0,
        O::I32DivS
        | O::I32DivU
        | O::I32RemS
        | O::I32RemU
        | O::I64DivS
        | O::I64DivU
        | O::I64RemS
        | O::I64RemU
        | O::F32Div
        | O::F64Div
        | O::F32Sqrt
        | O::F64Sqrt
        | O::Call { .. }
        | O::CallIndirect { .. }
        | O::MemoryGrow { .. }
        | O::TableGrow { .. } => SLOW,
        _ => 1,
    }
}

/// Gas at the entry of a function: its locals are cleared.
pub fn entry(locals: u64) -> u64 {
    CALL + locals
}

/// Gas of `bytes` bytes moved or cleared, rounded up.
pub fn bytes(bytes: u64) -> u64 {
    bytes.div_ceil(BYTES_PER_GAS)
}
