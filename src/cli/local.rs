//! The commands that need no running node: `init`, `node`, `id`, `config`, `demo`, `bench`, `sim`.

use super::{
    CliError, Global,
    node::{BenchArgs, ConfigAction, ConfigArgs, DemoArgs, NodeArgs, SimArgs},
    output::Output,
};
use crate::{
    bench,
    config::{self, Config, ConfigError, Layers, LogFormat, Origin},
    demo::{self, Demo},
    home::{Home, HomeError},
    identity::{Identity, IdentityError},
    node::{self, RunError, StartError},
};
use pangea_protocols::job::ErrorKind;
use serde_json::json;
use std::{
    fs::OpenOptions,
    io::Write,
    os::unix::{fs::OpenOptionsExt, process::CommandExt},
};
use tracing_subscriber::EnvFilter;

/// Becomes `pangea-sim`, which is a program of its own: it overrides the clock and the entropy of its process, which no
/// node should be able to do. Returns only if that is not possible.
pub(crate) fn sim(args: &SimArgs) -> CliError {
    let beside =
        std::env::current_exe().ok().map(|path| path.with_file_name("pangea-sim")).filter(|path| path.exists());
    let program = beside.unwrap_or_else(|| "pangea-sim".into());
    let error = std::process::Command::new(&program).args(&args.arguments).exec();
    match error.kind() {
        std::io::ErrorKind::NotFound => CliError::new(ErrorKind::NotFound, "the program `pangea-sim` is not installed")
            .help("install it from Pangea's sources: cargo install --path simulations"),
        _ => CliError::failed(format!("{}: {error}", program.display())),
    }
}

/// Makes directory, identity and settings file.
pub(crate) fn init(global: &Global, output: &Output) -> Result<(), CliError> {
    let home = Home::resolve(global.home.clone())?;
    home.create()?;
    let identity = Identity::create(&home)?;
    write_template(&home)?;
    if output.json {
        let config = home.config_file().display().to_string();
        return output.value(&json!({
            "peer": identity.peer().to_string(), "home": home.dir().display().to_string(), "config": config,
        }));
    }
    output.line(&identity.peer().to_string())?;
    output.say(&format!("identity and settings are in {}; start the node with `pangea node`", home.dir().display()));
    Ok(())
}

/// Settings that exist are the user's: they stay.
fn write_template(home: &Home) -> Result<(), CliError> {
    let path = home.config_file();
    let io = |error| CliError::io(&path.display().to_string(), &error);
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).map_err(io)?;
    }
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(mut file) => file.write_all(config::template().as_bytes()).map_err(io),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(io(error)),
    }
}

/// Runs a node in the foreground.
pub(crate) fn node(global: &Global, args: &NodeArgs, output: &Output) -> Result<(), CliError> {
    let home = Home::resolve(global.home.clone())?;
    let config = layers(&home, args)?.config()?;
    start_logging(&config)?;
    Ok(node::run(&home, &config, output.json)?)
}

fn layers(home: &Home, args: &NodeArgs) -> Result<Layers, CliError> {
    let mut layers = Layers::from_file(home.config_file())?.environment(std::env::vars())?;
    if !args.listen.is_empty() {
        layers = layers.set("network", "listen", &args.listen.join(","), Origin::Flag("--listen"))?;
    }
    if !args.bootstrap.is_empty() {
        let known = layers.config()?.network.bootstrap.into_iter().map(String::from);
        let all: Vec<String> = known.chain(args.bootstrap.iter().cloned()).collect();
        layers = layers.set("network", "bootstrap", &all.join(","), Origin::Flag("--bootstrap"))?;
    }
    if let Some(quota) = &args.quota {
        layers = layers.set("storage", "quota", quota, Origin::Flag("--quota"))?;
    }
    for setting in &args.set {
        let parts = setting.split_once('=').and_then(|(path, value)| Some((path.split_once('.')?, value)));
        let ((section, key), value) = parts.ok_or_else(|| {
            CliError::usage(format!("`{setting}` is not a setting"))
                .help("write SECTION.KEY=VALUE, such as log.level=debug")
        })?;
        layers = layers.set(section, key, value, Origin::Flag("--set"))?;
    }
    Ok(layers)
}

/// Log lines go to standard error.
fn start_logging(config: &Config) -> Result<(), CliError> {
    let filter = EnvFilter::builder().parse(log_filter(&config.log.level)).map_err(|error| {
        CliError::usage(format!("log.level: {error}")).help("write error, warn, info, debug, trace or a filter")
    })?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match config.log.format {
        LogFormat::Text => builder.with_ansi(false).init(),
        LogFormat::Json => builder.json().init(),
    }
    Ok(())
}

/// A level alone is about Pangea: the libraries below it are heard when something is broken, or when a filter asks.
fn log_filter(level: &str) -> String {
    match level.to_ascii_lowercase().as_str() {
        level @ ("error" | "warn" | "info") => format!("error,pangea={level}"),
        level @ ("debug" | "trace") => format!("warn,pangea={level}"),
        _ => level.to_owned(),
    }
}

/// Prints the node's id.
pub(crate) fn id(global: &Global, output: &Output) -> Result<(), CliError> {
    let peer = Identity::load(&Home::resolve(global.home.clone())?)?.peer();
    if output.json { output.value(&json!({ "peer": peer.to_string() })) } else { output.line(&peer.to_string()) }
}

/// Checks or shows settings.
pub(crate) fn config(global: &Global, args: &ConfigArgs, output: &Output) -> Result<(), CliError> {
    let home = Home::resolve(global.home.clone())?;
    match &args.action {
        ConfigAction::Check { file } => {
            let path = file.clone().unwrap_or_else(|| home.config_file().to_owned());
            if file.is_some() && !path.exists() {
                return Err(CliError::new(ErrorKind::NotFound, format!("{} does not exist", path.display())));
            }
            Layers::from_file(&path)?.environment(std::env::vars())?;
            if output.json {
                return output.value(&json!({ "valid": true, "file": path.display().to_string() }));
            }
            output.say(&format!("{} is valid", path.display()));
            Ok(())
        }
        ConfigAction::Show { effective: true } => {
            let layers = Layers::from_file(home.config_file())?.environment(std::env::vars())?;
            show(output, &layers.config()?, &layers.explain())
        }
        ConfigAction::Show { effective: false } => match std::fs::read_to_string(home.config_file()) {
            Ok(text) if !output.json => output.text(&text),
            Ok(_) => show(output, &Layers::from_file(home.config_file())?.config()?, ""),
            Err(error) => Err(CliError::io(&home.config_file().display().to_string(), &error)
                .help("`pangea init` writes it; `pangea config show --effective` shows the defaults")),
        },
    }
}

fn show(output: &Output, config: &Config, text: &str) -> Result<(), CliError> {
    if !output.json {
        return output.text(text);
    }
    let value = serde_json::to_value(config).map_err(|error| CliError::failed(error.to_string()))?;
    output.value(&value)
}

/// Runs the demo.
pub(crate) fn demo(args: &DemoArgs, output: &Output) -> Result<(), CliError> {
    let demo = Demo {
        paths: args.paths.clone(),
        nodes: usize::from(args.nodes),
        json: output.json,
        colour: output.colors_out(),
    };
    demo::run(&demo).map_err(from_anyhow)
}

/// Measures this machine.
pub(crate) fn bench(args: &BenchArgs, output: &Output) -> Result<(), CliError> {
    let report = bench::run(args.size).map_err(from_anyhow)?;
    if output.json {
        let value = serde_json::to_value(&report).map_err(|error| CliError::failed(error.to_string()))?;
        return output.value(&value);
    }
    output.text(&report.table())
}

fn from_anyhow(error: anyhow::Error) -> CliError {
    match error.downcast_ref::<pangea_protocols::job::JobError>() {
        Some(job) => CliError::new(job.kind, format!("{error:#}")),
        None => CliError::failed(format!("{error:#}")),
    }
}

impl From<HomeError> for CliError {
    fn from(error: HomeError) -> Self {
        match &error {
            HomeError::Io { path, error } => Self::io(&format!("cannot use {}", path.display()), error),
            HomeError::Nowhere => Self::usage(error.to_string()),
            HomeError::Locked { .. } | HomeError::Open { .. } => Self::new(ErrorKind::Denied, error.to_string()),
        }
    }
}

impl From<IdentityError> for CliError {
    fn from(error: IdentityError) -> Self {
        let kind = match &error {
            IdentityError::Missing(_) => ErrorKind::NotFound,
            IdentityError::Exists(_) | IdentityError::Open { .. } => ErrorKind::Denied,
            IdentityError::Damaged(_) => ErrorKind::Integrity,
            IdentityError::Io { path, error } => return Self::io(&path.display().to_string(), error),
            IdentityError::Entropy(_) => ErrorKind::Failed,
        };
        Self::new(kind, error.to_string())
    }
}

impl From<ConfigError> for CliError {
    fn from(error: ConfigError) -> Self {
        match &error {
            ConfigError::Io { path, error } => Self::io(&path.display().to_string(), error),
            ConfigError::File { .. } | ConfigError::Value { .. } => Self::usage(error.to_string()),
        }
    }
}

impl From<RunError> for CliError {
    fn from(error: RunError) -> Self {
        match error {
            RunError::Start(StartError::Home(error)) => error.into(),
            RunError::Start(StartError::Identity(error)) => error.into(),
            RunError::Control(error) => error.into(),
            error => Self::failed(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_alone_keeps_libraries_calm_and_a_filter_is_taken_as_it_is() {
        for (level, want) in [
            ("info", "error,pangea=info"),
            ("DEBUG", "warn,pangea=debug"),
            ("off", "off"),
            ("info,libp2p_kad=debug", "info,libp2p_kad=debug"),
        ] {
            assert_eq!(log_filter(level), want);
            assert!(EnvFilter::builder().parse(log_filter(level)).is_ok(), "{level}");
        }
    }
}
