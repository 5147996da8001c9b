//! The sections of the instrumented module: those of the author, and what the pass adds behind them. Custom sections are
//! left out, exports beside the ABI as well. Not here: what is in a function (`body`).

use super::{
    GAS, OUT_OF_GAS, PASS_MODULE, STACK, START, abi, body, limits as max,
    survey::{Survey, at_most},
};
use pangea_protocols::task::Refusal;
use std::convert::Infallible;
use wasm_encoder::{
    CodeSection, ConstExpr, DataCountSection, DataSection, ElementSection, EntityType, ExportKind, ExportSection,
    FunctionSection, GlobalSection, GlobalType, ImportSection, MemorySection, Module, TableSection, TypeSection,
    ValType,
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

#[derive(Default)]
struct Sections {
    types: TypeSection,
    imports: ImportSection,
    functions: FunctionSection,
    tables: TableSection,
    memories: MemorySection,
    globals: GlobalSection,
    exports: ExportSection,
    elements: ElementSection,
    data_count: Option<DataCountSection>,
    code: CodeSection,
    data: DataSection,
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
            sections.copy(&mut added, payload).map_err(|error| mistake(&error))?;
        }
    }
    sections.add(added, survey);
    Ok(sections.finish())
}

/// A validated module did not read as it did before.
fn mistake(error: &dyn std::fmt::Display) -> Refusal {
    Refusal::Node { message: format!("the pass could not rewrite a valid module: {error}") }
}

impl Sections {
    fn copy(&mut self, added: &mut Added, payload: Payload<'_>) -> Result<(), Error<Infallible>> {
        match payload {
            Payload::TypeSection(section) => utils::parse_type_section(added, &mut self.types, section),
            Payload::ImportSection(section) => utils::parse_import_section(added, &mut self.imports, section),
            Payload::FunctionSection(section) => utils::parse_function_section(added, &mut self.functions, section),
            Payload::TableSection(section) => utils::parse_table_section(added, &mut self.tables, section),
            Payload::MemorySection(section) => utils::parse_memory_section(added, &mut self.memories, section),
            Payload::GlobalSection(section) => utils::parse_global_section(added, &mut self.globals, section),
            Payload::ElementSection(section) => utils::parse_element_section(added, &mut self.elements, section),
            Payload::DataSection(section) => utils::parse_data_section(added, &mut self.data, section),
            Payload::DataCountSection { count, .. } => {
                self.data_count = Some(DataCountSection { count });
                Ok(())
            }
            Payload::ExportSection(section) => {
                for export in section {
                    let export = export?;
                    if export.name == abi::MEMORY || abi::EXPORTS.iter().any(|(name, ..)| *name == export.name) {
                        utils::parse_export(added, &mut self.exports, export)?;
                    }
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn add(&mut self, added: Added, survey: &Survey) {
        let (i32, i64) = (ValType::I32, ValType::I64);
        self.types.ty().function([], []);
        self.types.ty().function([i32, i64], [i32]);
        self.types.ty().function([i32, i32, i64], [i32]);
        self.imports.import(PASS_MODULE, OUT_OF_GAS, EntityType::Function(added.nothing));
        self.functions.function(added.nothing + 1).function(added.nothing + 2);
        self.code.function(&body::charge(&added)).function(&body::charge_grown(&added));
        let mutable = |val_type| GlobalType { val_type, mutable: true, shared: false };
        self.globals.global(mutable(i64), &ConstExpr::i64_const(0));
        self.globals.global(mutable(i32), &ConstExpr::i32_const(0));
        self.exports.export(GAS, ExportKind::Global, added.gas);
        self.exports.export(STACK, ExportKind::Global, added.stack);
        if let Some(start) = survey.start {
            self.exports.export(START, ExportKind::Func, added.moved(start));
        }
    }

    fn finish(self) -> Vec<u8> {
        let mut module = Module::new();
        module.section(&self.types).section(&self.imports).section(&self.functions);
        if !self.tables.is_empty() {
            module.section(&self.tables);
        }
        module.section(&self.memories).section(&self.globals).section(&self.exports);
        if !self.elements.is_empty() {
            module.section(&self.elements);
        }
        if let Some(count) = self.data_count {
            module.section(&count);
        }
        module.section(&self.code);
        if !self.data.is_empty() {
            module.section(&self.data);
        }
        module.finish()
    }
}
