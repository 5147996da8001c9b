//! Where two runs part: both write a line per event ([`crate::digest`]), and the first that differs is shown with what
//! came before it.

use std::{
    fs::File,
    io::{self, BufRead, BufReader},
    path::Path,
};

/// Lines before the difference that are shown.
const CONTEXT: usize = 8;

/// The first difference of two runs.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Difference {
    /// Its number, counted from 0.
    pub event: u64,
    /// What both did before, oldest first.
    pub before: Vec<String>,
    /// What the first run did then; `None` if it ended.
    pub first: Option<String>,
    /// What the second run did.
    pub second: Option<String>,
}

/// Compares two logs; `None` if they are the same.
///
/// # Errors
/// One cannot be read.
pub fn compare(first: &Path, second: &Path) -> io::Result<Option<Difference>> {
    let mut a = BufReader::new(File::open(first)?).lines();
    let mut b = BufReader::new(File::open(second)?).lines();
    let mut before = std::collections::VecDeque::new();
    let mut event = 0;
    loop {
        let (one, other) = (a.next().transpose()?, b.next().transpose()?);
        match (one, other) {
            (None, None) => return Ok(None),
            (Some(one), Some(other)) if one == other => {
                before.push_back(one);
                if before.len() > CONTEXT {
                    before.pop_front();
                }
                event += 1;
            }
            (first, second) => return Ok(Some(Difference { event, before: before.into(), first, second })),
        }
    }
}
