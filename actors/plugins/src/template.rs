//! What `pangea actor new` writes: a plugin that works, to be changed. The word NAME stands for its name.

/// A template: its name, and its files.
pub type Template = (&'static str, &'static [(&'static str, &'static str)]);

/// All of them; the first needs nothing but Pangea.
pub const TEMPLATES: [Template; 2] = [
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
];

/// The files of a template for a plugin called `name`.
pub fn files(language: &str, name: &str) -> Option<Vec<(String, String)>> {
    let (_, files) = TEMPLATES.iter().find(|(known, _)| *known == language)?;
    Some(files.iter().map(|(path, text)| (path.replace("NAME", name), text.replace("NAME", name))).collect())
}
