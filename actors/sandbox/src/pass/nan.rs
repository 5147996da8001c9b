//! Which instructions let the bits of a NaN be seen, and how they are made canonical there.
//!
//! The result of float arithmetic may be any NaN: sign and payload differ between processors. Such a value is harmless
//! while it stays a float: comparisons, conversions to integers (which trap or saturate), `select`, locals, globals,
//! parameters and results of calls treat every NaN alike, or copy it; `neg`, `abs` and the first operand of `copysign`
//! make a NaN of a NaN. No import takes a float and the host reads no float. So the bits can be seen in four ways:
//!
//! 1. a store to memory;
//! 2. a reinterpretation as an integer;
//! 3. the second operand of `copysign`, whose sign goes over to a number;
//! 4. a vector, which has no float type of its own: its lanes can be read as integers.
//!
//! 1 to 3, and `splat` and `replace_lane`, which put a float into a vector, make their operand canonical. Of vector
//! instructions, those with arithmetic make their result canonical, so that **the bits of every vector, of memory and of
//! every integer are the same on every machine**, by induction over the instructions executed. `pmin`, `pmax`, `abs`,
//! `neg` and shuffles of vectors copy bits, and need nothing.
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
    /// A vector of four.
    F32x4,
    /// A vector of two.
    F64x2,
}

/// The float on top of the stack, if `operator` would let its bits be seen.
pub fn seen_by(operator: &Operator<'_>) -> Option<Float> {
    use Operator as O;
    match operator {
        O::F32Store { .. } | O::I32ReinterpretF32 | O::F32Copysign | O::F32x4Splat | O::F32x4ReplaceLane { .. } => {
            Some(Float::F32)
        }
        O::F64Store { .. } | O::I64ReinterpretF64 | O::F64Copysign | O::F64x2Splat | O::F64x2ReplaceLane { .. } => {
            Some(Float::F64)
        }
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
            | O::F32x4ExtractLane { .. }
            | O::F64x2ExtractLane { .. }
    )
}

/// The vector that `operator` leaves on the stack, if a NaN in it may have any bits.
pub fn made_by(operator: &Operator<'_>) -> Option<Float> {
    use Operator as O;
    match operator {
        O::F32x4Ceil
        | O::F32x4Floor
        | O::F32x4Trunc
        | O::F32x4Nearest
        | O::F32x4Sqrt
        | O::F32x4Add
        | O::F32x4Sub
        | O::F32x4Mul
        | O::F32x4Div
        | O::F32x4Min
        | O::F32x4Max
        | O::F32x4DemoteF64x2Zero => Some(Float::F32x4),
        O::F64x2Ceil
        | O::F64x2Floor
        | O::F64x2Trunc
        | O::F64x2Nearest
        | O::F64x2Sqrt
        | O::F64x2Add
        | O::F64x2Sub
        | O::F64x2Mul
        | O::F64x2Div
        | O::F64x2Min
        | O::F64x2Max
        | O::F64x2PromoteLowF32x4 => Some(Float::F64x2),
        _ => None,
    }
}

/// Replaces the value on top of the stack, or every lane of it, by the canonical NaN if it is one. `scratch` is a local
/// of its type.
pub fn canonicalise(function: &mut Function, float: Float, scratch: u32) {
    let mut code = function.instructions();
    code.local_tee(scratch);
    match float {
        Float::F32 => code.f32_const(Ieee32::new(F32_NAN)),
        Float::F64 => code.f64_const(Ieee64::new(F64_NAN)),
        Float::F32x4 => code.v128_const(i128::from(F32_NAN) * 0x1_0000_0001_0000_0001_0000_0001),
        Float::F64x2 => code.v128_const(i128::from(F64_NAN) * 0x1_0000_0000_0000_0001),
    };
    // A value equals itself unless it is a NaN.
    code.local_get(scratch).local_get(scratch);
    match float {
        Float::F32 => code.f32_eq().select(),
        Float::F64 => code.f64_eq().select(),
        Float::F32x4 => code.f32x4_eq().v128_bitselect(),
        Float::F64x2 => code.f64x2_eq().v128_bitselect(),
    };
}
