//! [`Module`]: a built guest, run as the node runs it. Not here: any test.

use bytes::Bytes;
use pangea_compute::envelope;
use pangea_protocols::{
    Hash,
    receipt_job::{Place, Stage},
    task::{Capabilities, Ending, Input, Limits, TaskId, Trap},
};
use pangea_sandbox::{
    Workshop,
    engine::{Wasmi, host::Line},
    work::{Begin, Done, State, Work},
};
use std::path::{Path, PathBuf};

/// The folder `guests`.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../guests")
}

/// A module in a workshop.
pub struct Module {
    workshop: Workshop,
    hash: Hash,
    /// What it imports.
    pub imports: Capabilities,
}

/// What a call came to.
pub struct Answer {
    pub ending: Ending,
    pub sent: Vec<Bytes>,
    pub lines: Vec<Line>,
    pub gas: u64,
}

impl Answer {
    /// Its output.
    pub fn output(self) -> Bytes {
        match self.ending {
            Ending::Output(bytes) => bytes,
            Ending::Trapped(trap) => panic!("trapped: {trap}; {:?}", self.lines),
        }
    }

    /// Why there is none.
    pub fn trap(&self) -> Trap {
        match &self.ending {
            Ending::Trapped(trap) => *trap,
            Ending::Output(bytes) => panic!("returned {bytes:?}"),
        }
    }
}

impl Module {
    /// A module of `guests/built`, or of the folder `PANGEA_GUESTS_BUILT` if it is there (see `guests/build.sh`).
    pub fn built(name: &str) -> Self {
        let file = format!("{name}.wasm");
        let fresh = std::env::var_os("PANGEA_GUESTS_BUILT").map(|folder| PathBuf::from(folder).join(&file));
        let path = fresh.filter(|path| path.exists()).unwrap_or_else(|| folder().join("built").join(&file));
        Self::new(&std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())))
    }

    /// A module.
    pub fn new(bytes: &[u8]) -> Self {
        let workshop = Workshop::new(Wasmi::new().unwrap(), u64::MAX);
        let hash = Hash::of(bytes);
        let prepare = Work::Prepare { module: hash, bytes: Bytes::copy_from_slice(bytes) };
        match prepare.run(&workshop) {
            Some(Done::Prepared { result: Ok(imports), .. }) => Self { workshop, hash, imports },
            other => panic!("{other:?}"),
        }
    }

    /// Calls it within the limits that a user gets by default, with what it imports granted.
    pub fn call(&self, input: Input) -> Answer {
        let task = TaskId(0);
        let begin =
            Begin { task, module: self.hash, limits: Limits::default(), granted: self.imports, input, gas: 1_000_000 };
        let (mut work, mut all) = (Work::Begin(Box::new(begin)), Vec::new());
        loop {
            let Some(Done::Sliced { lines, state, .. }) = work.run(&self.workshop) else { panic!("no answer") };
            all.extend(lines);
            match state {
                State::Running => work = Work::Continue { task, gas: 50_000_000 },
                State::Ended { outcome, .. } => {
                    let (ending, sent, gas) = (outcome.ending, outcome.sent, outcome.gas);
                    return Answer { ending, sent, lines: all, gas };
                }
                State::Refused(refusal) => panic!("{refusal}"),
            }
        }
    }

    /// Calls it with bytes.
    pub fn run(&self, bytes: &[u8]) -> Answer {
        self.call(Input { bytes: Bytes::copy_from_slice(bytes), ..Input::default() })
    }

    /// Calls an entry of a job's module.
    pub fn entry(&self, stage: Stage, (index, total): (u32, u32), payload: &[u8]) -> Answer {
        self.call(Input { bytes: envelope::call(Place { stage, index }, total, payload), ..Input::default() })
    }

    /// Has the module cut an input.
    pub fn split(&self, input: &[u8]) -> Vec<Bytes> {
        let list = self.entry(Stage::Split, (0, 1), input).output();
        envelope::read_list(&list, 10_000).expect("a split returns a list")
    }

    /// Has the module compute the outputs of chunks.
    pub fn execute(&self, chunks: &[Bytes]) -> Vec<Bytes> {
        let total = u32::try_from(chunks.len()).unwrap();
        (0..).zip(chunks).map(|(index, chunk)| self.entry(Stage::Execute, (index, total), chunk).output()).collect()
    }

    /// Has the module join outputs.
    pub fn merge(&self, outputs: &[Bytes]) -> Bytes {
        self.entry(Stage::Merge, (0, 1), &envelope::list(outputs.iter())).output()
    }

    /// A whole job whose input the module cuts.
    pub fn job(&self, input: &[u8]) -> Bytes {
        self.merge(&self.execute(&self.split(input)))
    }
}
