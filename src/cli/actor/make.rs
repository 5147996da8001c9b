//! `new`, `build`, `test`: what needs no running node.

use super::{BuildArgs, NewArgs, TestArgs, package};
use crate::cli::{CliError, format, local, node::SimArgs, output::Output};
use pangea_plugins::template;
use pangea_protocols::job::ErrorKind;
use serde_json::json;
use std::path::PathBuf;

/// Languages of `new`.
pub(super) const LANGUAGES: [&str; template::TEMPLATES.len()] = {
    let mut names = [""; template::TEMPLATES.len()];
    let mut n = 0;
    while n < names.len() {
        names[n] = template::TEMPLATES[n].0;
        n += 1;
    }
    names
};

pub(super) fn new(args: &NewArgs, output: &Output) -> Result<(), CliError> {
    let files = template::files(&args.lang, args.name.as_str()).unwrap_or_default();
    let here = args.output.as_os_str() == ".";
    let place = |name: &String| if here { PathBuf::from(name) } else { args.output.join(name) };
    let paths: Vec<_> = files.iter().map(|(name, _)| place(name)).collect();
    if let Some(there) = paths.iter().find(|path| path.exists()) {
        let message = format!("{} is there already", there.display());
        return Err(CliError::new(ErrorKind::Denied, message).help("choose another name or another --output"));
    }
    for (path, (_, text)) in paths.iter().zip(&files) {
        let written = path.parent().map_or(Ok(()), std::fs::create_dir_all).and_then(|()| std::fs::write(path, text));
        written.map_err(|error| CliError::io(&path.display().to_string(), &error))?;
    }
    if output.json {
        let paths: Vec<_> = paths.iter().map(|path| path.display().to_string()).collect();
        return output.value(&json!({ "files": paths }));
    }
    for path in &paths {
        output.line(&path.display().to_string())?;
    }
    if let Some(manifest) = paths.first() {
        output.say(&format!("try it on twenty simulated nodes: pangea actor test {}", manifest.display()));
    }
    Ok(())
}

pub(super) fn build(args: &BuildArgs, output: &Output) -> Result<(), CliError> {
    let (_, manifest) = package::manifest(&args.manifest)?;
    package::make(&args.manifest, &manifest)?;
    let (package, manifest) = package::read(&args.manifest, &package::Settings::default())?;
    let imports = package::check(&package, &manifest)?;
    let (bytes, module) = (package.module.len() as u64, package::module_path(&args.manifest, &manifest));
    if output.json {
        return output.value(&json!({
            "name": manifest.name.as_str(), "version": manifest.version, "module": module.display().to_string(),
            "bytes": bytes, "imports": imports, "capabilities": manifest.capabilities(),
        }));
    }
    output.line(&format!("{} {}  {}", manifest.name, manifest.version, format::size(bytes)))?;
    let granted = manifest.capabilities();
    let granted = if granted.is_empty() { "nothing".to_owned() } else { granted.join(", ") };
    output.line(&format!("may use {granted}"))
}

/// Returns only if the simulator cannot be started.
pub(super) fn test(args: &TestArgs) -> CliError {
    let mut arguments: Vec<std::ffi::OsString> = vec!["actor".into(), args.manifest.clone().into()];
    arguments.extend(args.arguments.iter().cloned());
    local::sim(&SimArgs { arguments })
}
