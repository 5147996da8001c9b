//! Results that are in the way of others, and Ctrl-C.

use super::{
    swarm::{Swarm, assert_nothing_left_of, noise},
    told::was_killed_by,
};
use rustix::process::Signal;
use std::{fs, io::Write};

const MIB: usize = 1 << 20;

#[test]
fn nothing_that_exists_is_replaced_without_force() {
    let swarm = Swarm::of(3);
    let stored = swarm.put(0, &swarm.file("new", 100_000), &[]);
    let ticket = stored["ticket"].as_str().unwrap();
    let to = swarm.dir.path().join("precious");
    fs::write(&to, "old").unwrap();
    let get = |more: &[&str]| swarm.cli(1, &[&["get", ticket, to.to_str().unwrap()], more].concat());
    get(&[]).fails(6, &["precious exists", "--force"]);
    assert_eq!(fs::read(&to).unwrap(), b"old");
    get(&["--force"]).ok();
    assert!(fs::read(&to).unwrap() == noise("new", 100_000));

    // A result that failed replaces nothing either, with or without force.
    let missing = stored["ticket"].as_str().unwrap().replace("pangea:bafkr4i", "pangea:bafkr4j");
    let _ = swarm.cli(1, &["get", &missing, to.to_str().unwrap(), "--force", "--timeout", "3s"]);
    assert!(fs::read(&to).unwrap() == noise("new", 100_000));
    // A directory in the way stays, whatever is asked: a file goes into it.
    let dir = swarm.dir.path().join("dir");
    fs::create_dir_all(dir.join("new/inside")).unwrap();
    swarm.cli(1, &["get", ticket, dir.to_str().unwrap()]).fails(6, &["new exists"]);
    swarm.cli(1, &["get", ticket, dir.to_str().unwrap(), "--force"]).ok();
    assert!(dir.join("new/inside").is_dir());
    assert!(fs::read(dir.join("new/new")).unwrap() == noise("new", 100_000));
}

#[test]
fn an_interrupted_put_exits_with_130_and_its_holders_forget_it() {
    let swarm = Swarm::of(4);
    let mut put = swarm.begin_fed(0, &["put", "-", "--name", "half", "--json", "--progress"]);
    let mut input = put.input();
    input.write_all(&noise("half", 3 * MIB)).unwrap();
    // Holders have signed for some of it, and wait for more.
    assert!(put.says("progress", 1));
    put.signal(Signal::INT);
    put.end().fails(130, &["cancelled"]);
    drop(input);
    swarm.quiet();
    super::swarm::eventually("nothing of it is left", || swarm.shards() == 0);
    swarm.cli(0, &["info", "half"]).fails(3, &["pangea ls"]);

    // A client that is killed cannot say that it gives up; its node notices.
    let mut put = swarm.begin_fed(0, &["put", "-", "--name", "half", "--json", "--progress"]);
    let mut input = put.input();
    input.write_all(&noise("half", 3 * MIB)).unwrap();
    assert!(put.says("progress", 1));
    put.signal(Signal::KILL);
    assert!(was_killed_by(&put.end(), Signal::KILL));
    swarm.quiet();
    super::swarm::eventually("nothing of it is left", || swarm.shards() == 0);
}

#[test]
fn an_interrupted_get_exits_with_130_and_leaves_no_part() {
    let swarm = Swarm::of(5);
    let stored = swarm.put(0, &swarm.file("big", 3 * MIB), &super::crashes::ALL_HAVE_THE_ROOT);
    let ticket = stored["ticket"].as_str().unwrap();
    let frozen = super::crashes::Frozen::holders(&swarm, &stored, 3);
    let to = swarm.dir.path().join("result");
    let get = swarm.begin(0, &["get", ticket, to.to_str().unwrap()]);
    super::crashes::wait_for_part(&to);
    get.signal(Signal::INT);
    get.end().fails(130, &["cancelled"]);
    assert_nothing_left_of(&to);
    drop(frozen);
}
