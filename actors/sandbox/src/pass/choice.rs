//! What stands between a condition and its `select`, so that every engine chooses alike.
//!
//! wasmi 2.0.0 joins `i32.eqz`, and `i32.eq` or `i32.ne` with 0, to the `select` behind it. If what is compared is a
//! local, the choice then depends on whatever its accumulator holds: `(select (i32.const 50) (i32.const 10) (i32.eqz
//! (local.get $x)))` is 50 for every `x`. An `i32.or` with 0 in between changes no value and keeps the two apart. It is
//! left out where the instruction before certainly made the condition and is none of these three. It costs no gas.

use wasm_encoder::Function;
use wasmparser::Operator;

/// Whether `operator` needs its condition kept apart from what is before.
pub fn chooses(operator: &Operator<'_>) -> bool {
    matches!(operator, Operator::Select | Operator::TypedSelect { .. })
}

/// Whether a condition that `operator` made may stand right before a `select`.
pub fn is_plain(operator: &Operator<'_>) -> bool {
    use Operator as O;
    matches!(
        operator,
        O::LocalGet { .. }
            | O::I32LtS
            | O::I32LtU
            | O::I32GtS
            | O::I32GtU
            | O::I32LeS
            | O::I32LeU
            | O::I32GeS
            | O::I32GeU
            | O::I64LtS
            | O::I64LtU
            | O::I64GtS
            | O::I64GtU
            | O::I64LeS
            | O::I64LeU
            | O::I64GeS
            | O::I64GeU
            | O::F32Lt
            | O::F32Gt
            | O::F32Le
            | O::F32Ge
            | O::F64Lt
            | O::F64Gt
            | O::F64Le
            | O::F64Ge
    )
}

/// Writes what keeps them apart.
pub fn keep_apart(function: &mut Function) {
    function.instructions().i32_const(0).i32_or();
}
