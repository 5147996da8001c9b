//! [`Judge`]: asks the oracles and goals of a lab during one run.

use super::{Lab, Member, Verdict, View, outcome::Broken, quiet::contain_quietly};
use std::collections::BTreeMap;

/// A promise and its name.
pub(super) struct Oracle<C: Member> {
    pub(super) name: String,
    #[allow(clippy::type_complexity, reason = "a closure's type, named once")]
    pub(super) check: Box<dyn Fn(&View<'_, C>) -> Verdict + Send + Sync>,
}

/// An interesting state and its name.
pub(super) struct Goal<C: Member> {
    pub(super) name: String,
    #[allow(clippy::type_complexity, reason = "a closure's type, named once")]
    pub(super) reached: Box<dyn Fn(&View<'_, C>) -> bool + Send + Sync>,
}

/// Asks oracles.
pub(super) struct Judge<'a, C: Member> {
    lab: &'a Lab<C>,
    /// Goals that have not been reached.
    open: Vec<&'a Goal<C>>,
    goals: BTreeMap<String, u64>,
}

impl<'a, C: Member> Judge<'a, C> {
    pub(super) fn new(lab: &'a Lab<C>) -> Self {
        Self { lab, open: lab.sometimes.iter().collect(), goals: BTreeMap::new() }
    }

    /// Goals that are reached now and were not before.
    pub(super) fn reached(&mut self, view: &View<'_, C>) -> Vec<String> {
        let mut names = Vec::new();
        self.open.retain(|goal| {
            let reached = (goal.reached)(view);
            if reached {
                names.push(goal.name.clone());
            }
            !reached
        });
        for name in &names {
            self.goals.insert(name.clone(), view.now().0 / 1_000_000);
        }
        names
    }

    /// The first promise that is broken now.
    pub(super) fn broken(&self, view: &View<'_, C>) -> Option<Broken> {
        first_broken(&self.lab.always, view)
    }

    /// The first promise that is broken at the end.
    pub(super) fn at_end(&self, view: &View<'_, C>) -> Option<Broken> {
        first_broken(&self.lab.eventually, view)
    }

    pub(super) fn goals(&self) -> BTreeMap<String, u64> {
        self.goals.clone()
    }
}

fn first_broken<C: Member>(oracles: &[Oracle<C>], view: &View<'_, C>) -> Option<Broken> {
    oracles.iter().find_map(|oracle| {
        // What an oracle asserts counts as what it says.
        let text = contain_quietly(|| (oracle.check)(view)).unwrap_or_else(Err).err()?;
        Some(Broken { at_ns: view.now().0, oracle: oracle.name.clone(), text })
    })
}
