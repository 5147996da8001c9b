//! Modules that wasm-smith draws from a seed, and what they are run with. Not here: any test.
#![allow(dead_code, clippy::unwrap_used)]

use pangea_protocols::task::{Input, Limits};
use wasm_smith::Config;

const SHAPE: &str = r#"(module (memory (export "memory") 1 4)
    (func (export "alloc") (param i32) (result i32) unreachable)
    (func (export "handle") (param i32 i32) (result i64) unreachable)
    (func (export "init") unreachable))"#;

const IMPORTS: &str = r#"(module
    (import "pangea" "send" (func (param i32 i32))) (import "pangea" "log" (func (param i32 i32 i32)))
    (import "pangea" "now" (func (result i64))) (import "pangea" "random" (func (param i32 i32)))
    (import "pangea" "chunk_read" (func (param i32 i64 i32 i32) (result i32))))"#;

/// Small, so that every limit is met now and then.
pub fn limits() -> Limits {
    Limits {
        gas: 200_000,
        memory_bytes: 4 << 20,
        table_elements: 10_000,
        stack_slots: 20_000,
        output_bytes: 64 << 10,
        log_bytes: 4 << 10,
    }
}

/// How many.
pub fn modules() -> u64 {
    std::env::var("PANGEA_SMITH_MODULES").ok().and_then(|count| count.parse().ok()).unwrap_or(500)
}

/// SplitMix64 (Steele, Lea, Flood 2014).
pub struct Draws(pub u64);

impl Draws {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count.div_ceil(8)).flat_map(|_| self.next().to_le_bytes()).collect()
    }
}

/// What a module may have; drawn, too.
pub fn config(draws: &mut Draws) -> Config {
    let mut one_in = |count: u64| draws.next().is_multiple_of(count);
    Config {
        exports: Some(wat::parse_str(SHAPE).unwrap()),
        available_imports: Some(wat::parse_str(IMPORTS).unwrap()),
        // Beside those of the shape.
        max_memories: 0,
        disallow_traps: one_in(2),
        min_funcs: 3,
        max_funcs: 20,
        max_instructions: 400,
        max_tables: 3,
        max_table_elements: 2_000,
        allow_start_export: true,
        bulk_memory_enabled: true,
        // Now and then something forbidden, which is to be refused.
        simd_enabled: one_in(40),
        threads_enabled: one_in(40),
        relaxed_simd_enabled: one_in(40),
        tail_call_enabled: one_in(40),
        gc_enabled: false,
        exceptions_enabled: false,
        memory64_enabled: false,
        extended_const_enabled: false,
        wide_arithmetic_enabled: false,
        compact_imports_enabled: false,
        shared_everything_threads_enabled: false,
        custom_page_sizes_enabled: false,
        ..Config::default()
    }
}

/// What they are called with.
pub fn input() -> Input {
    Input { bytes: vec![7; 100].into(), chunks: vec![vec![1; 50].into()], unix_ms: 5, seed: [3; 32] }
}
