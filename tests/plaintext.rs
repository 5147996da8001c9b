//! What nobody but the owner may see, in a real cluster: neither the content of an object, nor its name, nor its read
//! key is in any byte that a node writes, except in the owner's own catalog.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods)]

use data_encoding::{BASE64, BASE64URL_NOPAD, HEXLOWER};
use pangea::demo::cluster::Cluster;
use pangea_protocols::ticket::Ticket;
use std::{
    fs,
    io::Write,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Output, Stdio},
};

const CONTENT: &str = "plaintext-marker-8c1f-of-the-content";
const NAME: &str = "name-marker-77ab.txt";
const INNER_NAME: &str = "inner-name-marker-90de.txt";

/// Everything a node keeps beside the owner's catalog.
const CATALOG: &str = "node-0/node.redb";

/// Bytes that do not compress, with the marker in every 4 KiB: a frame that was only compressed would show it.
fn content(bytes: usize) -> Vec<u8> {
    let mut content = vec![0; bytes];
    blake3::Hasher::new().finalize_xof().fill(&mut content);
    for block in content.chunks_mut(4096) {
        let len = block.len().min(CONTENT.len());
        block[..len].copy_from_slice(&CONTENT.as_bytes()[..len]);
    }
    content
}

/// All regular files below `dir`.
fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let kind = path.symlink_metadata().unwrap().file_type();
        if kind.is_dir() {
            found.extend(files(&path));
        } else if kind.is_file() {
            found.push(path);
        }
    }
    found
}

fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    memchr::memmem::find(bytes, wanted).is_some()
}

/// The ways in which a key, content or a name may show, each with what to call it.
fn secrets(tickets: &[Ticket]) -> Vec<(&'static str, Vec<u8>)> {
    let mut secrets: Vec<(&str, Vec<u8>)> = [("content", CONTENT), ("name", NAME), ("name in a directory", INNER_NAME)]
        .map(|(what, text)| (what, text.as_bytes().to_vec()))
        .into();
    for ticket in tickets {
        let key = ticket.key.0;
        // Of base64, what does not depend on the bytes that follow the key.
        let forms = [BASE64URL_NOPAD.encode(&key)[..42].to_owned(), BASE64.encode(&key)[..42].to_owned()];
        secrets.extend(forms.map(|form| ("key, base64", form.into_bytes())));
        secrets.push(("key, hexadecimal", HEXLOWER.encode(&key).into_bytes()));
        secrets.push(("key, as a list", format!("{key:?}").into_bytes()));
        secrets.push(("key", key.to_vec()));
    }
    secrets
}

fn text(output: Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Stores a file or directory at node 0.
fn put(cluster: &Cluster, path: &Path) -> Ticket {
    let path = path.to_str().unwrap();
    let put = text(cluster.run(0, &["put", path, "--data", "2", "--parity", "1", "--quiet"]).unwrap());
    put.lines().find(|line| line.starts_with("pangea:")).expect("a ticket").parse().unwrap()
}

/// Reads it at node 1, which gets the ticket where no other user of the machine can see it.
fn cat(cluster: &Cluster, ticket: &Ticket) -> Vec<u8> {
    let mut cat = cluster.command_at(1, &["cat", "-"]);
    let mut cat = cat.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    writeln!(cat.stdin.take().unwrap(), "{ticket}").unwrap();
    let output = cat.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

fn wait_for_each_other(cluster: &Cluster, others: &str) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while !text(cluster.run(0, &["status", "--json"]).unwrap()).contains(others) {
        assert!(std::time::Instant::now() < deadline, "the nodes did not find each other");
    }
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn only_the_owners_catalog_knows_content_name_and_key() {
    let dir = tempfile::tempdir().unwrap();
    let mut cluster = Cluster::new(Path::new(env!("CARGO_BIN_EXE_pangea")), dir.path());
    cluster.set("PANGEA_LOG_LEVEL", "debug,pangea=trace");
    cluster.start(5).unwrap();
    wait_for_each_other(&cluster, "\"peers_connected\":4");

    // One with stripes, one so small that it is in the manifest, and a directory.
    let source = tempfile::tempdir().unwrap();
    let (big, small, tree) = (
        source.path().join(NAME),
        source.path().join(format!("small-{NAME}")),
        source.path().join(format!("d-{NAME}")),
    );
    fs::write(&big, content(3 << 20)).unwrap();
    fs::write(&small, content(600)).unwrap();
    fs::create_dir(&tree).unwrap();
    fs::write(tree.join(INNER_NAME), content(5000)).unwrap();
    let tickets = [&big, &small, &tree].map(|path| put(&cluster, path));
    assert!(cat(&cluster, &tickets[0]) == content(3 << 20));
    assert!(cat(&cluster, &tickets[1]) == content(600));

    let secrets = secrets(&tickets);
    let mut segments = 0;
    for file in files(dir.path()) {
        let bytes = fs::read(&file).unwrap();
        if file.ends_with(CATALOG) {
            // What is searched for can be found.
            for wanted in [&tickets[0].key.0[..], NAME.as_bytes()] {
                assert!(contains(&bytes, wanted));
            }
            continue;
        }
        segments += usize::from(file.extension().is_some_and(|end| end == "seg") && bytes.len() > 1000);
        for (what, wanted) in &secrets {
            assert!(!contains(&bytes, wanted), "{what} in {}", file.display());
        }
    }
    assert!(segments >= 3, "shards were stored somewhere");

    for member in cluster.members() {
        assert_eq!(mode(&member.home), 0o700);
        for private in ["identity.key", "node.redb", "config.toml", "lock", "control.sock"] {
            assert_eq!(mode(&member.home.join(private)), 0o600, "{private}");
        }
    }
}
