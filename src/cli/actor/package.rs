//! A manifest and its module: read from files, with settings of the command line, made and checked.

use crate::cli::CliError;
use bytes::Bytes;
use pangea_plugins::{Manifest, api::Package};
use pangea_protocols::{
    Hash,
    guest::{Command, Event},
    job::ErrorKind,
    task::Capability,
};
use pangea_sandbox::{Guests, engine::Wasmi, extism};
use std::path::{Path, PathBuf};

/// What the command line says instead of the manifest.
#[derive(Clone, Debug, Default, clap::Args)]
pub(super) struct Settings {
    /// The folder that it may list, instead of the manifest's
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
    /// A setting, instead of the manifest's; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse_pair)]
    set: Vec<(String, String)>,
}

fn parse_pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write it as KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

/// The manifest in a file.
pub(super) fn manifest(path: &Path) -> Result<(String, Manifest), CliError> {
    let text = std::fs::read_to_string(path).map_err(|error| CliError::io(&path.display().to_string(), &error))?;
    let manifest = Manifest::parse(&text).map_err(|error| CliError::usage(format!("{}: {error}", path.display())))?;
    Ok((text, manifest))
}

/// Where the module of a manifest is.
pub(super) fn module_path(path: &Path, manifest: &Manifest) -> PathBuf {
    path.with_file_name(&manifest.module)
}

/// Runs the command that makes the module, if there is one.
pub(super) fn make(path: &Path, manifest: &Manifest) -> Result<(), CliError> {
    if manifest.build.is_empty() {
        return Ok(());
    }
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let status = std::process::Command::new("sh").arg("-c").arg(&manifest.build).current_dir(dir).status();
    match status.map_err(|error| CliError::io("sh", &error))? {
        status if status.success() => Ok(()),
        status => {
            let error = CliError::failed(format!("`{}` failed: {status}", manifest.build));
            Err(if manifest.build.contains(RUST_TARGET) && !has_rust_target() {
                error.help(format!("Rust cannot compile for WebAssembly yet: rustup target add {RUST_TARGET}"))
            } else {
                error
            })
        }
    }
}

/// What Rust calls WebAssembly without a system.
const RUST_TARGET: &str = "wasm32-unknown-unknown";

/// Has the compiler that cargo uses the libraries for it? True if it does not say.
fn has_rust_target() -> bool {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let asked = std::process::Command::new(rustc).args(["--print", "target-libdir", "--target", RUST_TARGET]).output();
    let Ok(answer) = asked else { return true };
    !answer.status.success() || Path::new(String::from_utf8_lossy(&answer.stdout).trim()).exists()
}

/// A manifest and its module, as they are installed.
pub(super) fn read(path: &Path, settings: &Settings) -> Result<(Package, Manifest), CliError> {
    let (text, manifest) = manifest(path)?;
    let module = module_path(path, &manifest);
    // A module that is no text passes through as it is.
    let mut bytes = wat::parse_file(&module).map_err(|error| CliError::usage(error.to_string()))?;
    if extism::is_extism(&bytes) {
        bytes = extism::adapt(&bytes).map_err(|refusal| CliError::new(ErrorKind::Denied, refusal.to_string()))?;
    }
    let text = with(text, settings, path)?;
    let manifest = Manifest::parse(&text).map_err(|error| CliError::usage(format!("{}: {error}", path.display())))?;
    Ok((Package { manifest: text, module: bytes.into() }, manifest))
}

/// The text of a manifest with the settings of the command line, and with its folder in full.
fn with(text: String, settings: &Settings, path: &Path) -> Result<String, CliError> {
    let mut table: toml::Table = toml::from_str(&text).map_err(|error| CliError::usage(error.to_string()))?;
    let folder = match &settings.folder {
        Some(folder) => Some(folder.clone()),
        None => {
            table.get("folder").and_then(|folder| folder.as_str()).map(|folder| path.with_file_name("").join(folder))
        }
    };
    if settings.set.is_empty() && folder.is_none() {
        return Ok(text);
    }
    if let Some(folder) = folder {
        let shown = folder.display().to_string();
        let full = std::fs::canonicalize(&folder).map_err(|error| CliError::io(&shown, &error))?;
        let full = full.into_os_string().into_string();
        let full = full.map_err(|_| CliError::usage(format!("{shown} is no text, and cannot be written as TOML")))?;
        table.insert("folder".to_owned(), toml::Value::String(full));
    }
    let config = table.entry("config").or_insert_with(|| toml::Value::Table(toml::Table::new()));
    if let toml::Value::Table(config) = config {
        for (key, value) in &settings.set {
            config.insert(key.clone(), toml::Value::String(value.clone()));
        }
    }
    toml::to_string(&table).map_err(|error| CliError::usage(error.to_string()))
}

/// Whether a node would run the module, and what it imports.
pub(super) fn check(package: &Package, manifest: &Manifest) -> Result<Vec<&'static str>, CliError> {
    let engine = Wasmi::new().map_err(|error| CliError::failed(format!("the sandbox cannot be made: {error}")))?;
    let (module, bytes): (Hash, Bytes) = (Hash::of(&package.module), package.module.clone());
    let prepared = Guests::new(engine, u64::MAX).finish(Command::Prepare { module, bytes });
    let Some(Event::Prepared { result, .. }) = prepared else {
        return Err(CliError::failed("the sandbox gave no answer"));
    };
    let imports = result.map_err(|refusal| CliError::new(ErrorKind::Denied, refusal.to_string()))?;
    let missing: Vec<_> = imports.iter().filter(|one| !manifest.imports.has(*one)).map(Capability::name).collect();
    if missing.is_empty() {
        return Ok(imports.iter().map(Capability::name).collect());
    }
    let missing = missing.join(", ");
    Err(CliError::new(ErrorKind::Denied, format!("the module imports {missing}, which its manifest does not grant"))
        .help("add it to `capabilities`"))
}
