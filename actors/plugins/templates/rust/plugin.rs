//! The greatest word that anyone has said: every node keeps it, and tells the others.

use pangea_guest::{
    plugin,
    plugin::{Event, send_to, snapshot, tell, words},
};
use std::cell::RefCell;

const WORD_BYTES_MAX: usize = 255;

thread_local!(static KEPT: RefCell<Vec<u8>> = RefCell::new(b".".to_vec()));

fn kept() -> Vec<u8> {
    KEPT.with_borrow(Vec::clone)
}

/// A word was heard: if it is greater, it is kept. True if it was.
fn keep(word: &[u8]) -> bool {
    let greater = word.len() <= WORD_BYTES_MAX && word > &kept()[..];
    if greater {
        KEPT.set(word.to_vec());
    }
    greater
}

fn hear(word: &[u8]) {
    if keep(word) {
        snapshot(word);
        tell(word);
    }
}

/// What it returns for an ask is the answer. With `#[plugin(log)]` a panic says why in the log.
#[plugin]
fn on_event(event: Event) -> Vec<u8> {
    match event {
        Event::Started { snapshot, .. } => {
            keep(snapshot.unwrap_or_default());
            tell(&kept());
        }
        Event::Connected { peer } => send_to(&peer, &kept()),
        Event::Message { bytes, .. } => hear(bytes),
        Event::Ask { bytes, .. } => {
            if let ("say", word) = words(bytes) {
                hear(word);
            }
            return kept();
        }
        _ => {}
    }
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::*;
    use pangea_guest::plugin::wanted;

    #[test]
    fn a_greater_word_is_kept_and_told_and_a_smaller_one_is_not() {
        assert_eq!(on_event(Event::Ask { request: 1, bytes: b"say fig" }), b"fig");
        let names: Vec<String> = wanted().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["snapshot", "tell"]);
        on_event(Event::Message { peer: [1; 32], bytes: b"apple" });
        assert!(wanted().is_empty());
    }
}
