//! Tickets that cannot work, each told from the others.

use super::swarm::Swarm;
use pangea_protocols::{Cid, Hash, ticket::Ticket};

#[test]
fn every_kind_of_wrong_ticket_has_its_own_exit_code_and_message() {
    let swarm = Swarm::of(3);
    let path = swarm.file("object", 300_000);
    let stored = swarm.put(0, &path, &[]);
    let text = stored["ticket"].as_str().unwrap().to_owned();
    let ticket: Ticket = text.parse().unwrap();
    let read = |text: &str| swarm.cli(1, &["cat", text, "--timeout", "10s"]);
    read(&text).ok();

    // Cut short: in the key, before it, in the CID.
    read(&text[..text.len() - 5]).fails(2, &["cut short"]);
    read(text.split_once("#k=").unwrap().0).fails(2, &["cut short"]);
    read(&text[..20]).fails(2, &["cut short"]);
    // One letter of the key is another.
    let at = text.find("#k=").unwrap() + 10;
    let other = if &text[at..=at] == "A" { "B" } else { "A" };
    read(&format!("{}{other}{}", &text[..at], &text[at + 1..])).fails(2, &["typing error"]);
    // One letter of the CID is missing.
    read(&text.replacen("pangea:b", "pangea:", 1)).fails(2, &["the ticket is damaged"]);
    // Other programs' links, and ours mistyped.
    for foreign in ["https://example.org/x", "ipfs://bafkr4i", &text.replacen("pangea", "pangae", 1)] {
        read(foreign).fails(2, &["tickets start with `pangea:`"]);
    }

    // A well-formed ticket of something that nobody stored: everybody was asked.
    let nothing = Ticket { cid: Cid(Hash::of(b"nothing")), hints: vec![], key: ticket.key.clone() };
    read(&nothing.to_string()).fails(3, &["was not found", "check the ticket"]);
    // The right object with another object's key.
    let mut wrong = ticket;
    wrong.key.0[0] ^= 1;
    read(&wrong.to_string()).fails(5, &["key"]);
    let to = swarm.dir.path().join("never");
    swarm.cli(1, &["get", &wrong.to_string(), to.to_str().unwrap()]).fails(5, &["key"]);
    super::swarm::assert_nothing_left_of(&to);
}
