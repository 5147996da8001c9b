//! Twenty nodes with plugins, on a network where everything goes wrong that can: lines, machines, disks, calendars.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use pangea_plugins::{api::Package, template};
use pangea_simulations::lab::site::{self, Setup};

/// The template of `pangea actor new`, as it is tried by `pangea actor test`.
#[test]
fn the_template_agrees_on_the_greatest_word_whatever_goes_wrong() {
    let dir = std::env::temp_dir().join(format!("pangea-plugins-lab-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    for (path, text) in template::files("wat", "word").unwrap() {
        std::fs::write(dir.join(path), text).unwrap();
    }
    let setup = site::read(&dir.join("word.toml")).unwrap();
    std::fs::remove_dir_all(&dir).unwrap();
    let Setup { package: Package { module, .. }, nodes, .. } = &setup;
    assert_eq!((&module[..4], *nodes), (&b"\0asm"[..], 20));
    site::lab(setup).seeds(0..30).check();
}
