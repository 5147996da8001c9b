//! What `pangea actor new` writes: a plugin that works, to be changed. The word NAME stands for its name.

/// A template: its name, and its files.
pub type Template = (&'static str, &'static [(&'static str, &'static str)]);

/// All of them; the first needs nothing but Pangea.
pub const TEMPLATES: [Template; 3] = [
    (
        "wat",
        &[
            ("NAME.toml", include_str!("../templates/wat/plugin.toml")),
            ("NAME.wat", include_str!("../templates/wat/plugin.wat")),
        ],
    ),
    (
        "c",
        &[
            ("NAME.toml", include_str!("../templates/c/plugin.toml")),
            ("NAME.c", include_str!("../templates/c/plugin.c")),
            ("pangea.h", include_str!("../templates/c/pangea.h")),
        ],
    ),
    (
        "rust",
        // With the crate that it is written with: an installed program knows no other place of it.
        &[
            ("NAME.toml", include_str!("../templates/rust/plugin.toml")),
            ("NAME.rs", include_str!("../templates/rust/plugin.rs")),
            ("Cargo.toml", include_str!("../templates/rust/Cargo.toml")),
            ("pangea-guest/Cargo.toml", include_str!("../templates/rust/guest.toml")),
            ("pangea-guest/README.md", include_str!("../../../guests/rust/pangea-guest/README.md")),
            ("pangea-guest/src/abi.rs", include_str!("../../../guests/rust/pangea-guest/src/abi.rs")),
            ("pangea-guest/src/data.rs", include_str!("../../../guests/rust/pangea-guest/src/data.rs")),
            ("pangea-guest/src/heap.rs", include_str!("../../../guests/rust/pangea-guest/src/heap.rs")),
            ("pangea-guest/src/host.rs", include_str!("../../../guests/rust/pangea-guest/src/host.rs")),
            ("pangea-guest/src/lib.rs", include_str!("../../../guests/rust/pangea-guest/src/lib.rs")),
            ("pangea-guest/src/native.rs", include_str!("../../../guests/rust/pangea-guest/src/native.rs")),
            ("pangea-guest/src/plugin.rs", include_str!("../../../guests/rust/pangea-guest/src/plugin.rs")),
            ("pangea-guest/src/runtime.rs", include_str!("../../../guests/rust/pangea-guest/src/runtime.rs")),
            ("pangea-guest/macros/Cargo.toml", include_str!("../templates/rust/macros.toml")),
            ("pangea-guest/macros/src/lib.rs", include_str!("../../../guests/rust/pangea-guest-macros/src/lib.rs")),
        ],
    ),
];

/// The files of a template for a plugin called `name`.
pub fn files(language: &str, name: &str) -> Option<Vec<(String, String)>> {
    let (_, files) = TEMPLATES.iter().find(|(known, _)| *known == language)?;
    Some(files.iter().map(|(path, text)| (path.replace("NAME", name), text.replace("NAME", name))).collect())
}
