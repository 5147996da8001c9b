//! The SDKs themselves: the crate's envelope against the coordinator's, and what compilers say of the header.

use crate::sandbox::folder;
use bytes::Bytes;
use pangea_compute::envelope;
use pangea_guest::{Parts, abi, data};
use pangea_protocols::receipt_job::{Place, Stage};
use proptest::prelude::*;
use std::process::Command;

/// A job whose functions tell what they were called with.
fn told(input: &[u8]) -> Vec<u8> {
    fn say(name: &str, chunk: pangea_guest::Chunk<'_>) -> Vec<u8> {
        format!("{name} {} {} {:?}", chunk.index, chunk.total, chunk.bytes).into_bytes()
    }
    abi::job(
        input,
        abi::silent(),
        |chunk, _| say("split", chunk),
        |chunk, _| say("execute", chunk),
        |chunk, _| say("merge", chunk),
    )
}

proptest! {
    #[test]
    fn lists_are_the_same_on_both_sides(items in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 0..40)) {
        let list = data::list(items.iter().map(Vec::as_slice));
        let bytes: Vec<Bytes> = items.iter().cloned().map(Bytes::from).collect();
        prop_assert_eq!(&list, &envelope::list(bytes.iter()));
        let read: Option<Vec<&[u8]>> = Parts::read(&list).map(Iterator::collect);
        prop_assert_eq!(read, Some(items.iter().map(Vec::as_slice).collect()));
        prop_assert_eq!(Parts::read(&list[..list.len() - 1]), None);
    }

    #[test]
    fn any_bytes_are_a_list_or_not(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
        let ours = Parts::read(&bytes).map(|parts| parts.map(Bytes::copy_from_slice).collect::<Vec<_>>());
        prop_assert_eq!(ours, envelope::read_list(&Bytes::from(bytes), usize::MAX));
    }

    #[test]
    fn every_call_reaches_its_function(stage in 0usize..3, index: u32, total: u32, payload in proptest::collection::vec(any::<u8>(), 0..300)) {
        let (stage, name) =
            [(Stage::Split, "split"), (Stage::Execute, "execute"), (Stage::Merge, "merge")][stage];
        let call = envelope::call(Place { stage, index }, total, &payload);
        prop_assert_eq!(told(&call), format!("{name} {index} {total} {payload:?}").into_bytes());
    }
}

/// Compiles C for the sandbox with every warning as an error. `None` if this machine cannot.
fn compile(source: &str) -> Option<String> {
    let targets = Command::new("clang").arg("--print-targets").output().ok()?;
    if !String::from_utf8_lossy(&targets.stdout).contains("wasm32") {
        return None;
    }
    let dir = std::env::temp_dir().join(format!("pangea-guests-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let file = dir.join("task.c");
    std::fs::write(&file, source).unwrap();
    let compiled = Command::new("clang")
        .args(["--target=wasm32", "-std=c11", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror"])
        .args(["-Wno-gnu-zero-variadic-macro-arguments", "-nostdlib", "-mbulk-memory", "-c", "-o"])
        .arg(dir.join("task.o"))
        .arg("-I")
        .arg(folder().join("c"))
        .arg(file)
        .output()
        .unwrap();
    std::fs::remove_dir_all(dir).unwrap();
    Some(String::from_utf8_lossy(&compiled.stderr).into_owned())
}

#[test]
fn the_header_of_c_compiles_without_a_warning() {
    let sources = [
        "#include <pangea.h>\nstatic pangea_bytes same(pangea_bytes input) { return input; }\nPANGEA_TASK(same)\n",
        "#define PANGEA_LOG\n#include <pangea.h>\nstatic pangea_bytes same(pangea_chunk chunk) { return chunk.bytes; }\n\
         PANGEA_JOB(PANGEA_NONE, same, PANGEA_NONE)\n",
    ];
    for source in sources {
        match compile(source) {
            Some(said) => assert_eq!(said, "", "{source}"),
            None => return println!("skipped: there is no clang for wasm32"),
        }
    }
}
