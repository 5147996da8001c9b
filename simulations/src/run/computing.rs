//! What nodes compute in a run: a module whose results this page knows without running it, and whether what came is right.

use crate::plan::{Checked, Do};
use bytes::Bytes;
use pangea_compute::{api::Spec, envelope};
use pangea_kernel::Seed;
use pangea_protocols::{
    manifest::FRAME_BYTES,
    receipt_job::{JobReceipt, Place, Stage, Verification},
    task::Limits,
};
use std::sync::OnceLock;

/// FNV-1a over its input, again and again: as often as the four bytes behind the envelope's head say. Returns 8 bytes.
const MODULE: &str = r#"(module
    (memory (export "memory") 1)
    (func (export "alloc") (param $len i32) (result i32)
        (drop (memory.grow (i32.add (i32.shr_u (local.get $len) (i32.const 16)) (i32.const 1))))
        (i32.const 1024))
    (func (export "handle") (param $ptr i32) (param $len i32) (result i64)
        (local $rounds i32) (local $at i32) (local $hash i64)
        (local.set $hash (i64.const 0xcbf29ce484222325))
        (local.set $rounds (i32.and (i32.load (i32.sub (i32.add (local.get $ptr) (local.get $len)) (i32.const 4)))
            (i32.const 0xff)))
        (loop $again
            (local.set $at (i32.const 0))
            (loop $next
                (local.set $hash (i64.mul (i64.const 0x100000001b3)
                    (i64.xor (local.get $hash) (i64.load8_u (i32.add (local.get $ptr) (local.get $at))))))
                (br_if $next (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 1))) (local.get $len))))
            (br_if $again (i32.gt_s (local.tee $rounds (i32.sub (local.get $rounds) (i32.const 1))) (i32.const 0))))
        (i64.store (i32.const 8) (local.get $hash))
        (i64.const 0x800000008)))"#;

fn module() -> Bytes {
    static MODULE_BYTES: OnceLock<Bytes> = OnceLock::new();
    // The text stands above and does not change.
    MODULE_BYTES.get_or_init(|| wat::parse_str(MODULE).unwrap_or_default().into()).clone()
}

/// The same over every 61st byte, once: parts of what is stored are large.
fn module_of_stored() -> Bytes {
    static MODULE_BYTES: OnceLock<Bytes> = OnceLock::new();
    let text = || {
        let step = MODULE.replace("(local.get $at) (i32.const 1)))", &format!("(local.get $at) (i32.const {STEP})))"));
        step.replace("(i32.const 0xff)", "(i32.const 0)")
    };
    MODULE_BYTES.get_or_init(|| wat::parse_str(text()).unwrap_or_default().into()).clone()
}

/// What a module returns for an input.
type Returns = fn(&[u8]) -> Bytes;

/// Of an input that lies in what was stored, so many bytes are left out for each that is read.
const STEP: usize = 61;

fn result(input: &[u8]) -> Bytes {
    let last = input.len().saturating_sub(4);
    let tail: [u8; 4] = input[last..].try_into().unwrap_or_default();
    hash((u32::from_le_bytes(tail) & 0xff).max(1), input, 1)
}

fn hash(rounds: u32, input: &[u8], step: usize) -> Bytes {
    let mut hash = 0xcbf2_9ce4_8422_2325u64;
    for _ in 0..rounds {
        for byte in input.iter().step_by(step) {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
        }
    }
    Bytes::copy_from_slice(&hash.to_le_bytes())
}

/// The chunks of an operation: no two are equal, and the rounds are at the end.
fn chunks(seed: &Seed, id: u32, count: u32, bytes: u64, rounds: u16) -> Vec<Bytes> {
    let length = usize::try_from(bytes).unwrap_or(usize::MAX).clamp(8, 1 << 20);
    let chunk = |index: u32| {
        let mut draw = seed.derive("compute").derive(&id.to_string()).derive(&index.to_string()).draw();
        let mut chunk = vec![0; length];
        let first = chunk.len().min(32);
        chunk[..first].copy_from_slice(&draw.bytes::<32>()[..first]);
        chunk[length - 4..].copy_from_slice(&u32::from(rounds).to_le_bytes());
        Bytes::from(chunk)
    };
    (0..count).map(chunk).collect()
}

/// What is submitted for an operation, and its input. `None` for other operations.
pub fn question(seed: &Seed, id: u32, what: &Do) -> Option<(Spec, Vec<Bytes>)> {
    let Do::Compute { chunks: count, bytes, rounds, merge, checked } = what else { return None };
    Some((spec(seed, id, module(), *merge, *checked), chunks(seed, id, *count, *bytes, *rounds)))
}

/// The same for one over what is stored; and which put stored it, and how many stripes are a chunk.
pub fn question_of_stored(seed: &Seed, id: u32, what: &Do) -> Option<(Spec, u32, u32)> {
    let Do::ComputeStored { of, stripes, merge, checked } = what else { return None };
    Some((spec(seed, id, module_of_stored(), *merge, *checked), *of, *stripes))
}

fn spec(seed: &Seed, id: u32, module: Bytes, merge: bool, checked: Checked) -> Spec {
    let verification = match checked {
        Checked::Audited => Verification::default(),
        Checked::Agreed => Verification::Quorum { hosts: 3 },
        Checked::Believed => Verification::None,
    };
    Spec {
        nonce: seed.derive("nonce").derive(&id.to_string()).draw().bytes(),
        module,
        chunks: 0,
        limits: Limits::default(),
        verification,
        split: false,
        merge,
        priority: 8,
        timeout: None,
        depth: 0,
        passed_on: None,
    }
}

/// What is wrong with a result. `stored` is what the put stored that it is about, if it is about one.
pub fn wrong(
    seed: &Seed,
    id: u32,
    what: &Do,
    stored: Option<&Bytes>,
    (outputs, receipt): (&[Bytes], &JobReceipt),
) -> Option<String> {
    let (inputs, merge, result): (Vec<Bytes>, bool, Returns) = match what {
        Do::Compute { chunks: count, bytes, rounds, merge, .. } => {
            (chunks(seed, id, *count, *bytes, *rounds), *merge, result)
        }
        Do::ComputeStored { stripes, merge, .. } => {
            let (all, size) = (stored?, FRAME_BYTES * *stripes as usize);
            let parts = (0..all.len()).step_by(size).map(|at| all.slice(at..all.len().min(at + size)));
            (parts.collect(), *merge, |input| hash(1, input, STEP))
        }
        _ => return None,
    };
    let count = inputs.len() as u32;
    let call = |(index, chunk): (usize, &Bytes)| {
        let place = Place { stage: Stage::Execute, index: index as u32 };
        result(&envelope::call(place, count, chunk))
    };
    let mut expected: Vec<Bytes> = inputs.iter().enumerate().map(call).collect();
    if merge {
        let place = Place { stage: Stage::Merge, index: 0 };
        expected = vec![result(&envelope::call(place, 1, &envelope::list(expected.iter())))];
    }
    if let Err(error) = receipt.verify() {
        return Some(format!("the receipt of computation #{id} proves nothing: {error}"));
    }
    let right = outputs.iter().zip(&expected).filter(|(got, wanted)| got == wanted).count();
    (outputs != expected).then(|| {
        format!(
            "computation #{id} returned {} results, of which {right} of {} are right",
            outputs.len(),
            expected.len()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use pangea_protocols::task::{Capabilities, Ending, Input, TaskId};
    use pangea_sandbox::{
        Workshop,
        engine::Wasmi,
        work::{Begin, Done, State, Work},
    };

    #[test]
    fn the_modules_return_what_is_expected_of_them() {
        let workshop = Workshop::new(Wasmi::new().unwrap(), u64::MAX);
        let (plain, stored) = (module(), module_of_stored());
        assert_ne!(plain, stored);
        for (module, length, rounds) in [(&plain, 8, 1), (&plain, 100, 3), (&plain, 70_000, 2), (&stored, 70_000, 9)] {
            let result: Returns = if module == &plain { result } else { |input| super::hash(1, input, STEP) };
            let hash = pangea_protocols::Hash::of(module);
            Work::Prepare { module: hash, bytes: module.clone() }.run(&workshop);
            let chunk = chunks(&Seed::new([1; 32]), 7, 1, length, rounds).remove(0);
            let place = Place { stage: Stage::Execute, index: 0 };
            let bytes = envelope::call(place, 1, &chunk);
            let input = Input { bytes: bytes.clone(), ..Input::default() };
            let (task, limits, granted) = (TaskId(1), Limits::default(), Capabilities::NONE);
            let begin = Begin { task, module: hash, limits, granted, input, gas: u64::MAX >> 2 };
            let Some(Done::Sliced { state: State::Ended { outcome, .. }, .. }) =
                Work::Begin(Box::new(begin)).run(&workshop)
            else {
                panic!("it does not run")
            };
            assert_eq!(outcome.ending, Ending::Output(result(&bytes)));
        }
    }
}
