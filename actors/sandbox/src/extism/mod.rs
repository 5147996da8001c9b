//! Plugins that were written for Extism, turned into modules of the ABI `pangea:1`: what they import of `extism:host/env` is
//! put into the module itself (`kernel.wat`), and their functions become what can be asked, by name.
//!
//! Nothing of it is known to the pass or to an engine: the module that comes out is like any other, so it pays for what it
//! does, and its results are the same everywhere. An event `ask` calls the function that its first word names, with the rest
//! as input; what the function sets as output is the answer. Settings come from the manifest, variables live as long as
//! the instance. There is no HTTP: a plugin that asks for it traps.

mod merge;

use crate::pass::{FEATURES, limits};
use pangea_protocols::task::Refusal;
use wasmparser::{Parser, Payload, TypeRef, Validator};

/// The module name of Extism's imports.
const ENVIRONMENT: &str = "extism:host/env";
/// The kernel as WebAssembly: `kernel.wat`, assembled. A test holds the one against the other.
const KERNEL: &[u8] = include_bytes!("kernel.wasm");

/// Is this a plugin for Extism? Only what is needed to tell is read: it may be invalid in any other way.
pub fn is_extism(module: &[u8]) -> bool {
    let imports = Parser::new(0).parse_all(module).find_map(|payload| match payload {
        Ok(Payload::ImportSection(section)) => Some(section),
        _ => None,
    });
    let is_theirs =
        |import: wasmparser::Import<'_>| import.module == ENVIRONMENT && matches!(import.ty, TypeRef::Func(_));
    imports.is_some_and(|section| section.into_imports().any(|import| import.is_ok_and(is_theirs)))
}

/// Turns a plugin for Extism into a module of the ABI `pangea:1`.
///
/// # Errors
/// [`Refusal::Invalid`]; [`Refusal::UnknownImport`] for a function that is not the kernel's.
pub fn adapt(module: &[u8]) -> Result<Vec<u8>, Refusal> {
    if module.len() as u64 > limits::MODULE_BYTES_MAX {
        let (found, max) = (module.len() as u64, limits::MODULE_BYTES_MAX);
        return Err(Refusal::TooLarge { what: "bytes".to_owned(), found, max });
    }
    let validated = Validator::new_with_features(FEATURES).validate_all(module);
    validated.map_err(|error| Refusal::Invalid { offset: error.offset(), message: error.message().to_owned() })?;
    merge::merge(module, KERNEL)
}
