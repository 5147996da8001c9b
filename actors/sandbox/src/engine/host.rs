//! What the imports of a guest do, and what it may use. Without any engine: a function gets the guest's memory and its
//! gas, checks every pointer and length, and pays for what it does.

use super::tank::Tank;
use crate::pass::cost;
use bytes::Bytes;
pub use pangea_protocols::task::Line;
use pangea_protocols::task::{Input, Limits, Trap};
use std::ops::Range;

/// The host's side of an instance.
#[derive(Debug)]
pub struct Host {
    /// Gas that the guest does not hold.
    pub tank: Tank,
    /// What it sent in this call.
    pub sent: Vec<Bytes>,
    /// What it logged since that was last taken.
    pub lines: Vec<Line>,
    /// Why this node failed, if it did.
    pub node_failure: Option<&'static str>,
    limits: Limits,
    input: Input,
    output_bytes: u64,
    log_bytes: u64,
    random: blake3::OutputReader,
    table_elements: u64,
    refused_growth: bool,
}

impl Host {
    /// For an instance that lives within `limits`; the first call has `input`.
    pub fn new(limits: Limits, input: Input) -> Self {
        let mut host = Self {
            tank: Tank::default(),
            sent: Vec::new(),
            lines: Vec::new(),
            node_failure: None,
            limits,
            input: Input::default(),
            output_bytes: 0,
            log_bytes: 0,
            random: blake3::Hasher::new().finalize_xof(),
            table_elements: 0,
            refused_growth: false,
        };
        host.begin(input);
        host
    }

    /// A new call: gas, output, log, clock and chance begin anew; memory and tables stay.
    pub fn begin(&mut self, input: Input) {
        self.tank = Tank::new(self.limits.gas);
        self.random = blake3::Hasher::new_keyed(&input.seed).finalize_xof();
        (self.input, self.sent, self.output_bytes, self.log_bytes) = (input, Vec::new(), 0, 0);
        self.refused_growth = false;
    }

    /// The limits of the instance.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// What `handle` is called with.
    pub fn input(&self) -> &Bytes {
        &self.input.bytes
    }

    /// `send(ptr, len)`.
    ///
    /// # Errors
    /// [`Trap::Pointer`], [`Trap::Gas`], [`Trap::Output`].
    pub fn send(&mut self, memory: &[u8], gas: &mut i64, ptr: u32, len: u32) -> Result<(), Trap> {
        let range = self.enter(memory, gas, ptr, len)?;
        let message = self.take_output(&memory[range])?;
        self.sent.push(message);
        Ok(())
    }

    /// Copies output out of the guest, within its limit. Every piece counts for at least as much as keeping it takes.
    ///
    /// # Errors
    /// [`Trap::Output`].
    pub fn take_output(&mut self, bytes: &[u8]) -> Result<Bytes, Trap> {
        self.output_bytes += bytes.len() as u64 + OUTPUT_OVERHEAD;
        if self.output_bytes > u64::from(self.limits.output_bytes) + OUTPUT_OVERHEAD {
            return Err(Trap::Output);
        }
        Ok(Bytes::copy_from_slice(bytes))
    }

    /// `log(level, ptr, len)`. Beyond the limit, lines are dropped; they cost the same.
    ///
    /// # Errors
    /// [`Trap::Pointer`], [`Trap::Gas`].
    pub fn log(&mut self, memory: &[u8], gas: &mut i64, level: u32, ptr: u32, len: u32) -> Result<(), Trap> {
        let range = self.enter(memory, gas, ptr, len)?;
        self.log_bytes += u64::from(len) + OUTPUT_OVERHEAD;
        if self.log_bytes <= u64::from(self.limits.log_bytes) {
            let text = String::from_utf8_lossy(&memory[range]).into_owned();
            self.lines.push(Line { level: u8::try_from(level).unwrap_or(u8::MAX), text });
        }
        Ok(())
    }

    /// `now()`: milliseconds since 1970, the same during a call.
    ///
    /// # Errors
    /// [`Trap::Gas`].
    pub fn now(&self, gas: &mut i64) -> Result<u64, Trap> {
        *gas = self.tank.pay(*gas, cost::HOST_CALL)?;
        Ok(self.input.unix_ms)
    }

    /// `random(ptr, len)`: the next bytes of BLAKE3 in its extendable-output mode, keyed with the seed of the call.
    ///
    /// # Errors
    /// [`Trap::Pointer`], [`Trap::Gas`].
    pub fn random(&mut self, memory: &mut [u8], gas: &mut i64, ptr: u32, len: u32) -> Result<(), Trap> {
        let range = self.enter(memory, gas, ptr, len)?;
        self.random.fill(&mut memory[range]);
        Ok(())
    }

    /// `chunk_read(chunk, offset, ptr, len) -> i32`: bytes copied, fewer at the end of the chunk; -1 if there is no such
    /// chunk.
    ///
    /// # Errors
    /// [`Trap::Pointer`], [`Trap::Gas`].
    pub fn chunk_read(
        &mut self,
        memory: &mut [u8],
        gas: &mut i64,
        (chunk, offset): (u32, u64),
        (ptr, len): (u32, u32),
    ) -> Result<i32, Trap> {
        let range = self.enter(memory, gas, ptr, len)?;
        let Some(chunk) = self.input.chunks.get(chunk as usize) else { return Ok(-1) };
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(chunk.len());
        let source = &chunk[start..];
        let copied = source.len().min(range.len());
        memory[range.start..range.start + copied].copy_from_slice(&source[..copied]);
        // A chunk is part of a message to this node, and memory is addressed by 32 bits.
        Ok(i32::try_from(copied).unwrap_or(i32::MAX))
    }

    /// Where `len` bytes at `ptr` are. Pays for the call and for as many bytes.
    fn enter(&self, memory: &[u8], gas: &mut i64, ptr: u32, len: u32) -> Result<Range<usize>, Trap> {
        let range = range(memory, ptr, len)?;
        *gas = self.tank.pay(*gas, cost::HOST_CALL + cost::bytes(len.into()))?;
        Ok(range)
    }

    /// May memory grow to `desired` bytes? Decided by the limits alone. What no memory can have is no refusal of ours: not
    /// every engine asks.
    pub fn grow_memory(&mut self, desired: usize, maximum: Option<usize>) -> bool {
        let granted = desired as u64 <= self.limits.memory_bytes;
        let fits = maximum.is_none_or(|maximum| desired <= maximum);
        self.refused_growth |= !granted && fits && desired as u64 <= MEMORY_BYTES_MAX;
        granted && fits
    }

    /// May a table grow from `current` to `desired` elements? As [`Self::grow_memory`].
    pub fn grow_table(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> bool {
        let total = self.table_elements + (desired as u64).saturating_sub(current as u64);
        let granted = total <= u64::from(self.limits.table_elements);
        let fits = maximum.is_none_or(|maximum| desired <= maximum);
        self.refused_growth |= !granted && fits && desired as u64 <= TABLE_ELEMENTS_MAX;
        if granted && fits {
            self.table_elements = total;
        }
        granted && fits
    }

    /// What a guest's `unreachable` means: out of memory, if it was refused some before.
    pub fn unreachable(&self) -> Trap {
        if self.refused_growth { Trap::Memory } else { Trap::Unreachable }
    }
}

/// All that 32 bits can address.
const MEMORY_BYTES_MAX: u64 = 1 << 32;
/// As many elements as 32 bits can count.
const TABLE_ELEMENTS_MAX: u64 = u32::MAX as u64;

/// What a message or a line counts for beside its bytes.
const OUTPUT_OVERHEAD: u64 = 64;

/// The place of `len` bytes at `ptr`.
///
/// # Errors
/// [`Trap::Pointer`]: not in memory.
pub fn range(memory: &[u8], ptr: u32, len: u32) -> Result<Range<usize>, Trap> {
    let (start, end) = (ptr as usize, ptr as usize + len as usize);
    if end <= memory.len() { Ok(start..end) } else { Err(Trap::Pointer) }
}
