//! The pages' source: nothing from elsewhere, nothing that a record could break out of, nothing too large.

use crate::plausible::{Recipe, run};
use pangea_simulations::{
    record::{Record, What},
    seeing::{animation, spacetime},
};

const BYTES_MAX: usize = 5 << 20;

pub const HOSTILE: &str = "</script><script>document.documentElement.dataset.owned='1'</script><img src=x onerror=alert(1)>\
    <!-- ]]> &quot; \"'`${1} \u{2028}\u{202e} \u{0}";

/// A run in which every text is hostile.
pub fn hostile() -> Vec<Record> {
    let text = || HOSTILE.to_owned();
    let whats = [
        What::Started { region: text() },
        What::Connected { peer: 1 },
        What::Asked { operation: 0, text: text() },
        What::Sent { peer: 1, frame: 1, label: text(), bytes: u64::MAX },
        What::FaultBegan { fault: 0, text: text(), nodes: vec![0, 4_000_000_000] },
        What::Ended { operation: 0, ok: false, text: text() },
        What::Ended { operation: 9, ok: true, text: text() },
        What::FaultEnded { fault: 9 },
        What::Crashed { disk: text() },
        What::Disconnected { peer: 1, reason: text() },
        What::Reached { goal: text() },
        What::Violated { oracle: text(), text: text() },
    ];
    whats.into_iter().enumerate().map(|(at, what)| Record { at_ns: at as u64, node: Some(0), what }).collect()
}

fn pages(records: &[Record], title: &str) -> [String; 2] {
    [spacetime::html(records, title), animation::html(records, title)]
}

#[test]
fn a_page_needs_nothing_from_elsewhere() {
    for page in pages(&crate::small::story(), "three nodes") {
        for word in ["://", "src=", "@import", "url(", "import(", "fetch(", "XMLHttpRequest"] {
            assert!(!page.contains(word), "{word}");
        }
        assert!(page.contains("Content-Security-Policy") && page.contains("default-src 'none'"));
    }
}

#[test]
fn a_script_never_makes_elements_of_text() {
    for page in pages(&[], "empty") {
        for word in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function"] {
            assert!(!page.contains(word), "{word}");
        }
    }
}

#[test]
fn a_hostile_record_stays_data() {
    for page in pages(&hostile(), HOSTILE) {
        assert_eq!(page.matches("</script>").count(), 2);
        assert!(!page.contains("<img") && !page.contains('\u{2028}'));
    }
}

#[test]
fn a_large_run_makes_a_small_page_that_says_what_it_leaves_out() {
    let records = run(Recipe { nodes: 1_000, seconds: 400, operations: 1_500, chatter: 30, violated: true });
    assert!(records.len() > 200_000, "{}", records.len());
    let [spacetime, animation] = pages(&records, "1,000 nodes");
    assert!(spacetime.len() < BYTES_MAX && animation.len() < BYTES_MAX, "{} {}", spacetime.len(), animation.len());
    assert!(spacetime.contains("120 of 1,000 nodes have a lane") && spacetime.contains("all of those from "));
    assert!(animation.contains(" frames are shown, spread evenly."));
}

#[test]
fn ten_thousand_nodes_fit_into_a_page() {
    let records = run(Recipe { nodes: 10_000, seconds: 60, operations: 300, chatter: 50, violated: false });
    for page in pages(&records, "10,000 nodes") {
        assert!(page.len() < BYTES_MAX, "{}", page.len());
    }
}
