//! The scenarios that come with the program: `simulations/scenarios/*.toml`.

macro_rules! library {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../../scenarios/", $name, ".toml")))),*]
    };
}

/// Name and text of each.
pub const LIBRARY: &[(&str, &str)] = library![
    "cold-start",
    "flash-crowd",
    "rolling-restart",
    "regional-outage",
    "split-brain",
    "churn-30-days",
    "slow-disk",
    "full-disk",
    "lying-fsync",
    "bit-rot",
    "lying-holders",
    "withholding-holders",
    "corrupting-holders",
    "eclipse",
    "slowloris",
    "clock-skew",
    "version-skew",
    "bad-network",
    "power-failure",
    "quota-pressure",
    "chaos",
    "busy-node",
    "brim",
    "wide",
    "few-holders",
    "edges",
    "large-object",
    "short-leases",
    "forged-receipts",
    "shunned",
    "bad-holders",
    "lost-bootstrap",
    "slow-and-removed",
    "computing",
    "computing-in-place",
    "cheaters",
    "rare-cheaters",
    "plugins",
];

/// The text of the scenario `name`.
pub fn text(name: &str) -> Option<&'static str> {
    LIBRARY.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario;

    #[test]
    fn every_scenario_of_the_library_makes_a_plan_for_each_of_its_tiers_and_any_seed() {
        for (name, _) in LIBRARY {
            let scenario = scenario::find(name).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(scenario.name, *name);
            for tier in &scenario.tiers {
                for seed in 0..5 {
                    let plan = scenario::draw(&scenario, seed, Some(*tier)).unwrap_or_else(|error| panic!("{error}"));
                    assert_eq!(plan, scenario::draw(&scenario, seed, Some(*tier)).unwrap());
                    let text = toml::to_string(&plan).unwrap();
                    assert_eq!(toml::from_str::<crate::plan::Plan>(&text).unwrap(), plan, "{name}");
                }
            }
        }
    }

    #[test]
    fn every_scenario_file_is_in_the_library() {
        let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios");
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap();
            assert!(text(name).is_some(), "{name} is not in the library");
        }
    }
}
