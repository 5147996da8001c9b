// pangea.ts: tasks and MapReduce jobs for the WebAssembly sandbox of Pangea (ABI pangea:1), in AssemblyScript.
//
//   asc task.ts --runtime stub --optimize --use abort=pangea/trap --outFile task.wasm
//
// A module exports `alloc` and `abiVersion` of this file and a `handle` that calls `task` or `job`:
//
//   import { task } from "./pangea";
//   export { alloc, abiVersion as abi_version } from "./pangea";
//   export function handle(ptr: usize, len: i32): u64 { return task(ptr, len, shout); }
//
// A module imports what it calls of log, send, now, random and chunkRead, and no more; whoever runs it must grant that.
// A failed assertion or `throw` traps. With `--use abort=pangea/logged` its message is logged before.

// ---- What a module may import ----

// @ts-ignore: decorator
@external("pangea", "log") declare function hostLog(level: i32, ptr: usize, len: i32): void;
// @ts-ignore: decorator
@external("pangea", "send") declare function hostSend(ptr: usize, len: i32): void;
// @ts-ignore: decorator
@external("pangea", "now") declare function hostNow(): u64;
// @ts-ignore: decorator
@external("pangea", "random") declare function hostRandom(ptr: usize, len: i32): void;
// @ts-ignore: decorator
@external("pangea", "chunk_read") declare function hostChunkRead(chunk: u32, offset: u64, ptr: usize, len: i32): i32;

/** How much a line of log matters. */
export enum Level { Error = 0, Warning = 1, Info = 2, Debug = 3 }

/** A line for whoever debugs the task. */
export function log(level: Level, line: string): void {
  const bytes = encode(line);
  hostLog(level, bytes.dataStart, bytes.length);
}

/** A message for whoever runs the task. */
export function send(message: Uint8Array): void {
  hostSend(message.dataStart, message.length);
}

/** Milliseconds since 1970 as the caller of the task wrote them down; the same during a call. */
export function now(): u64 {
  return hostNow();
}

/** Fills `bytes` with what follows from the seed of the call: the same wherever the task runs. */
export function random(bytes: Uint8Array): void {
  hostRandom(bytes.dataStart, bytes.length);
}

/** Reads data that was given beside the input: how many bytes, fewer than `into` has at its end; -1 if there is no such chunk. */
export function chunkRead(chunk: u32, offset: u64, into: Uint8Array): i32 {
  return hostChunkRead(chunk, offset, into.dataStart, into.length);
}

// ---- Text ----

/** Text as UTF-8. */
export function encode(text: string): Uint8Array {
  return Uint8Array.wrap(String.UTF8.encode(text));
}

/** UTF-8 as text. */
export function decode(bytes: Uint8Array): string {
  return String.UTF8.decodeUnsafe(bytes.dataStart, bytes.length);
}

// ---- How a task ends badly: for --use abort=… ----

/** Traps. */
export function trap(message: string | null, file: string | null, line: u32, column: u32): void {
  unreachable();
}

/** Logs why, and traps. */
export function logged(message: string | null, file: string | null, line: u32, column: u32): void {
  log(Level.Error, message === null ? "failed" : message);
  unreachable();
}

// ---- Exports ----

/** Room for an input. */
export function alloc(len: i32): usize {
  return __pin(__new(len, idof<ArrayBuffer>()));
}

/** What `abi_version` returns. */
export function abiVersion(): i32 {
  return 1;
}

let output: Uint8Array = new Uint8Array(0);

function answered(bytes: Uint8Array): u64 {
  // It stays where it is until the module is called again.
  output = bytes;
  return ((<u64>bytes.dataStart) << 32) | <u64>bytes.length;
}

function inputOf(ptr: usize, len: i32): Uint8Array {
  __unpin(ptr);
  return Uint8Array.wrap(changetype<ArrayBuffer>(ptr), 0, len);
}

/** Answers a call of a module with a task. */
export function task(ptr: usize, len: i32, run: (input: Uint8Array) => Uint8Array): u64 {
  return answered(run(inputOf(ptr, len)));
}

/** A part of a job's input: its number from 0, how many there are, and what it holds. */
export class Chunk {
  constructor(public index: u32, public total: u32, public bytes: Uint8Array) {}
}

/** Answers a call of a module with a job; `split` and `merge` may be null. */
export function job(
  ptr: usize,
  len: i32,
  split: ((whole: Chunk) => Uint8Array[]) | null,
  execute: (chunk: Chunk) => Uint8Array,
  merge: ((parts: Uint8Array[]) => Uint8Array) | null,
): u64 {
  const input = new Reader(inputOf(ptr, len));
  assert(input.head(ARRAY) == 4, "this module is for jobs: its input is [entry, index, total, payload] in CBOR");
  const entry = decode(input.string(TEXT));
  const index = <u32>input.head(UINT);
  const total = <u32>input.head(UINT);
  const chunk = new Chunk(index, total, input.string(BYTES));
  if (entry == "split" && split !== null) return answered(list(split(chunk)));
  if (entry == "execute") return answered(execute(chunk));
  if (entry == "merge" && merge !== null) return answered(merge(readList(chunk.bytes)));
  throw new Error("this module has no " + entry);
}

// ---- CBOR (RFC 8949): the envelope of a job, and lists of byte strings ----

const UINT: u8 = 0;
const BYTES: u8 = 2;
const TEXT: u8 = 3;
const ARRAY: u8 = 4;

class Reader {
  private at: i32 = 0;

  constructor(private bytes: Uint8Array) {}

  head(major: u8): u64 {
    const first = this.bytes[this.at++];
    const code = first & 31;
    assert(first >> 5 == major && code < 28, "this is not the CBOR that was expected");
    if (code < 24) return code;
    let value: u64 = 0;
    for (let left = 1 << (code - 24); left > 0; left--) value = (value << 8) | this.bytes[this.at++];
    return value;
  }

  string(major: u8): Uint8Array {
    const len = this.head(major);
    const start = this.at;
    assert(len <= <u64>(this.bytes.length - start), "a string in CBOR is longer than its input");
    this.at += <i32>len;
    return this.bytes.subarray(start, this.at);
  }
}

function readList(bytes: Uint8Array): Uint8Array[] {
  const reader = new Reader(bytes);
  const items: Uint8Array[] = [];
  for (let left = reader.head(ARRAY); left > 0; left--) items.push(reader.string(BYTES));
  return items;
}

function list(items: Uint8Array[]): Uint8Array {
  let size = 9;
  for (let i = 0; i < items.length; i++) size += items[i].length + 9;
  const bytes = new Uint8Array(size);
  let at = putHead(bytes, 0, ARRAY, items.length);
  for (let i = 0; i < items.length; i++) {
    at = putHead(bytes, at, BYTES, items[i].length);
    bytes.set(items[i], at);
    at += items[i].length;
  }
  return bytes.subarray(0, at);
}

function putHead(into: Uint8Array, at: i32, major: u8, value: u32): i32 {
  if (value < 24) {
    into[at++] = (major << 5) | <u8>value;
    return at;
  }
  const code = value < 0x100 ? 24 : value < 0x10000 ? 25 : 26;
  into[at++] = (major << 5) | <u8>code;
  for (let shift = (8 << (code - 24)) - 8; shift >= 0; shift -= 8) into[at++] = <u8>(value >> shift);
  return at;
}
