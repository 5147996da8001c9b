//! The most that a module may have of anything. Chosen so that CPython with its library as a snapshot (11.6 MB, 10,000
//! functions) passes, and so that no few bytes make much work.

/// Bytes of a module.
pub const MODULE_BYTES_MAX: u64 = 16 << 20;
/// Bytes of a module after the pass.
pub const INSTRUMENTED_BYTES_MAX: u64 = 64 << 20;
/// Bytes of one function.
pub const FUNCTION_BYTES_MAX: u64 = 1 << 20;
/// Bytes of one function after the pass, below what every validator accepts.
pub const INSTRUMENTED_FUNCTION_BYTES_MAX: u64 = 6 << 20;
/// Function types.
pub const TYPES_MAX: u64 = 16_384;
/// Parameters of a function or a block: a branch copies them for the price of one instruction.
pub const PARAMETERS_MAX: u64 = 128;
/// Results of a function or a block, likewise.
pub const RESULTS_MAX: u64 = 32;
/// Functions, without imports.
pub const FUNCTIONS_MAX: u64 = 65_536;
/// Imports.
pub const IMPORTS_MAX: u64 = 64;
/// Globals.
pub const GLOBALS_MAX: u64 = 16_384;
/// Exports.
pub const EXPORTS_MAX: u64 = 65_536;
/// Tables.
pub const TABLES_MAX: u64 = 16;
/// Element segments.
pub const ELEMENT_SEGMENTS_MAX: u64 = 16_384;
/// Elements of all segments.
pub const SEGMENT_ELEMENTS_MAX: u64 = 1 << 20;
/// Data segments.
pub const DATA_SEGMENTS_MAX: u64 = 65_536;
/// Locals of a function, without parameters.
pub const LOCALS_MAX: u64 = 4_096;
/// Locals of all functions: a few bytes declare thousands.
pub const LOCALS_TOTAL_MAX: u64 = 4 << 20;
/// Nested blocks. A `switch` of n cases is n blocks deep.
pub const NESTING_MAX: u64 = 4_096;
/// Slots of one frame, its share of the call stack included.
pub const FRAME_SLOTS_MAX: u64 = 16_384;
/// Slots that a frame needs beside parameters, locals and operands: what engines keep of a call.
pub const FRAME_BASE_SLOTS: u64 = 16;
