//! One module of two: a plugin, and the kernel whose functions it imports. Functions, types and globals of the kernel are put
//! behind those of the plugin; `memory.size` and `memory.grow` of the plugin become calls of the kernel.

use super::ENVIRONMENT;
use crate::{pass::abi::HOST_MODULE, sections::Sections};
use pangea_protocols::task::{Capability, Refusal};
use std::{collections::BTreeMap, convert::Infallible};
use wasm_encoder::{
    BlockType, EntityType, ExportKind, ExportSection, Function, Instruction, MemArg, MemArgTarget, MemoryType,
    StartSection,
    reencode::{Error, Reencode, utils},
};
use wasmparser::{ExternalKind, FuncType, Operator, Parser, Payload, TypeRef};

/// What `call` returns for a name that the plugin has no function of.
const NO_FUNCTION: i32 = i32::MIN;

/// What has to be known of a module before it is written again.
#[derive(Default)]
struct Shape {
    types: Vec<FuncType>,
    /// Module and name of imported functions, and their types.
    imports: Vec<(String, String, u32)>,
    /// Types of own functions.
    functions: Vec<u32>,
    globals: u32,
    memory: Option<wasmparser::MemoryType>,
    /// Exported functions.
    exports: BTreeMap<String, u32>,
    start: Option<u32>,
}

impl Shape {
    fn read(module: &[u8]) -> Result<Self, Refusal> {
        let mut shape = Self::default();
        for payload in Parser::new(0).parse_all(module) {
            shape.section(payload.map_err(invalid)?).map_err(invalid)?;
        }
        Ok(shape)
    }

    fn section(&mut self, payload: Payload<'_>) -> Result<(), wasmparser::Error> {
        match payload {
            Payload::TypeSection(section) => {
                for one in section.into_iter_err_on_gc_types() {
                    self.types.push(one?);
                }
            }
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    let import = import?;
                    if let TypeRef::Func(index) = import.ty {
                        self.imports.push((import.module.to_owned(), import.name.to_owned(), index));
                    }
                }
            }
            Payload::FunctionSection(section) => {
                for index in section {
                    self.functions.push(index?);
                }
            }
            Payload::MemorySection(section) => {
                for memory in section {
                    self.memory = Some(memory?);
                }
            }
            Payload::GlobalSection(section) => self.globals = section.count(),
            Payload::ExportSection(section) => {
                for export in section {
                    let export = export?;
                    if export.kind == ExternalKind::Func {
                        self.exports.insert(export.name.to_owned(), export.index);
                    }
                }
            }
            Payload::StartSection { func, .. } => self.start = Some(func),
            _ => {}
        }
        Ok(())
    }

    /// The type of a function.
    fn of(&self, function: u32) -> Option<&FuncType> {
        let imports = self.imports.len();
        let index = match self.imports.get(function as usize) {
            Some((_, _, index)) => *index,
            None => *self.functions.get(function as usize - imports)?,
        };
        self.types.get(index as usize)
    }
}

fn invalid(error: wasmparser::Error) -> Refusal {
    Refusal::Invalid { offset: error.offset(), message: error.message().to_owned() }
}

/// A module of ours did not read or write as it should.
fn mistake(error: &dyn std::fmt::Display) -> Refusal {
    Refusal::Node { message: format!("the Extism adapter could not rewrite a valid module: {error}") }
}

/// Where everything goes.
struct Plan {
    /// The plugin imports a function that logs: so does the new module.
    logs: bool,
    /// New indices of the plugin's functions, imports first.
    plugin: Vec<u32>,
    /// New indices of the kernel's functions, imports first.
    kernel: Vec<u32>,
    size: u32,
    grow: u32,
}

impl Plan {
    fn new(plugin: &Shape, kernel: &Shape) -> Result<Self, Refusal> {
        let logs = plugin.imports.iter().any(|(_, name, _)| name.starts_with("log_"));
        let (own, first) = (plugin.functions.len() as u32, u32::from(logs));
        let kernel_first = first + own;
        let imports = kernel.imports.len() as u32;
        let of_kernel = |index: u32| kernel_first + index - imports;
        let exported = |name: &str| kernel.exports.get(name).map(|index| of_kernel(*index));
        let needed = |name: &str| exported(name).ok_or_else(|| mistake(&format!("no `{name}` in the kernel")));
        let call = kernel_first + kernel.functions.len() as u32;
        let mut functions = Vec::new();
        for (module, name, index) in &plugin.imports {
            let unknown = || Refusal::UnknownImport { module: module.clone(), name: name.clone() };
            // `length_unsafe` is `length` without a check that costs little.
            let name = if name == "length_unsafe" { "length" } else { name };
            let public =
                module == ENVIRONMENT && !["size", "grow", "no_log"].contains(&name) && !name.starts_with("pangea_");
            let found = exported(name).filter(|_| public).ok_or_else(unknown)?;
            let expected = kernel.exports.get(name).and_then(|index| kernel.of(*index));
            if plugin.types.get(*index as usize) != expected {
                return Err(unknown());
            }
            functions.push(found);
        }
        functions.extend((0..own).map(|n| first + n));
        let log = if logs { 0 } else { needed("no_log")? };
        let mut of_kernels = vec![log, call];
        of_kernels.extend((imports..imports + kernel.functions.len() as u32).map(of_kernel));
        Ok(Self { logs, plugin: functions, kernel: of_kernels, size: needed("size")?, grow: needed("grow")? })
    }
}

/// Writes the plugin again.
struct OfPlugin<'a>(&'a Plan);

impl Reencode for OfPlugin<'_> {
    type Error = Infallible;

    fn function_index(&mut self, index: u32) -> Result<u32, Error<Infallible>> {
        Ok(self.0.plugin.get(index as usize).copied().unwrap_or(u32::MAX))
    }

    fn instruction<'a>(&mut self, operator: Operator<'a>) -> Result<Instruction<'a>, Error<Infallible>> {
        match operator {
            Operator::MemorySize { .. } => Ok(Instruction::Call(self.0.size)),
            Operator::MemoryGrow { .. } => Ok(Instruction::Call(self.0.grow)),
            other => utils::instruction(self, other),
        }
    }
}

/// Writes the kernel again, behind the plugin.
struct OfKernel<'a> {
    plan: &'a Plan,
    types: u32,
    globals: u32,
}

impl Reencode for OfKernel<'_> {
    type Error = Infallible;

    fn function_index(&mut self, index: u32) -> Result<u32, Error<Infallible>> {
        Ok(self.plan.kernel.get(index as usize).copied().unwrap_or(u32::MAX))
    }

    fn type_index(&mut self, index: u32) -> Result<u32, Error<Infallible>> {
        Ok(self.types + index)
    }

    fn global_index(&mut self, index: u32) -> Result<u32, Error<Infallible>> {
        Ok(self.globals + index)
    }
}

/// Copies what both modules may have.
fn copy(to: &mut Sections, as_in: &mut impl Reencode<Error = Infallible>, module: &[u8]) -> Result<(), Refusal> {
    for payload in Parser::new(0).parse_all(module) {
        let copied = match payload.map_err(|error| mistake(&error))? {
            Payload::CodeSectionEntry(body) => as_in.parse_function_body(&mut to.code, body),
            payload => to.copy(as_in, payload),
        };
        copied.map_err(|error| mistake(&error))?;
    }
    Ok(())
}

/// The module that both make.
pub fn merge(plugin_bytes: &[u8], kernel_bytes: &[u8]) -> Result<Vec<u8>, Refusal> {
    let (plugin, kernel) = (Shape::read(plugin_bytes)?, Shape::read(kernel_bytes)?);
    let plan = Plan::new(&plugin, &kernel)?;
    let memory = plugin
        .memory
        .ok_or_else(|| Refusal::Export { name: "memory".to_owned(), expected: "a memory of its own".to_owned() })?;
    let types = plugin.types.len() as u32;
    let mut sections = Sections::default();
    copy(&mut sections, &mut OfPlugin(&plan), plugin_bytes)?;
    copy(&mut sections, &mut OfKernel { plan: &plan, types, globals: plugin.globals }, kernel_bytes)?;
    // The types of `log` and `call` are those of the kernel's imports.
    let of_import = |n: usize| kernel.imports.get(n).map_or(u32::MAX, |(_, _, index)| types + index);
    sections.functions.function(of_import(1));
    sections.code.function(&call(&plugin, &plan));
    if plan.logs {
        sections.imports.import(HOST_MODULE, Capability::Log.name(), EntityType::Function(of_import(0)));
    }
    // The kernel's part comes behind the plugin's, whatever the plugin has said is its most: `grow` heeds the limit of
    // the manifest.
    let (minimum, maximum) = (memory.initial, None);
    sections.memories.memory(MemoryType { minimum, maximum, memory64: false, shared: false, page_size_log2: None });
    sections.exports = exports(&plugin, &kernel, &plan);
    sections.start = plugin.start.map(|start| StartSection { function_index: plan.plugin[start as usize] });
    Ok(sections.finish())
}

fn exports(plugin: &Shape, kernel: &Shape, plan: &Plan) -> ExportSection {
    let mut exports = ExportSection::new();
    exports.export("memory", ExportKind::Memory, 0);
    for (name, export) in [("pangea_alloc", "alloc"), ("pangea_handle", "handle")] {
        if let Some(index) = kernel.exports.get(name) {
            exports.export(export, ExportKind::Func, plan.kernel[*index as usize]);
        }
    }
    // Reactors of WASI, and Haskell's and others' plugins, ask to be made ready.
    let ready = ["_initialize", "__wasm_call_ctors"].iter().find_map(|name| plugin.exports.get(*name));
    if let Some(index) = ready.filter(|index| plugin.of(**index) == Some(&FuncType::new([], []))) {
        exports.export("init", ExportKind::Func, plan.plugin[*index as usize]);
    }
    exports
}

/// `call(name, len) -> i32`: compares the name with that of every function that can be asked, and calls the one.
fn call(plugin: &Shape, plan: &Plan) -> Function {
    let mut function = Function::new([]);
    let askable = FuncType::new([], [wasmparser::ValType::I32]);
    for (name, index) in plugin.exports.iter().filter(|(_, index)| plugin.of(**index) == Some(&askable)) {
        let mut code = function.instructions();
        code.block(BlockType::Empty);
        code.local_get(1).i32_const(i32::try_from(name.len()).unwrap_or(i32::MAX)).i32_ne().br_if(0);
        for (at, byte) in name.bytes().enumerate() {
            code.local_get(0).i32_load8_u(MemArg {
                offset: at as u64,
                align: 0,
                target: MemArgTarget::Memory(0),
                ordering: None,
            });
            code.i32_const(byte.into()).i32_ne().br_if(0);
        }
        code.call(plan.plugin[*index as usize]).return_().end();
    }
    function.instructions().i32_const(NO_FUNCTION).end();
    function
}
