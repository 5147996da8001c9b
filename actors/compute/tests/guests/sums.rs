//! `guests/built/SUMS` names every module that is there, with its size and hash.

use crate::sandbox::folder;
use pangea_protocols::Hash;

#[test]
fn every_module_is_named_with_its_size_and_hash() {
    let built = folder().join("built");
    let sums = std::fs::read_to_string(built.join("SUMS")).unwrap();
    let mut named = Vec::new();
    for line in sums.lines().filter(|line| !line.starts_with('#')) {
        let fields: Vec<&str> = line.split('\t').collect();
        let [hash, bytes, file, tools] = fields[..] else { panic!("`{line}`: hash, bytes, module, tools") };
        let module = std::fs::read(built.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        assert_eq!((hash, bytes), (&*Hash::of(&module).to_string(), &*module.len().to_string()), "{file}");
        assert!(!tools.is_empty(), "{file}");
        named.push(file.to_owned());
    }
    let mut found: Vec<String> = std::fs::read_dir(&built)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name != "SUMS")
        .collect();
    found.sort();
    named.sort();
    assert_eq!(named, found);
}

#[test]
fn no_module_holds_a_path_of_the_machine_that_built_it() {
    let built = folder().join("built");
    for entry in std::fs::read_dir(built).unwrap() {
        let path = entry.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        for word in ["/home/", "/root/", "/work/", "/Users/", "/tmp/"] {
            let found = bytes.windows(word.len()).any(|window| window == word.as_bytes());
            assert!(!found, "{}: `{word}`", path.display());
        }
    }
}
