//! [`Sections`]: a module that is being written, out of the sections of others. Not here: what is changed on the way.

use std::convert::Infallible;
use wasm_encoder::{
    CodeSection, DataCountSection, DataSection, ElementSection, ExportSection, FunctionSection, GlobalSection,
    ImportSection, MemorySection, Module, StartSection, TableSection, TypeSection,
    reencode::{Error, Reencode, utils},
};
use wasmparser::Payload;

/// All sections but custom ones, in the order in which a module has them.
#[derive(Default)]
pub struct Sections {
    pub types: TypeSection,
    pub imports: ImportSection,
    pub functions: FunctionSection,
    pub tables: TableSection,
    pub memories: MemorySection,
    pub globals: GlobalSection,
    pub exports: ExportSection,
    pub start: Option<StartSection>,
    pub elements: ElementSection,
    pub data_count: Option<DataCountSection>,
    pub code: CodeSection,
    pub data: DataSection,
}

impl Sections {
    /// Copies a section behind what is here already; not imports, memories, exports, the start and code, of which every
    /// writer makes something else.
    ///
    /// # Errors
    /// It does not read.
    pub fn copy(
        &mut self,
        as_in: &mut impl Reencode<Error = Infallible>,
        payload: Payload<'_>,
    ) -> Result<(), Error<Infallible>> {
        match payload {
            Payload::TypeSection(section) => utils::parse_type_section(as_in, &mut self.types, section),
            Payload::FunctionSection(section) => utils::parse_function_section(as_in, &mut self.functions, section),
            Payload::TableSection(section) => utils::parse_table_section(as_in, &mut self.tables, section),
            Payload::GlobalSection(section) => utils::parse_global_section(as_in, &mut self.globals, section),
            Payload::ElementSection(section) => utils::parse_element_section(as_in, &mut self.elements, section),
            Payload::DataSection(section) => utils::parse_data_section(as_in, &mut self.data, section),
            Payload::DataCountSection { count, .. } => {
                self.data_count = Some(DataCountSection { count });
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// The module.
    pub fn finish(self) -> Vec<u8> {
        let mut module = Module::new();
        module.section(&self.types).section(&self.imports).section(&self.functions);
        if !self.tables.is_empty() {
            module.section(&self.tables);
        }
        module.section(&self.memories).section(&self.globals).section(&self.exports);
        if let Some(start) = self.start {
            module.section(&start);
        }
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
