// A tour of what a module may import: one task that uses all of it. The same in Rust (src/lib.rs) and in C (tour.c).

import { Level, chunkRead, decode, encode, log, now, random, send, task } from "../../assemblyscript/pangea";
export { alloc, abiVersion as abi_version } from "../../assemblyscript/pangea";

function tour(input: Uint8Array): Uint8Array {
  if (input.length == 0) throw new Error("the input is empty: there is nothing to show");
  log(Level.Info, input.length.toString() + " bytes of input");
  send(input);
  const number = new Uint8Array(8);
  random(number);
  const start = new Uint8Array(5);
  const read = chunkRead(0, 0, start);
  const chunk = read < 0 ? "none" : decode(start.subarray(0, read));
  const drawn = load<u64>(number.dataStart).toString();
  return encode("now " + now().toString() + "\nrandom " + drawn + "\nchunk " + chunk + "\n");
}

export function handle(ptr: usize, len: i32): u64 {
  return task(ptr, len, tour);
}
