//! [`Lab::check`]: a sweep as a test, which fails with what a person needs: the seed, the broken promise, the same failure
//! made small, and the line that replays it.

use super::{Case, CaseError, Lab, Member, Outcome, Tally};
use crate::record::Record;
use std::{
    env,
    path::{Path, PathBuf},
    thread,
};

/// Names the file of a case that [`Lab::check`] runs instead of its seeds.
const REPLAY: &str = "LAB_REPLAY";

impl<C: Member> Lab<C> {
    /// Runs all seeds. With `LAB_REPLAY=FILE` in the environment it runs that case instead.
    ///
    /// # Panics
    /// A promise is broken, a goal is never reached, or a seed does not do the same twice.
    pub fn check(&self) {
        let result = match env::var_os(REPLAY) {
            Some(file) => self.check_case(Path::new(&file)),
            None => self.check_seeds(),
        };
        if let Err(why) = result {
            panic!("lab `{}`: {why}", self.name);
        }
    }

    fn check_case(&self, file: &Path) -> Result<(), String> {
        let case = Case::read(file).map_err(|error| error.to_string())?;
        let outcome = self.replay(&case, false).map_err(|error| error.to_string())?;
        outcome.broken.map_or(Ok(()), |broken| Err(format!("{} breaks {broken}\n{}", file.display(), case.explain())))
    }

    fn check_seeds(&self) -> Result<(), String> {
        let text = |error: CaseError| error.to_string();
        if let Some(difference) = self.difference(self.seeds.start).map_err(text)? {
            return Err(difference);
        }
        let Tally { broken, missed, runs, .. } = self.sweep(self.seeds.clone(), 1).map_err(text)?;
        if let Some((seed, broken)) = broken.first() {
            return Err(format!("seed {seed} breaks {broken}\n{}", self.smaller(*seed).map_err(text)?));
        }
        match missed.as_slice() {
            [] => Ok(()),
            missed => Err(format!("never reached in {runs} runs: {}", missed.join(", "))),
        }
    }

    /// The small failure of a seed, and how to replay it.
    fn smaller(&self, seed: u64) -> Result<String, CaseError> {
        let case = Case::draw(self, seed)?;
        let Some(small) = self.shrink(&case)? else { return Ok("the second time it did not".to_owned()) };
        let file = directory().join(format!("{}-{seed}.toml", self.name));
        small.case.write(&file, &small.broken.to_string())?;
        Ok(format!(
            "{}\n{}replay:  {REPLAY}={} cargo test{}\n",
            small.sizes(&case),
            small.case.explain(),
            file.display(),
            this_test()
        ))
    }

    /// Runs a seed twice; what differs, if anything does.
    pub(super) fn difference(&self, seed: u64) -> Result<Option<String>, CaseError> {
        let case = Case::draw(self, seed)?;
        let [first, second] = [self.replay(&case, false)?, self.replay(&case, false)?];
        if first.digest == second.digest {
            return Ok(None);
        }
        let [first, second] = [self.replay(&case, true)?, self.replay(&case, true)?];
        Ok(Some(format!(
            "seed {seed} does not do the same twice: the actor depends on something beside its `Cx`, such as a clock, a \
             random number or the order of a `HashMap`\n{}",
            parting(&first, &second)
        )))
    }
}

/// Where two runs part.
fn parting(first: &Outcome, second: &Outcome) -> String {
    let show = |record: Option<&Record>| record.map_or_else(|| "(ends)".to_owned(), |record| format!("{record:?}"));
    let at = first.records.iter().zip(&second.records).take_while(|(first, second)| first == second).count();
    format!("  first:  {}\n  second: {}", show(first.records.get(at)), show(second.records.get(at)))
}

/// Where failures of tests are kept: beside what cargo builds.
fn directory() -> PathBuf {
    let program = env::current_exe().unwrap_or_default();
    let target = program.ancestors().find(|dir| dir.ends_with("deps")).and_then(|deps| deps.parent()?.parent());
    target.map_or_else(env::temp_dir, Path::to_path_buf).join("lab")
}

/// What cargo needs to run this test and no other, as far as it is known.
fn this_test() -> String {
    let package = env::var("CARGO_PKG_NAME").map_or_else(|_| String::new(), |name| format!(" -p {name}"));
    let current = thread::current();
    let test = current.name().filter(|name| *name != "main").map_or_else(String::new, |name| format!(" {name}"));
    package + &test
}
