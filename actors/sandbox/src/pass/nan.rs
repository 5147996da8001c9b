//! Which instructions let the bits of a NaN be seen, and how they are made canonical there.
//!
//! The result of float arithmetic may be any NaN: sign and payload differ between processors. Such a value is harmless
//! while it stays a float: comparisons, conversions to integers (which trap or saturate), `select`, locals, globals,
//! parameters and results of calls treat every NaN alike, or copy it; `neg`, `abs` and the first operand of `copysign`
//! make a NaN of a NaN. No import takes a float and the host reads no float. So the bits can be seen in three ways:
//!
//! 1. a store to memory;
//! 2. a reinterpretation as an integer;
//! 3. the second operand of `copysign`, whose sign goes over to a number.
//!
//! There the operand is made canonical, so that **the bits of memory and of every integer are the same on every
//! machine**, by induction over the instructions executed. A vector has no float type of its own, its lanes can be read as
//! integers: with SIMD, every arithmetic instruction would have to make its result canonical. It is refused for now.
//!
//! A float that was just loaded, converted or made from an integer has bits that are the same everywhere: if such an
//! instruction is the one before, nothing is added. Hence a copy of memory through floats copies bits. Other
//! float values that carry data in a NaN's payload lose it when they are stored, which the specification does not
//! promise: such modules keep them in integers.

use wasm_encoder::{Function, Ieee32, Ieee64};
use wasmparser::Operator;

/// The canonical NaNs: quiet, positive, without payload.
const F32_NAN: u32 = 0x7fc0_0000;
const F64_NAN: u64 = 0x7ff8_0000_0000_0000;

/// A kind of float value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Float {
    /// `f32`.
    F32,
    /// `f64`.
    F64,
}

/// The float on top of the stack, if `operator` would let its bits be seen.
pub fn seen_by(operator: &Operator<'_>) -> Option<Float> {
    use Operator as O;
    match operator {
        O::F32Store { .. } | O::I32ReinterpretF32 | O::F32Copysign => Some(Float::F32),
        O::F64Store { .. } | O::I64ReinterpretF64 | O::F64Copysign => Some(Float::F64),
        _ => None,
    }
}

/// Whether `operator` leaves a scalar float on the stack whose bits are the same everywhere.
pub fn is_exact(operator: &Operator<'_>) -> bool {
    use Operator as O;
    matches!(
        operator,
        O::F32Load { .. }
            | O::F64Load { .. }
            | O::F32Const { .. }
            | O::F64Const { .. }
            | O::F32ReinterpretI32
            | O::F64ReinterpretI64
            | O::F32ConvertI32S
            | O::F32ConvertI32U
            | O::F32ConvertI64S
            | O::F32ConvertI64U
            | O::F64ConvertI32S
            | O::F64ConvertI32U
            | O::F64ConvertI64S
            | O::F64ConvertI64U
    )
}

/// Replaces the value on top of the stack by the canonical NaN if it is one. `scratch` is a local of its type.
pub fn canonicalise(function: &mut Function, float: Float, scratch: u32) {
    let mut code = function.instructions();
    code.local_tee(scratch);
    match float {
        Float::F32 => code.f32_const(Ieee32::new(F32_NAN)),
        Float::F64 => code.f64_const(Ieee64::new(F64_NAN)),
    };
    // A value equals itself unless it is a NaN.
    code.local_get(scratch).local_get(scratch);
    match float {
        Float::F32 => code.f32_eq(),
        Float::F64 => code.f64_eq(),
    };
    code.select();
}
