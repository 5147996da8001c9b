//! Reads a module once: is it valid, of allowed features and sizes, of the ABI, and what does each function need? Not
//! here: anything written.

use super::{abi, cost, limits as max};
use pangea_protocols::task::{Capabilities, Refusal};
use wasmparser::{
    Data, Element, ElementItems, Export, ExternalKind, FuncType, FuncValidatorAllocations, FunctionBody, Import,
    Operator, Parser, Payload, SectionLimited, TypeRef, ValidPayload, Validator, WasmFeatures,
};

/// WebAssembly 2.0, as the W3C recommends it, without SIMD: wasmi 2.0 loses its way in valid modules that use it.
pub const FEATURES: WasmFeatures = WasmFeatures::WASM2.difference(WasmFeatures::SIMD);

/// What the rewriting needs to know.
#[derive(Debug, Default)]
pub struct Survey {
    /// What the module imports.
    pub capabilities: Capabilities,
    /// Function types, and the number of them.
    pub types: Vec<FuncType>,
    /// Imported functions.
    pub imports: u32,
    /// One per function of the module itself.
    pub functions: Vec<Function>,
    /// Globals.
    pub globals: u32,
    /// Index of the start function.
    pub start: Option<u32>,
    /// Gas to make an instance.
    pub setup_gas: u64,
    /// Index of the type of each function, imports first.
    function_types: Vec<u32>,
    /// Locals of all functions.
    locals: u64,
    /// Functions and memories by name, as far as the ABI asks for them.
    exported: Vec<(&'static str, ExternalKind, u32)>,
}

/// One function.
#[derive(Clone, Copy, Debug, Default)]
pub struct Function {
    /// Parameters and locals: the index of the first local that the pass adds.
    pub locals: u32,
    /// Locals without parameters.
    pub declared: u32,
    /// Slots of its frame.
    pub frame: u32,
    /// It calls other functions.
    pub calls: bool,
}

/// What every module begins with (core specification, "Binary Format: Modules").
const MAGIC: &[u8] = b"\0asm";

/// Reads `module`.
///
/// # Errors
/// See [`super::instrument`].
pub fn survey(module: &[u8]) -> Result<Survey, Refusal> {
    at_most("bytes", module.len() as u64, max::MODULE_BYTES_MAX)?;
    if !module.starts_with(MAGIC) {
        let message =
            "it does not begin with the four bytes of WebAssembly: is it text, or of another format?".to_owned();
        return Err(Refusal::Invalid { offset: 0, message });
    }
    let mut survey = Survey::default();
    let mut validator = Validator::new_with_features(FEATURES);
    let mut allocations = FuncValidatorAllocations::default();
    for payload in Parser::new(0).parse_all(module) {
        let payload = payload.map_err(invalid)?;
        survey.before_validation(&payload)?;
        if let ValidPayload::Func(function, body) = validator.payload(&payload).map_err(invalid)? {
            let mut function = function.into_validator(allocations);
            survey.function(&mut function, &body)?;
            allocations = function.into_allocations();
        }
        survey.after_validation(payload)?;
    }
    survey.check_exports()?;
    survey.setup_gas += u64::from(survey.globals) + survey.functions.len() as u64;
    Ok(survey)
}

impl Survey {
    /// Counts, so that nothing long is validated or kept.
    fn before_validation(&self, payload: &Payload<'_>) -> Result<(), Refusal> {
        match payload {
            Payload::TypeSection(section) => count("types", section, max::TYPES_MAX),
            Payload::ImportSection(section) => count("imports", section, max::IMPORTS_MAX),
            Payload::FunctionSection(section) => count("functions", section, max::FUNCTIONS_MAX),
            Payload::TableSection(section) => count("tables", section, max::TABLES_MAX),
            Payload::GlobalSection(section) => count("globals", section, max::GLOBALS_MAX),
            Payload::ExportSection(section) => count("exports", section, max::EXPORTS_MAX),
            Payload::ElementSection(section) => count("element segments", section, max::ELEMENT_SEGMENTS_MAX),
            Payload::DataSection(section) => count("data segments", section, max::DATA_SEGMENTS_MAX),
            Payload::DataCountSection { count, .. } => {
                at_most("data segments", u64::from(*count), max::DATA_SEGMENTS_MAX)
            }
            Payload::CodeSectionEntry(body) => {
                at_most("bytes in a function", body.range().end - body.range().start, max::FUNCTION_BYTES_MAX)
            }
            _ => Ok(()),
        }
    }

    fn after_validation(&mut self, payload: Payload<'_>) -> Result<(), Refusal> {
        match payload {
            Payload::TypeSection(section) => {
                for one in section.into_iter_err_on_gc_types() {
                    let one = one.map_err(invalid)?;
                    at_most("parameters of a function type", one.params().len() as u64, max::PARAMETERS_MAX)?;
                    at_most("results of a function type", one.results().len() as u64, max::RESULTS_MAX)?;
                    self.types.push(one);
                }
            }
            Payload::ImportSection(section) => {
                section.into_imports().try_for_each(|import| self.import(import.map_err(invalid)?))?;
            }
            Payload::FunctionSection(section) => {
                for index in section {
                    self.function_types.push(index.map_err(invalid)?);
                }
            }
            Payload::TableSection(section) => {
                for table in section {
                    self.charge_bytes(table.map_err(invalid)?.ty.initial.saturating_mul(cost::ELEMENT_BYTES));
                }
            }
            Payload::MemorySection(section) => {
                for memory in section {
                    self.charge_bytes(memory.map_err(invalid)?.initial.saturating_mul(cost::PAGE_BYTES));
                }
            }
            Payload::GlobalSection(section) => self.globals = section.count(),
            Payload::ExportSection(section) => {
                for export in section {
                    self.export(&export.map_err(invalid)?);
                }
            }
            Payload::StartSection { func, .. } => self.start = Some(func),
            Payload::ElementSection(section) => self.elements(section)?,
            Payload::DataSection(section) => {
                for segment in section {
                    let Data { data, .. } = segment.map_err(invalid)?;
                    self.charge_bytes(data.len() as u64);
                    self.setup_gas += 1;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn charge_bytes(&mut self, bytes: u64) {
        self.setup_gas += cost::bytes(bytes);
    }

    fn import(&mut self, import: Import<'_>) -> Result<(), Refusal> {
        let TypeRef::Func(index) = import.ty else { return Err(abi::unknown(import.module, import.name)) };
        let capability = abi::import(import.module, import.name, self.type_at(index)?)?;
        self.capabilities = self.capabilities.with(capability);
        self.function_types.push(index);
        self.imports += 1;
        Ok(())
    }

    fn export(&mut self, export: &Export<'_>) {
        let names = abi::EXPORTS.iter().map(|(name, ..)| *name).chain([abi::MEMORY]);
        self.exported.extend(names.filter(|name| *name == export.name).map(|name| (name, export.kind, export.index)));
    }

    fn elements(&mut self, section: SectionLimited<'_, Element<'_>>) -> Result<(), Refusal> {
        let mut total = 0u64;
        for segment in section {
            let items = match segment.map_err(invalid)?.items {
                ElementItems::Functions(items) => items.count(),
                ElementItems::Expressions(_, items) => items.count(),
            };
            total += u64::from(items);
            at_most("elements in segments", total, max::SEGMENT_ELEMENTS_MAX)?;
            self.setup_gas += 1;
        }
        self.charge_bytes(total * cost::ELEMENT_BYTES);
        Ok(())
    }

    fn type_at(&self, index: u32) -> Result<&FuncType, Refusal> {
        // Validated: only a mistake of our own leads here.
        self.types
            .get(index as usize)
            .ok_or_else(|| Refusal::Node { message: format!("the pass lost the function type {index}") })
    }

    fn function(
        &mut self,
        validator: &mut wasmparser::FuncValidator<wasmparser::ValidatorResources>,
        body: &FunctionBody<'_>,
    ) -> Result<(), Refusal> {
        let mut declared = 0u64;
        let mut reader = body.get_binary_reader();
        let mut counted = body.get_locals_reader().map_err(invalid)?;
        for _ in 0..counted.get_count() {
            declared += u64::from(counted.read().map_err(invalid)?.0);
            at_most("locals in a function", declared, max::LOCALS_MAX)?;
        }
        self.locals += declared;
        at_most("locals", self.locals, max::LOCALS_TOTAL_MAX)?;
        validator.read_locals(&mut reader).map_err(invalid)?;
        let (mut height, mut calls) = (0, false);
        let mut operators = body.get_operators_reader().map_err(invalid)?;
        while !operators.eof() {
            let (operator, offset) = operators.read_with_offset().map_err(invalid)?;
            validator.op(offset, &operator).map_err(invalid)?;
            at_most("nested blocks", u64::from(validator.control_stack_height()), max::NESTING_MAX)?;
            height = height.max(validator.operand_stack_height());
            calls |= matches!(operator, Operator::Call { .. } | Operator::CallIndirect { .. });
        }
        operators.finish().map_err(invalid)?;
        let locals = validator.len_locals();
        let frame = max::FRAME_BASE_SLOTS + u64::from(locals) + u64::from(height);
        let frame = at_most("stack slots of a function", frame, max::FRAME_SLOTS_MAX).map(|()| frame as u32)?;
        self.functions.push(Function { locals, declared: declared as u32, frame, calls });
        Ok(())
    }

    fn check_exports(&self) -> Result<(), Refusal> {
        let find = |name| self.exported.iter().find(|(found, ..)| *found == name);
        let refuse = |name: &str, expected: String| Err(Refusal::Export { name: name.to_owned(), expected });
        if !matches!(find(abi::MEMORY), Some((_, ExternalKind::Memory, _))) {
            return refuse(abi::MEMORY, "a memory".to_owned());
        }
        for (name, required, parameters, results) in abi::EXPORTS {
            let fits = match find(name) {
                Some((_, ExternalKind::Func, index)) => {
                    let index = self.function_types.get(*index as usize).copied().unwrap_or(u32::MAX);
                    let found = self.type_at(index)?;
                    found.params() == parameters && found.results() == results
                }
                Some(_) => false,
                None => !required,
            };
            if !fits {
                return refuse(name, abi::signature(parameters, results));
            }
        }
        Ok(())
    }
}

fn count<T>(what: &str, section: &SectionLimited<'_, T>, most: u64) -> Result<(), Refusal> {
    at_most(what, u64::from(section.count()), most)
}

/// Refuses more than `max` of `what`.
pub fn at_most(what: &str, found: u64, max: u64) -> Result<(), Refusal> {
    if found > max { Err(Refusal::TooLarge { what: what.to_owned(), found, max }) } else { Ok(()) }
}

/// What an author can do about a feature that is refused.
const REMEDIES: [(WasmFeatures, &str, &str); 10] = [
    (WasmFeatures::THREADS, "threads (atomics, shared memory)", "compile without `atomics`"),
    (WasmFeatures::SIMD, "SIMD", "compile without `simd128`"),
    (WasmFeatures::RELAXED_SIMD, "relaxed SIMD", "compile without `relaxed-simd` and `simd128`"),
    (WasmFeatures::MEMORY64, "64-bit memory", "compile for wasm32"),
    (WasmFeatures::TAIL_CALL, "tail calls", "compile without `tail-call`"),
    (WasmFeatures::EXCEPTIONS, "exceptions", "compile without `exception-handling`, in C++ with `-fno-exceptions`"),
    (WasmFeatures::LEGACY_EXCEPTIONS, "exceptions", "compile without `exception-handling`"),
    (WasmFeatures::FUNCTION_REFERENCES, "typed function references", "compile for WebAssembly 2.0"),
    (WasmFeatures::GC, "garbage collection", "compile with a runtime that keeps its objects in linear memory"),
    (WasmFeatures::EXTENDED_CONST, "extended constant expressions", "compile without `extended-const`"),
];

/// The refusal of what the parser or the validator did not accept.
fn invalid(error: wasmparser::Error) -> Refusal {
    let Some(missing) = error.missing_wasm_feature() else {
        return Refusal::Invalid { offset: error.offset(), message: error.message().to_owned() };
    };
    let known = REMEDIES.iter().find(|(feature, ..)| missing.intersects(*feature));
    let (name, remedy) = match known {
        Some((_, name, remedy)) => ((*name).to_owned(), *remedy),
        None => (error.message().to_owned(), "compile for WebAssembly 2.0"),
    };
    Refusal::Feature { name, offset: error.offset(), remedy: remedy.to_owned() }
}
