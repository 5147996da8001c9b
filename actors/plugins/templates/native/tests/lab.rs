//! The actor on twenty nodes where everything goes wrong that can.

use pangea_plugins::PeerId;
use pangea_simulations::lab::{
    Lab, ensure,
    site::{Cast, Name, Native, Site},
};
use presence::Presence;
use std::time::Duration;

struct Group;

impl Cast for Group {
    type Tenant = Native<Presence>;

    fn core(_me: PeerId) -> Presence {
        Presence::new()
    }

    fn name() -> Name {
        "presence".parse().expect("it is a name")
    }

    fn polls() -> Vec<String> {
        vec!["count".to_owned(), "map".to_owned()]
    }
}

#[test]
fn in_the_end_everybody_has_measured_everybody() {
    Lab::<Site<Group>>::new("presence")
        .nodes(20)
        .times(Duration::from_secs(60), Duration::from_secs(90))
        .eventually("every node has pinged all others", |net| {
            let others = net.cores().count() - 1;
            for (id, site) in net.cores() {
                let count = site.said().get("count").cloned().unwrap_or_else(|| Err("nothing".to_owned()));
                ensure!(count == Ok(format!("{others}\n")), "node {id} has measured {count:?} of {others}");
            }
            Ok(())
        })
        .eventually("every node has a map of all ways", |net| {
            let nodes = net.cores().count();
            for (id, site) in net.cores() {
                let map = site.said().get("map").cloned().unwrap_or_else(|| Err("nothing".to_owned()));
                let lines = map.as_ref().map_or(0, |map| map.lines().count());
                ensure!(lines == nodes * (nodes - 1), "node {id} knows {lines} ways of {}", nodes * (nodes - 1));
            }
            Ok(())
        })
        .seeds(0..10)
        .check();
}
