//! [`Layers`]: flag over environment over file over default, and the memory of which one won.

use super::{Config, ConfigError};
use std::{collections::BTreeMap, fmt, path::Path};
use toml::{Table, Value};

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nobody said otherwise.
    Default,
    /// The settings file.
    File,
    /// This environment variable.
    Environment(String),
    /// This flag.
    Flag(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File => f.write_str("file"),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::Flag(name) => write!(f, "flag {name}"),
        }
    }
}

/// Settings under construction.
#[derive(Debug)]
pub struct Layers {
    merged: Table,
    origins: BTreeMap<String, Origin>,
}

impl Layers {
    /// The defaults, and the settings file over them if it exists.
    ///
    /// # Errors
    /// The file cannot be read, or has a wrong key or value; the message shows the line.
    pub fn from_file(path: &Path) -> Result<Self, ConfigError> {
        let mut layers = Self { merged: defaults(), origins: BTreeMap::new() };
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(layers),
            Err(error) => return Err(ConfigError::Io { path: path.to_owned(), error }),
        };
        let invalid = |error: toml::de::Error| ConfigError::File { path: path.to_owned(), error: error.to_string() };
        // The schema is checked on the text, so that an error shows its line.
        toml::from_str::<Config>(&text).map_err(invalid)?;
        let file: Table = toml::from_str(&text).map_err(invalid)?;
        for (section, values) in file {
            let Value::Table(values) = values else { continue };
            for (key, value) in values {
                layers.put(&section, &key, value, Origin::File);
            }
        }
        Ok(layers)
    }

    /// The environment over what is there: `PANGEA_NETWORK_LISTEN=127.0.0.1:0,127.0.0.1:1` sets `network.listen`.
    ///
    /// # Errors
    /// A variable whose value its key does not accept, or that names a section and no key of it: a mistyped quota must
    /// not be no quota. Other variables that begin with `PANGEA_` may belong to somebody else.
    pub fn environment(mut self, variables: impl Iterator<Item = (String, String)>) -> Result<Self, ConfigError> {
        let mut variables: Vec<_> = variables.collect();
        variables.sort();
        let keys: Vec<(String, String)> = defaults()
            .iter()
            .flat_map(|(section, values)| {
                let keys = values.as_table().into_iter().flat_map(Table::keys);
                keys.map(|key| (section.clone(), key.clone())).collect::<Vec<_>>()
            })
            .collect();
        refuse_unknown(&keys, &variables)?;
        for (section, key) in keys {
            let name = variable(&section, &key);
            if let Some((_, text)) = variables.iter().find(|(variable, _)| *variable == name) {
                self = self.set(&section, &key, text, Origin::Environment(name))?;
            }
        }
        Ok(self)
    }

    /// One value from its text form.
    ///
    /// # Errors
    /// The key does not accept it.
    pub fn set(mut self, section: &str, key: &str, text: &str, origin: Origin) -> Result<Self, ConfigError> {
        let list = matches!(self.value(section, key), Some(Value::Array(_)));
        let value = match self.value(section, key) {
            Some(Value::Array(_)) => {
                let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
                Value::Array(items.map(|item| Value::String(item.to_owned())).collect())
            }
            Some(Value::Integer(_)) => text.parse().map_or_else(|_| Value::String(text.to_owned()), Value::Integer),
            Some(Value::Boolean(_)) => text.parse().map_or_else(|_| Value::String(text.to_owned()), Value::Boolean),
            _ => Value::String(text.to_owned()),
        };
        debug_assert!(list == value.is_array());
        let before = self.value(section, key).cloned();
        self.put(section, key, value, origin.clone());
        if let Err(error) = self.merged.clone().try_into::<Config>() {
            if let Some(before) = before {
                self.put(section, key, before, Origin::Default);
            }
            return Err(ConfigError::Value { origin: origin.to_string(), error: error.to_string() });
        }
        Ok(self)
    }

    /// The settings.
    ///
    /// # Errors
    /// Values of several layers that exclude each other; each value has been accepted before.
    pub fn config(&self) -> Result<Config, ConfigError> {
        let invalid = |error: String| ConfigError::Value { origin: "the merged configuration".to_owned(), error };
        let config: Config =
            self.merged.clone().try_into().map_err(|error: toml::de::Error| invalid(error.to_string()))?;
        config.check().map_err(invalid)?;
        Ok(config)
    }

    /// The settings as TOML, each line with its origin.
    pub fn explain(&self) -> String {
        let mut text = String::new();
        for (section, values) in &self.merged {
            text.push_str(&format!("[{section}]\n"));
            for (key, value) in values.as_table().into_iter().flatten() {
                let origin = self.origins.get(&format!("{section}.{key}")).unwrap_or(&Origin::Default);
                text.push_str(&format!("{key} = {value}  # {origin}\n"));
            }
            text.push('\n');
        }
        text.trim_end().to_owned() + "\n"
    }

    fn value(&self, section: &str, key: &str) -> Option<&Value> {
        self.merged.get(section)?.get(key)
    }

    fn put(&mut self, section: &str, key: &str, value: Value, origin: Origin) {
        if let Some(Value::Table(values)) = self.merged.get_mut(section) {
            values.insert(key.to_owned(), value);
            self.origins.insert(format!("{section}.{key}"), origin);
        }
    }
}

/// The name of the variable for a key.
fn variable(section: &str, key: &str) -> String {
    format!("PANGEA_{section}_{key}").to_ascii_uppercase()
}

/// Variables of a section of ours that stand for no key of it.
fn refuse_unknown(keys: &[(String, String)], variables: &[(String, String)]) -> Result<(), ConfigError> {
    for (name, _) in variables {
        let section = keys.iter().map(|(section, _)| section).find(|section| name.starts_with(&variable(section, "")));
        let Some(section) = section else { continue };
        let all: Vec<&str> = keys.iter().filter(|(of, _)| of == section).map(|(_, key)| key.as_str()).collect();
        if !all.iter().any(|key| variable(section, key) == *name) {
            let error = format!("[{section}] has no such key; its keys are {}", all.join(", "));
            return Err(ConfigError::Value { origin: Origin::Environment(name.clone()).to_string(), error });
        }
    }
    Ok(())
}

fn defaults() -> Table {
    Table::try_from(Config::default()).unwrap_or_default()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::config::units::Bytes;

    fn file(text: &str) -> Result<Layers, ConfigError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.toml");
        std::fs::write(&path, text).unwrap();
        Layers::from_file(&path)
    }

    #[test]
    fn a_flag_wins_over_the_environment_and_the_environment_over_the_file() {
        let layers = file("[storage]\nquota = \"1GiB\"\n").unwrap();
        assert_eq!(layers.config().unwrap().storage.quota, Bytes(1 << 30));
        let variables = [("PANGEA_STORAGE_QUOTA".to_owned(), "2GiB".to_owned())];
        let layers = layers.environment(variables.into_iter()).unwrap();
        assert_eq!(layers.config().unwrap().storage.quota, Bytes(2 << 30));
        let layers = layers.set("storage", "quota", "3GiB", Origin::Flag("--quota")).unwrap();
        assert_eq!(layers.config().unwrap().storage.quota, Bytes(3 << 30));
        assert!(layers.explain().contains("quota = \"3GiB\"  # flag --quota"));
    }

    #[test]
    fn an_unknown_key_is_refused_with_its_line() {
        let error = file("[network]\nmdns = true\nlissten = []\n").unwrap_err().to_string();
        assert!(error.contains("line 3") && error.contains("lissten"), "{error}");
    }

    #[test]
    fn a_wrong_value_in_the_environment_names_the_variable() {
        let variables = [("PANGEA_NETWORK_LISTEN".to_owned(), "nowhere".to_owned())];
        let error = file("").unwrap().environment(variables.into_iter()).unwrap_err().to_string();
        assert!(error.contains("PANGEA_NETWORK_LISTEN"), "{error}");
    }

    #[test]
    fn an_engine_that_is_not_built_or_not_safe_is_refused_with_what_to_do() {
        let threads = |engine: &str| file(&format!("[compute]\nengine = \"{engine}\"\nisolation = \"threads\"\n"));
        assert!(threads("wasmi").unwrap().config().is_ok());
        let jit = threads("jit").and_then(|layers| layers.config()).unwrap_err().to_string();
        let advice = if cfg!(feature = "jit") { "compute.isolation" } else { "--features jit" };
        assert!(jit.contains(advice), "{jit}");
        assert!(threads("v8").unwrap_err().to_string().contains("wasmi and jit"));
    }

    #[test]
    fn the_template_is_valid_and_changes_nothing() {
        let template = crate::config::template();
        assert_eq!(file(&template).unwrap().config().unwrap(), Config::default());
        let uncommented: String =
            template.lines().skip(1).map(|line| format!("{}\n", line.trim_start_matches("# "))).collect();
        assert_eq!(file(&uncommented).unwrap().config().unwrap(), Config::default());
    }
}
