//! Receipts of jobs in the hands of somebody else: results that are run again, inputs that are others, owners that lie. And
//! what the signatures add up to: the meters of those who asked and those who computed.

use super::{
    jobs::{echo, lines, name, write},
    swarm::{Swarm, eventually},
};
use pangea::{drivers::jobs::RECEIPT_MAGIC, home::Home, identity::Identity};
use pangea_protocols::{
    codec::{self, Limit},
    receipt_job::{Batch, JobReceipt, Stage},
};
use serde_json::Value;
use std::{collections::BTreeMap, fs};

/// Splits everything into "a", "bb" and "ccc"; whatever else it is called for, it returns its input.
fn splits() -> String {
    let piece = |text: &str| format!("\\{:02x}{text}", 0x40 + text.len());
    let list = format!("\\83{}{}{}", piece("a"), piece("bb"), piece("ccc"));
    // After the head of an array of four, and that of a text: `s` begins "split" only.
    let split = "(if (i32.eq (i32.load8_u offset=2 (local.get $ptr)) (i32.const 115))
        (then (return (i64.or (i64.shl (i64.const 16) (i64.const 32)) (i64.const 10)))))";
    echo(1)
        .replace("(func (export \"alloc\")", &format!("(data (i32.const 16) \"{list}\") (func (export \"alloc\")"))
        .replace("(local $left i64)", &format!("(local $left i64) {split}"))
}

#[test]
fn a_third_party_runs_results_again_and_finds_other_inputs_and_forged_claims() {
    let swarm = Swarm::of(3);
    let dir = swarm.dir.path();
    let input = lines(4000);
    write(dir, "echo.wat", echo(1));
    write(dir, "book.txt", &input);
    let run = ["job", "run", "echo.wat", "book.txt", "--map", "lines:16KiB", "--merge", "--output", "out", "--json"];
    let job = name(&swarm.cli(0, &run).ok().json());
    swarm.cli(0, &["job", "receipt", &job, "--output", "receipt"]).ok();
    let verify = |receipt: &str, input: &str, map: &str, more: &[&str]| {
        let words = ["job", "verify", receipt, "--module", "echo.wat", "--input", input, "--map", map];
        swarm.cli(2, &[&words[..], more].concat())
    };
    let rerun = |more: &[&str]| verify("receipt", "book.txt", "lines:16KiB", more).ok().json()["rerun"].clone();
    let all = rerun(&["--json"]);
    assert_eq!((&all["chunks"], &all["of"], &all["merge"]), (&7.into(), &7.into(), &true.into()));
    let some = rerun(&["--json", "--sample", "3", "--seed", "5"]);
    assert_eq!((&some["chunks"], &some["merge"], &some["wrong"]), (&3.into(), &false.into(), &serde_json::json!([])));
    assert_eq!(some, rerun(&["--json", "--sample", "3", "--seed", "5"]));
    let told = verify("receipt", "book.txt", "lines:16KiB", &["--sample", "3"]).ok();
    assert!(told.text().contains("3 of 7 chunks were run again here: all as signed for"), "{}", told.text());
    let told = verify("receipt", "book.txt", "lines:16KiB", &["--all"]).ok();
    assert!(told.text().contains("7 of 7 chunks were run again here and the merge"), "{}", told.text());

    // Not what the job ran on, or not as it was cut.
    verify("receipt", "book.txt", "lines:8KiB", &[])
        .fails(5, &["the input or its cut differs", "chunks here", "--map"]);
    verify("receipt", "book.txt", "bytes:16KiB", &[]).fails(5, &["the input or its cut differs", "chunk 0"]);
    verify("receipt", "book.txt", "module", &[]).fails(2, &["has not cut"]);
    write(dir, "other.txt", input.replacen("line 3999", "line 3998", 1));
    verify("receipt", "other.txt", "lines:16KiB", &["--all"]).fails(5, &["the input or its cut differs", "chunk 6"]);
    swarm.cli(2, &["job", "verify", "receipt", "--input", "book.txt"]).fails(2, &["--module"]);

    // Whoever has the key of the owner can sign for anything: only running it again shows that.
    let bytes = fs::read(dir.join("receipt")).unwrap();
    let read = || codec::decode::<JobReceipt>(&bytes[RECEIPT_MAGIC.len()..], Limit::Local).unwrap();
    let identity = Identity::load(&Home::resolve(Some(swarm.home(0).to_owned())).unwrap()).unwrap();
    let forge = |path: &str, stage: Stage, change: fn(&mut pangea_protocols::task::Receipt)| {
        let mut receipt = read();
        let claim = receipt.results.iter_mut().rfind(|claim| claim.place.stage == stage).unwrap();
        change(&mut claim.receipt);
        receipt.batches.push(Batch::sign(identity.signing_key(), receipt.terms.name(), vec![*claim]));
        let bytes = codec::encode(&receipt.signed(identity.signing_key()), Limit::Local).unwrap();
        write(dir, path, [RECEIPT_MAGIC, &bytes].concat());
        swarm.cli(2, &["job", "verify", path]).ok();
    };
    let owner = swarm.peer(0);
    forge("gas", Stage::Execute, |claim| claim.gas += 1);
    let told = verify("gas", "book.txt", "lines:16KiB", &["--all"]);
    told.fails(5, &["1 wrong result", "chunk 6", &owner, "owner of the job", "gas; here it was"]);
    let told = verify("gas", "book.txt", "lines:16KiB", &["--all", "--json"]);
    assert_eq!((told.code(), &told.json()["rerun"]["wrong"][0]["index"]), (Some(5), &6.into()));
    forge("output", Stage::Merge, |claim| claim.output = Ok(pangea_protocols::Hash::of(b"more")));
    verify("output", "book.txt", "lines:16KiB", &["--all"]).fails(5, &["the merge", &owner, "the output"]);
    verify("output", "book.txt", "lines:16KiB", &["--sample", "6"]).ok();
    forge("input", Stage::Merge, |claim| claim.input = pangea_protocols::Hash::of(b"more"));
    verify("input", "book.txt", "lines:16KiB", &["--all"]).fails(5, &["the merge", &owner, "another input"]);
}

#[test]
fn the_meters_of_those_who_asked_and_those_who_computed_agree_and_outlive_a_restart() {
    let mut swarm = Swarm::of(4);
    let dir = swarm.dir.path();
    write(dir, "echo.wat", echo(100_000));
    write(dir, "book.txt", lines(4000));
    let run = ["job", "run", "echo.wat", "book.txt", "--map", "lines:2KiB", "--output", "out", "--json"];
    let progress = swarm.cli(0, &run).ok().json()["progress"].clone();
    // Who signs for a task that somebody else was faster with is not credited for it. Without a merge, which two run at
    // once, those are the tasks that were given to somebody again.
    let exact = progress["speculated"] == 0 && progress["retried"] == 0;
    let owner = swarm.peer(0);
    let meter = |swarm: &Swarm, number: usize| swarm.cli(number, &["job", "meter", "--json"]).ok().json_lines();
    let by = |swarm: &Swarm| -> BTreeMap<String, Value> {
        let row = |row: Value| (row["peer"].as_str().unwrap().to_owned(), row["by"].clone());
        meter(swarm, 0).into_iter().map(row).collect()
    };
    let found = by(&swarm);
    assert!(found.values().any(|work| work["tasks"].as_u64().unwrap() > 0), "{found:?}");
    for number in 1..4 {
        let of_owner = |swarm: &Swarm| meter(swarm, number).into_iter().find(|row| row["peer"] == *owner);
        match found.get(&swarm.peer(number)) {
            Some(work) => eventually("both meters agree", || {
                let row = of_owner(&swarm).map(|row| row["for"].clone());
                row.is_some_and(|own| if exact { own == *work } else { own["gas"].as_u64() >= work["gas"].as_u64() })
            }),
            None => assert!(!exact || of_owner(&swarm).is_none()),
        }
    }
    let one = found.iter().find(|(_, work)| work["tasks"] != 0).unwrap().0;
    let told = swarm.cli(0, &["job", "meter", &one[one.len() - 6..]]).ok();
    assert!(told.text().contains("by it") && told.text().lines().count() == 2, "{}", told.text());
    swarm.cli(0, &["job", "meter", "nobody"]).fails(3, &["nobody"]);
    swarm.cli(0, &["stop"]).ok();
    swarm.cluster.restart(0).unwrap();
    assert_eq!(by(&swarm), found);
}

#[test]
fn what_a_module_has_split_is_split_again() {
    let swarm = Swarm::of(1);
    let dir = swarm.dir.path();
    write(dir, "splits.wat", splits());
    write(dir, "book.txt", lines(10));
    write(dir, "other.txt", lines(11));
    let run = ["job", "run", "splits.wat", "book.txt", "--map", "module", "--json", "--output", "out"];
    let job = name(&swarm.cli(0, &run).ok().json());
    swarm.cli(0, &["job", "receipt", &job, "--output", "receipt"]).ok();
    let verify = |more: &[&str]| {
        swarm.cli(0, &[&["job", "verify", "receipt", "--module", "splits.wat", "--json", "--input"], more].concat())
    };
    let rerun = verify(&["book.txt"]).ok().json()["rerun"].clone();
    assert_eq!((&rerun["split"], &rerun["of"], &rerun["merge"]), (&true.into(), &3.into(), &false.into()));
    verify(&["other.txt"]).fails(5, &["the input or its cut differs", "split"]);
    verify(&["book.txt", "--map", "whole"]).fails(2, &["--map module"]);
}
