//! [`lab`]: twenty nodes with a plugin from a file, asked what its manifest says, on a network where everything goes wrong
//! that can. What must be true of any plugin: it never fails, and in the end every node gives the answers that it should
//! agree on.

use super::{Cast, Hosted, In, Site};
use crate::lab::{Lab, View, ensure};
use bytes::Bytes;
use pangea_plugins::{Manifest, Plugins, api::Package};
use pangea_protocols::{PeerId, wire::extension::Name};
use pangea_sandbox::extism;
use serde::Deserialize;
use std::{marker::PhantomData, path::Path, time::Duration};

/// A plugin to be tried.
#[derive(Clone, Debug)]
pub struct Setup {
    /// As it is installed.
    pub package: Package,
    /// Its name.
    pub name: Name,
    /// What users ask.
    pub asks: Vec<String>,
    /// What every node must answer alike in the end.
    pub agree: Vec<String>,
    /// How many nodes there are.
    pub nodes: u32,
    /// How many asks there are.
    pub count: u32,
}

/// The table `test` of a manifest.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Test {
    asks: Vec<String>,
    agree: Vec<String>,
    nodes: Option<u32>,
    count: Option<u32>,
}

/// Reads a manifest, its module beside it, and what is to be asked.
///
/// # Errors
/// A text that says what is wrong.
pub fn read(path: &Path) -> Result<Setup, String> {
    let shown = path.display();
    let text = std::fs::read_to_string(path).map_err(|error| format!("{shown}: {error}"))?;
    let manifest = Manifest::parse(&text).map_err(|error| format!("{shown}: {error}"))?;
    let module = path.with_file_name(&manifest.module);
    // Binary modules pass through as they are.
    let mut bytes = wat::parse_file(&module).map_err(|error| error.to_string())?;
    if extism::is_extism(&bytes) {
        bytes = extism::adapt(&bytes).map_err(|refusal| refusal.to_string())?;
    }
    let table: toml::Table = toml::from_str(&text).map_err(|error| format!("{shown}: {error}"))?;
    let test = table.get("test").cloned().map(toml::Value::try_into::<Test>);
    let test = test.transpose().map_err(|error| format!("{shown}: [test]: {error}"))?.unwrap_or_default();
    Ok(Setup {
        name: manifest.name,
        package: Package { manifest: text, module: bytes.into() },
        asks: test.asks,
        agree: test.agree,
        nodes: test.nodes.unwrap_or(20).clamp(1, 100),
        count: test.count.unwrap_or(60).min(10_000),
    })
}

/// Names a plugin to be tried: a lab makes its nodes from their type alone.
pub trait Tried: 'static {
    /// The plugin.
    fn setup() -> &'static Setup;
}

/// A node with such a plugin.
pub struct With<T>(PhantomData<T>);

impl<T: Tried> Cast for With<T> {
    type Tenant = Hosted;

    fn core(me: PeerId) -> Plugins {
        Plugins::new(me)
    }

    fn name() -> Name {
        T::setup().name.clone()
    }

    fn packages() -> Vec<Package> {
        vec![T::setup().package.clone()]
    }

    fn polls() -> Vec<String> {
        T::setup().agree.clone()
    }
}

/// The lab of a plugin: twenty seeds of a minute of trouble and a minute to recover.
pub fn lab<T: Tried>() -> Lab<Site<With<T>>> {
    let Setup { name, asks, agree, nodes, count, .. } = T::setup().clone();
    let count = if asks.is_empty() { 0 } else { count };
    Lab::<Site<With<T>>>::new(name.as_str())
        .nodes(nodes)
        .seeds(0..20)
        .times(Duration::from_secs(60), Duration::from_secs(60))
        .asks(count, move |draw| {
            let ask = draw.choose(&asks).cloned().unwrap_or_default();
            In::Ask(Bytes::from(ask))
        })
        .always("the plugin does not fail", |net| {
            let Some((id, site)) = net.node().and_then(|id| Some((id, net.core(id)?))) else { return Ok(()) };
            if let Some((name, reason)) = site.core().failures().next() {
                ensure!(false, "node {id}: `{name}` failed: {reason}");
            }
            Ok(())
        })
        .eventually("every node gives the same answers", move |net| agreed(net, &agree))
}

/// Has every node given the same answer to each of these?
pub fn agreed<P: Cast>(net: &View<'_, Site<P>>, polls: &[String]) -> Result<(), String> {
    for poll in polls {
        let mut answers = net.cores().map(|(id, site)| (id, site.said().get(poll)));
        let Some((first, expected)) = answers.next() else { return Ok(()) };
        ensure!(expected.is_some_and(Result::is_ok), "node {first} answers `{poll}` with {}", shown(expected));
        for (id, answer) in answers {
            let (answer, expected) = (shown(answer), shown(expected));
            ensure!(answer == expected, "`{poll}`: node {first} answers {expected}, node {id} {answer}");
        }
    }
    Ok(())
}

fn shown(answer: Option<&Result<String, String>>) -> String {
    match answer {
        None => "nothing".to_owned(),
        Some(Ok(text)) => format!("`{text}`"),
        Some(Err(error)) => format!("an error ({error})"),
    }
}
