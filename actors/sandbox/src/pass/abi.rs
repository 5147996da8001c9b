//! The imports and exports of the ABI `pangea:1`.

use pangea_protocols::task::{Capability, Refusal};
use wasmparser::{FuncType, ValType};

/// Module name of the imports.
pub const HOST_MODULE: &str = "pangea";

const I32: ValType = ValType::I32;
const I64: ValType = ValType::I64;

/// A function that an author may or must export: name, must it, parameters, results.
type Export = (&'static str, bool, &'static [ValType], &'static [ValType]);

/// Functions of the ABI.
pub const EXPORTS: [Export; 4] = [
    ("alloc", true, &[I32], &[I32]),
    ("handle", true, &[I32, I32], &[I64]),
    ("init", false, &[], &[]),
    ("abi_version", false, &[], &[I32]),
];

/// The memory of the ABI.
pub const MEMORY: &str = "memory";

fn import_type(capability: Capability) -> FuncType {
    match capability {
        Capability::Send | Capability::Random => FuncType::new([I32, I32], []),
        Capability::Log => FuncType::new([I32, I32, I32], []),
        Capability::Now => FuncType::new([], [I64]),
        Capability::ChunkRead => FuncType::new([I32, I64, I32, I32], [I32]),
    }
}

/// The capability that an import of a function stands for.
///
/// # Errors
/// There is none, or its type is another.
pub fn import(module: &str, name: &str, found: &FuncType) -> Result<Capability, Refusal> {
    let capability =
        Capability::from_name(name).filter(|_| module == HOST_MODULE).ok_or_else(|| unknown(module, name))?;
    let expected = import_type(capability);
    if *found != expected {
        let expected = signature(expected.params(), expected.results());
        return Err(Refusal::ImportType { name: name.to_owned(), expected });
    }
    Ok(capability)
}

/// An import that does not exist here.
pub fn unknown(module: &str, name: &str) -> Refusal {
    let short = |text: &str| text.chars().take(80).collect();
    Refusal::UnknownImport { module: short(module), name: short(name) }
}

/// A type as an author reads it, such as `(i32, i32) -> (i64)`.
pub fn signature(parameters: &[ValType], results: &[ValType]) -> String {
    let list = |types: &[ValType]| types.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    format!("({}) -> ({})", list(parameters), list(results))
}
