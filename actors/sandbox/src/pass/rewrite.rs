//! The sections of the instrumented module: those of the author, and what the pass adds behind them. Custom sections are
//! left out, exports beside the ABI as well. Not here: what is in a function (`body`).

use super::{
    GAS, OUT_OF_GAS, PASS_MODULE, STACK, START, abi, body, limits as max,
    survey::{Survey, at_most},
};
use crate::sections::Sections;
use pangea_protocols::task::Refusal;
use std::convert::Infallible;
use wasm_encoder::{
    ConstExpr, EntityType, ExportKind, GlobalType, ValType,
    reencode::{Error, Reencode, utils},
};
use wasmparser::{Parser, Payload};

/// Indices of what the pass adds.
#[derive(Clone, Copy, Debug)]
pub struct Added {
    /// Imported functions of the author; those behind them move up by one.
    imports: u32,
    /// Function: more gas, a pause, or a trap.
    pub out_of_gas: u32,
    /// Function `(amount, bytes of one) -> amount`: pays for it.
    pub charge: u32,
    /// Function `(grown, amount, bytes of one) -> grown`: pays unless -1.
    pub charge_grown: u32,
    /// Global `i64`.
    pub gas: u32,
    /// Global `i32`.
    pub stack: u32,
    /// Type `() -> ()`.
    nothing: u32,
}

impl Added {
    fn new(survey: &Survey) -> Self {
        let functions = survey.imports + 1 + survey.functions.len() as u32;
        Self {
            imports: survey.imports,
            out_of_gas: survey.imports,
            charge: functions,
            charge_grown: functions + 1,
            gas: survey.globals,
            stack: survey.globals + 1,
            nothing: survey.types.len() as u32,
        }
    }

    /// The new index of a function of the author.
    fn moved(&self, index: u32) -> u32 {
        if index < self.imports { index } else { index + 1 }
    }
}

impl Reencode for Added {
    type Error = Infallible;

    fn function_index(&mut self, index: u32) -> Result<u32, Error<Infallible>> {
        Ok(self.moved(index))
    }
}

/// Writes the instrumented module.
///
/// # Errors
/// It would be too large.
pub fn rewrite(module: &[u8], survey: &Survey) -> Result<Vec<u8>, Refusal> {
    let mut added = Added::new(survey);
    let mut sections = Sections::default();
    let mut functions = survey.functions.iter();
    for payload in Parser::new(0).parse_all(module) {
        let payload = payload.map_err(|error| mistake(&error))?;
        if let Payload::CodeSectionEntry(function) = &payload {
            let Some(known) = functions.next() else { return Err(mistake(&"one function too many")) };
            let rewritten = body::rewrite(&mut added, known, function).map_err(|error| mistake(&error))?;
            at_most(
                "bytes in an instrumented function",
                rewritten.byte_len() as u64,
                max::INSTRUMENTED_FUNCTION_BYTES_MAX,
            )?;
            sections.code.function(&rewritten);
            at_most("bytes of instrumented code", sections.code.byte_len() as u64, max::INSTRUMENTED_BYTES_MAX)?;
        } else {
            copy(&mut sections, &mut added, payload).map_err(|error| mistake(&error))?;
        }
    }
    add(&mut sections, added, survey);
    Ok(sections.finish())
}

/// A validated module did not read as it did before.
fn mistake(error: &dyn std::fmt::Display) -> Refusal {
    Refusal::Node { message: format!("the pass could not rewrite a valid module: {error}") }
}

fn copy(sections: &mut Sections, added: &mut Added, payload: Payload<'_>) -> Result<(), Error<Infallible>> {
    match payload {
        Payload::ImportSection(section) => utils::parse_import_section(added, &mut sections.imports, section),
        Payload::MemorySection(section) => utils::parse_memory_section(added, &mut sections.memories, section),
        Payload::ExportSection(section) => {
            for export in section {
                let export = export?;
                if export.name == abi::MEMORY || abi::EXPORTS.iter().any(|(name, ..)| *name == export.name) {
                    utils::parse_export(added, &mut sections.exports, export)?;
                }
            }
            Ok(())
        }
        payload => sections.copy(added, payload),
    }
}

fn add(to: &mut Sections, added: Added, survey: &Survey) {
    let (i32, i64) = (ValType::I32, ValType::I64);
    to.types.ty().function([], []);
    to.types.ty().function([i32, i64], [i32]);
    to.types.ty().function([i32, i32, i64], [i32]);
    to.imports.import(PASS_MODULE, OUT_OF_GAS, EntityType::Function(added.nothing));
    to.functions.function(added.nothing + 1).function(added.nothing + 2);
    to.code.function(&body::charge(&added)).function(&body::charge_grown(&added));
    let mutable = |val_type| GlobalType { val_type, mutable: true, shared: false };
    to.globals.global(mutable(i64), &ConstExpr::i64_const(0));
    to.globals.global(mutable(i32), &ConstExpr::i32_const(0));
    to.exports.export(GAS, ExportKind::Global, added.gas);
    to.exports.export(STACK, ExportKind::Global, added.stack);
    if let Some(start) = survey.start {
        to.exports.export(START, ExportKind::Func, added.moved(start));
    }
}
