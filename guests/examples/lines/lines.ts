// Counts lines: the smallest job. The same in Rust (src/lib.rs) and in C (lines.c).

import { Chunk, decode, encode, job } from "../../assemblyscript/pangea";
export { alloc, abiVersion as abi_version } from "../../assemblyscript/pangea";

function count(text: Chunk): Uint8Array {
  let lines = 0;
  for (let i = 0; i < text.bytes.length; i++) lines += i32(text.bytes[i] == 10);
  return encode(lines.toString());
}

function sum(counts: Uint8Array[]): Uint8Array {
  let sum: i64 = 0;
  for (let i = 0; i < counts.length; i++) sum += I64.parseInt(decode(counts[i]));
  return encode(sum.toString() + "\n");
}

export function handle(ptr: usize, len: i32): u64 {
  return job(ptr, len, null, count, sum);
}
