//! The smallest job, in three languages.

use crate::sandbox::Module;
use bytes::Bytes;
use pangea_protocols::{
    receipt_job::Stage,
    task::{Capabilities, Trap},
};

#[test]
fn every_language_counts_the_same_lines() {
    let chunks: Vec<Bytes> = ["", "\n", "a\nb\nc", "no end", "\n\n\n\n\n\n\n\n\n\n\n\n"].map(Bytes::from).to_vec();
    for name in ["lines", "lines-c", "lines-as"] {
        let module = Module::built(name);
        assert_eq!(module.imports, Capabilities::NONE, "{name}");
        let counts = module.execute(&chunks);
        assert_eq!(counts, ["0", "1", "2", "0", "12"], "{name}");
        assert_eq!(module.merge(&counts), "15\n", "{name}");
        assert_eq!(module.merge(&[]), "0\n", "{name}");
        // More than a string's length fits into a byte, and a list's.
        let many: Vec<Bytes> = (0..700).map(|n: u32| Bytes::from(n.to_string())).collect();
        assert_eq!(module.merge(&many), format!("{}\n", 700 * 699 / 2), "{name}");
        assert_eq!(module.execute(&[Bytes::from("\n".repeat(70_000))]), ["70000"], "{name}");
        assert_eq!(module.entry(Stage::Split, (0, 1), b"text").trap(), Trap::Unreachable, "{name} has no split");
        assert_eq!(module.run(b"").trap(), Trap::Unreachable, "{name}");
    }
}
