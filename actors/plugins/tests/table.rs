//! The actor with a real sandbox, without a network: installing, asking, saving, replacing, and every way to misbehave.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod world;

use pangea_plugins::{
    api::{Refusal, Reply, State},
    template,
};
use pangea_protocols::PeerId;
use std::time::Duration;
use world::{Guest, World, cbor, text};

fn word() -> (String, Vec<u8>) {
    let files = template::files("wat", "word").unwrap();
    (files[0].1.clone(), wat::parse_str(&files[1].1).unwrap())
}

#[test]
fn the_template_keeps_the_greatest_word_and_tells_it() {
    let mut world = World::new();
    let (manifest, module) = word();
    let Reply::Installed { view, replaced: None } = world.install(&manifest, &module) else { panic!("{world:?}") };
    assert_eq!((view.state, view.capabilities), (State::Running, vec!["send".to_owned(), "protocol".to_owned()]));
    world.connect(1);
    world.connect(2);
    assert_eq!(world.ask("word", "show"), Ok(".".to_owned()));
    world.sent.clear();
    assert_eq!(world.ask("word", "say fig"), Ok("fig".to_owned()));
    assert_eq!(world.sent, [(1, "fig".to_owned()), (2, "fig".to_owned())]);
    assert_eq!(world.ask("word", "say apple"), Ok("fig".to_owned()));
    world.hear("word", 1, "figs");
    world.hear("word", 1, "fi");
    world.hear("word", 1, "");
    world.hear("word", 1, &"z".repeat(300));
    assert_eq!(world.ask("word", "show"), Ok("figs".to_owned()));
    let refused = world.ask("word", "sing").unwrap_err();
    assert_eq!(refused, "`word` is not asked that; it answers say, show");
    world.restart();
    assert_eq!(world.ask("word", "show"), Ok("figs".to_owned()), "a snapshot outlives the node");
    assert_eq!(world.ask("nobody", "x").unwrap_err(), "there is no plugin `nobody`: there are word");
}

#[test]
fn what_is_not_granted_is_refused_and_the_line_that_grants_it_is_named() {
    let log = Guest::new().import("log", "(func $log (param i32 i32 i32))");
    let error = World::new().refused(&log.manifest("capabilities = ['send']"), &log);
    assert!(error.ends_with("to grant it, write: capabilities = [\"send\", \"log\"]"), "{error}");
    for (action, line) in [
        (cbor().array(3).text("send").bytes(&[1; 32]).bytes(b"x").finish(), "protocol = true"),
        (cbor().array(2).text("tell").bytes(b"x").finish(), "protocol = true"),
        (cbor().array(2).text("snapshot").bytes(b"x").finish(), "[snapshot] with schema = 1 and bytes = …"),
        (cbor().array(4).text("store").uint(1).text("n").bytes(b"x").finish(), "\"store\" in capabilities"),
        (cbor().array(3).text("fetch").uint(1).text("t").finish(), "\"store\" in capabilities"),
        (cbor().array(3).text("remove").uint(1).text("t").finish(), "\"store\" in capabilities"),
        (cbor().array(2).text("list").uint(1).finish(), "\"folder\" in capabilities, and folder = \"PATH\""),
    ] {
        let guest = Guest::new().does("started", &[&action]);
        let error = World::new().refused(&guest.manifest("capabilities = ['send']"), &guest);
        assert_eq!(
            error,
            format!("it did not start: it did what its manifest does not grant; to grant it, write: {line}")
        );
    }
}

#[test]
fn a_plugin_that_fails_is_started_anew_and_after_six_failures_disabled() {
    let mut world = World::new();
    let guest = Guest::new().traps("ask");
    world.install(&guest.manifest(""), &guest.wasm());
    for failure in 1..=5 {
        let error = world.ask("guest", "x").unwrap_err();
        assert_eq!(error, "`guest` failed: it gave up (unreachable)");
        assert_eq!((world.view("guest").state, world.view("guest").restarts), (State::Pausing, failure));
        world.run(Duration::from_secs(10));
        assert_eq!(world.view("guest").state, State::Running);
    }
    world.ask("guest", "x").unwrap_err();
    let disabled = "`guest` is disabled: it gave up (unreachable); install it again to start it again";
    assert_eq!(world.ask("guest", "x").unwrap_err(), disabled);
    assert_eq!(world.view("guest").state, State::Disabled("it gave up (unreachable)".to_owned()));
    let whole = Guest::new();
    let Reply::Installed { replaced: Some(_), .. } = world.install(&whole.manifest(""), &whole.wasm()) else {
        panic!()
    };
    assert_eq!(world.view("guest").state, State::Running);
    assert_eq!(world.instances(), 1);
}

#[test]
fn a_runaway_and_one_that_uses_too_much_are_stopped() {
    let mut world = World::new();
    let endless = Guest::new().body("ask", "(loop (br 0))");
    world.install(&endless.manifest("[limits]\ngas = 12000000"), &endless.wasm());
    assert_eq!(world.ask("guest", "x").unwrap_err(), "`guest` failed: it used up its gas");
    let snapshot = cbor().array(2).text("snapshot").bytes(&[0; 101]).finish();
    for (guest, more, reason) in [
        (Guest::new().does("ask", &[&snapshot]), "[snapshot]\nbytes = 100", "a snapshot of 101 bytes; 100 is the most"),
        (Guest::new().does("ask", &[b"what"]), "", "it sent what is no action (see docs/plugins.md)"),
        (Guest::new().body("ask", &"(call $timers)".repeat(65)), "", "it has set more than 64 timers"),
        (
            Guest::new().body("ask", "(if (i32.eq (memory.grow (i32.const 9)) (i32.const -1)) (then unreachable))"),
            "[limits]\nmemory_bytes = 131072",
            "it needs more memory than its limit",
        ),
        (
            Guest::new().body("ask", "(loop (call $send (i32.const 0) (i32.const 60000)) (br 0))"),
            "",
            "it produced more output than its limit",
        ),
    ] {
        let mut world = World::new();
        let manifest = guest.manifest(&format!("capabilities = ['send']\n{more}"));
        assert!(matches!(world.install(&manifest, &guest.wasm()), Reply::Installed { .. }), "{reason}");
        assert_eq!(world.ask("guest", "x").unwrap_err(), format!("`guest` failed: {reason}"));
        assert!(world.sent.is_empty() && world.kept().is_none_or(|kept| kept.snapshot.is_none()), "{reason}");
        world.run(Duration::from_secs(1));
        assert_eq!((world.view("guest").state, world.instances()), (State::Running, 1), "{reason}");
    }
}

#[test]
fn a_new_version_takes_over_what_the_old_one_kept() {
    let mut world = World::new();
    let (manifest, module) = word();
    world.install(&manifest, &module);
    world.ask("word", "say fig").unwrap();
    let newer = manifest.replace("0.1.0", "0.2.0").replace("schema = 1", "schema = 2\nreads = [1]");
    let Reply::Installed { view, replaced } = world.install(&newer, &module) else { panic!() };
    assert_eq!((view.version.as_str(), replaced.as_deref()), ("0.2.0", Some("0.1.0")));
    assert_eq!(world.ask("word", "show"), Ok("fig".to_owned()));
    assert_eq!((world.instances(), world.view("word").restarts), (1, 0));
    let strange = manifest.replace("0.1.0", "0.3.0").replace("schema = 1", "schema = 3");
    let Reply::Refused(refusal) = world.install(&strange, &module) else { panic!() };
    assert!(matches!(refusal, Refusal::Schema { found: 2, .. }), "{refusal}");
    assert_eq!(world.ask("word", "show"), Ok("fig".to_owned()));
}

#[test]
fn a_new_version_that_does_not_start_is_rolled_back() {
    let mut world = World::new();
    let (manifest, module) = word();
    world.install(&manifest, &module);
    world.connect(1);
    world.ask("word", "say fig").unwrap();
    let bad = Guest::new().traps("started").wasm();
    let newer = manifest.replace("0.1.0", "0.2.0");
    let Reply::Refused(refusal) = world.install(&newer, &bad) else { panic!() };
    assert_eq!(refusal.to_string(), "version 0.2.0 did not start: it gave up (unreachable); 0.1.0 goes on");
    world.sent.clear();
    world.connect(2);
    assert_eq!(world.sent, [(1, "fig".to_owned()), (2, "fig".to_owned())], "the old one goes on where it was");
    assert_eq!((world.ask("word", "show"), world.instances()), (Ok("fig".to_owned()), 1));
    let Reply::Refused(refusal) = world.install(&newer, b"\0asm") else { panic!() };
    assert!(refusal.to_string().contains("invalid module"), "{refusal}");
    world.restart();
    assert_eq!(world.view("word").version, "0.1.0", "what did not start was not kept");
    // The disk fails as the new one is to be kept.
    world.disk_fails = true;
    let Reply::Refused(refusal) = world.install(&newer, &module) else { panic!() };
    assert!(refusal.to_string().contains("could not be saved: full; 0.1.0 goes on"), "{refusal}");
}

#[test]
fn an_answer_waits_until_the_disk_has_what_it_promises() {
    let mut world = World::new();
    let (manifest, module) = word();
    world.install(&manifest, &module);
    world.connect(1);
    world.ask("word", "say apple").unwrap();
    world.sent.clear();
    world.disk_fails = true;
    let error = world.ask("word", "say fig").unwrap_err();
    assert_eq!(error, "`word` failed: it could not be saved: full");
    assert!(world.sent.is_empty(), "nobody has heard of it");
    world.disk_fails = false;
    world.run(Duration::from_secs(1));
    assert_eq!(world.ask("word", "show"), Ok("apple".to_owned()));
}

#[test]
fn a_flood_of_a_peer_is_dropped_and_counted_and_users_get_through() {
    let mut world = World::new();
    let (manifest, module) = word();
    world.install(&manifest.replace("protocol = true", "protocol = true\nmailbox = 16"), &module);
    world.hold = true;
    for number in 0..1000 {
        world.hear("word", 1, &number.to_string());
    }
    let view = world.view("word");
    assert_eq!((view.waiting, view.dropped), (4, 995), "one is being handled");
    world.hear("elsewhere", 1, "x");
    assert_eq!(world.actor().unknown(), 1);
    world.hold = false;
    assert_eq!(world.ask("word", "show"), Ok("4".to_owned()));
}

#[test]
fn a_greedy_plugin_rests_until_it_has_earned_its_gas() {
    let mut world = World::new();
    let spin =
        "(local.set $i (i32.const 200000)) (loop (br_if 0 (local.tee $i (i32.sub (local.get $i) (i32.const 1)))))";
    let guest = Guest::new().body("timer", &format!("{spin} (call $timers)")).body("started", "(call $timers)");
    world.install(&guest.manifest("capabilities = ['send']\n[limits]\ngas_per_s = 1000000"), &guest.wasm());
    world.run(Duration::from_secs(30));
    let gas = world.view("guest").gas;
    assert!((25_000_000..=33_000_000).contains(&gas), "{gas} gas in 30 s at 1,000,000 a second");
}

#[test]
fn guests_see_the_time_chance_and_answers_that_the_node_gives() {
    let mut world = World::new();
    let store = cbor().array(4).text("store").uint(7).text("n").bytes(b"object").finish();
    let fetch = cbor().array(3).text("fetch").uint(8).text("ticket").finish();
    let guest = Guest::new()
        .import("chunk_read", "(func $chunk_read (param i32 i64 i32 i32) (result i32))")
        .does("ask", &[&store, &fetch])
        .body("fetched", "(drop (call $chunk_read (i32.const 0) (i64.const 1) (i32.const 900) (i32.const 3)))")
        .answers("ask", 900, 3);
    world.install(&guest.manifest("capabilities = ['send', 'store', 'chunk_read']"), &guest.wasm());
    assert_eq!(world.ask("guest", "x"), Ok("\0\0\0".to_owned()));
    assert_eq!(world.wanted, ["store n object", "fetch ticket"]);
    world.answer_wanted();
    assert_eq!(world.ask("guest", "x"), Ok("bje".to_owned()), "a fetched object is chunk 0");
}

#[test]
fn who_is_not_answered_hears_so() {
    let mut world = World::new();
    let guest = Guest::new();
    world.install(&guest.manifest(""), &guest.wasm());
    let request = world.ask_only("guest", "x");
    world.run(Duration::from_secs(29));
    assert_eq!(world.reply(request), None);
    world.run(Duration::from_secs(1));
    assert_eq!(text(world.reply(request)).unwrap_err(), "`guest` has not answered within 30 seconds");
    let request = world.ask_only("guest", "x");
    world.remove("guest");
    assert_eq!(text(world.reply(request)).unwrap_err(), "`guest` ended before it answered");
    assert_eq!((world.instances(), world.kept().is_none()), (0, true));
}

#[test]
fn a_node_that_stops_has_its_plugins_save_first() {
    let mut world = World::new();
    let snapshot = cbor().array(2).text("snapshot").bytes(b"last words").finish();
    let guest = Guest::new().does("drain", &[&snapshot]);
    world.install(&guest.manifest("capabilities = ['send']\n[snapshot]\nbytes = 100"), &guest.wasm());
    assert_eq!(world.drain(), Some(Reply::Drained));
    assert_eq!(&world.kept().unwrap().snapshot.as_ref().unwrap().bytes[..], b"last words");
    assert_eq!(World::new().drain(), Some(Reply::Drained));
}

#[test]
fn every_peer_is_known_when_a_plugin_starts() {
    let mut world = World::new();
    (0..5).for_each(|peer| world.connect(peer));
    let (manifest, module) = word();
    world.install(&manifest, &module);
    assert_eq!(world.sent.len(), 5, "the template tells everyone when it starts");
    assert_eq!(world.actor().peers().collect::<Vec<_>>(), (0..5).map(|n| PeerId([n; 32])).collect::<Vec<_>>());
}

#[test]
fn a_plugin_that_was_written_for_extism_answers_by_the_names_of_its_functions() {
    let module = include_bytes!("../../sandbox/guests/extism/count.wasm");
    let module = pangea_sandbox::extism::adapt(module).unwrap();
    let mut world = World::new();
    let guest = Guest::new();
    let more = "capabilities = []\n[commands]\ncount_vowels = 'TEXT'\n[config]\nthing = 7";
    world.install(&guest.manifest(more), &module);
    let expected = "{\"count\": 2, \"config\": \"7\", \"a\": \"this is var a\"}";
    assert_eq!(world.ask("guest", "count_vowels a word"), Ok(expected.to_owned()));
    assert_eq!(world.ask("guest", "other").unwrap_err(), "`guest` is not asked that; it answers count_vowels");
}

/// Three plugins of the template, each of which has said and saved its name.
fn three() -> World {
    let mut world = World::new();
    for name in ["a", "b", "c"] {
        let files = template::files("wat", name).unwrap();
        world.install(&files[0].1, &wat::parse_str(&files[1].1).unwrap());
        world.ask(name, &format!("say {name}")).unwrap();
    }
    world
}

#[test]
fn when_the_place_of_guests_is_gone_all_are_restored_and_only_who_was_being_called_is_blamed() {
    let mut world = three();
    world.hold = true;
    let (blamed, waited) = (world.ask_only("a", "show"), world.ask_only("b", "show"));
    world.lose_guests(1);
    assert_eq!(text(world.reply(blamed)).unwrap_err(), "`a` failed: this node failed: killed");
    assert_eq!(text(world.reply(waited)).unwrap_err(), "`b` failed: killed");
    world.let_go();
    world.run(Duration::from_secs(1));
    for name in ["a", "b", "c"] {
        assert_eq!(world.ask(name, "show"), Ok(name.to_owned()), "restored from its snapshot");
        let view = world.view(name);
        assert_eq!((view.state, view.restarts), (State::Running, 1), "{name}");
        assert_eq!(view.last_failure.as_deref(), (name == "a").then_some("this node failed: killed"), "{name}");
    }
    assert_eq!(world.instances(), 3);
}

#[test]
fn who_is_never_to_blame_is_never_disabled_and_who_always_is_soon_is() {
    let mut world = three();
    for _ in 0..6 {
        world.hold = true;
        world.ask_only("a", "show");
        world.lose_guests(1);
        world.let_go();
        world.run(Duration::from_secs(10));
    }
    assert_eq!(world.view("a").state, State::Disabled("this node failed: killed".to_owned()));
    for name in ["b", "c"] {
        assert_eq!((world.ask(name, "show"), world.view(name).restarts), (Ok(name.to_owned()), 6));
    }
}

#[test]
fn an_upgrade_outlives_the_place_of_guests_or_is_rolled_back() {
    let (manifest, module) = word();
    let newer = manifest.replace("0.1.0", "0.2.0");
    // Of drain, the module, the first call: at whichever it was gone, and whether that was being done or waited.
    for (steps, at_it) in [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1)] {
        let mut world = World::new();
        world.install(&manifest, &module);
        world.ask("word", "say fig").unwrap();
        world.hold = true;
        let request = world.install_only(&newer, &module);
        for _ in 0..steps {
            world.step();
        }
        world.lose_guests(at_it);
        world.let_go();
        world.run(Duration::from_secs(1));
        let replaced = matches!(world.reply(request), Some(Reply::Installed { .. }));
        let refused = matches!(world.reply(request), Some(Reply::Refused(_)));
        assert!(replaced != refused && (at_it == 1 || replaced), "{steps} {at_it}: {:?}", world.reply(request));
        assert_eq!(world.view("word").version, if replaced { "0.2.0" } else { "0.1.0" }, "{steps} {at_it}");
        assert_eq!((world.ask("word", "show"), world.instances()), (Ok("fig".to_owned()), 1), "{steps} {at_it}");
    }
}

#[test]
fn what_was_being_saved_when_the_place_of_guests_was_gone_is_done() {
    let mut world = World::new();
    let (manifest, module) = word();
    world.install(&manifest, &module);
    world.connect(1);
    world.disk_waits = true;
    let request = world.ask_only("word", "say fig");
    assert!(world.reply(request).is_none());
    world.lose_guests(0);
    assert!(world.reply(request).is_none() && world.sent.iter().all(|(_, word)| word != "fig"));
    world.disk_answers();
    assert_eq!(text(world.reply(request)), Ok("fig".to_owned()));
    assert!(world.sent.contains(&(1, "fig".to_owned())));
    assert_eq!((world.ask("word", "show"), world.view("word").restarts), (Ok("fig".to_owned()), 1));
}
