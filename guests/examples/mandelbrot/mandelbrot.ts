// Mandelbrot: a picture of the set, tile by tile.
//
//   split     a few lines of settings ─▶ tiles of 128 x 128 pixels
//   execute   a tile ─▶ for each pixel, how fast it runs away
//   merge     those of all tiles ─▶ a PNG
//
// Settings, each on a line of its own, and what they are without it:
//
//   width 640            pixels, at most 4096
//   height 480           pixels, at most 3072
//   x -0.5               the middle of the picture
//   y 0
//   across 3.2           what the width of the picture spans
//   iterations 500       after which a point counts as one that never runs away

import { Chunk, decode, encode, job } from "../../assemblyscript/pangea";
export { alloc, abiVersion as abi_version } from "../../assemblyscript/pangea";

const TILE = 128;
const WIDTH_MAX = 4096;
const HEIGHT_MAX = 3072;
const NAMES = ["width", "height", "x", "y", "across", "iterations"];
const DEFAULTS = ["640", "480", "-0.5", "0", "3.2", "500"];

function split(whole: Chunk): Uint8Array[] {
  const settings = DEFAULTS.slice(0);
  const lines = decode(whole.bytes).split("\n");
  for (let i = 0; i < lines.length; i++) {
    const line = lines[i].trim();
    if (line.length == 0) continue;
    const space = line.indexOf(" ");
    const name = NAMES.indexOf(line.substring(0, max(space, 0)));
    if (name < 0) throw new Error("`" + line + "` is no setting: there are " + NAMES.join(", "));
    settings[name] = line.substring(space + 1).trim();
  }
  const width = <i32>parseInt(settings[0]), height = <i32>parseInt(settings[1]);
  if (width < 1 || width > WIDTH_MAX || height < 1 || height > HEIGHT_MAX) {
    throw new Error("a picture has 1 x 1 to 4096 x 3072 pixels");
  }
  const tiles: Uint8Array[] = [];
  for (let top = 0; top < height; top += TILE) {
    for (let left = 0; left < width; left += TILE) {
      tiles.push(encode(settings.join(" ") + " " + left.toString() + " " + top.toString()));
    }
  }
  return tiles;
}

// What a tile's output begins with: width and height of the picture, left and top of the tile, each in 4 bytes.
const HEAD = 16;

function execute(tile: Chunk): Uint8Array {
  const words = decode(tile.bytes).split(" ");
  assert(words.length == 8, "this is not a tile of the split");
  const width = <i32>parseInt(words[0]), height = <i32>parseInt(words[1]);
  const middleX = parseFloat(words[2]), middleY = parseFloat(words[3]);
  const step = parseFloat(words[4]) / width;
  const iterations = <i32>parseInt(words[5]);
  const left = <i32>parseInt(words[6]), top = <i32>parseInt(words[7]);
  const right = min(left + TILE, width), bottom = min(top + TILE, height);
  const output = new Uint8Array(HEAD + (right - left) * (bottom - top));
  store<i32>(output.dataStart, width, 0);
  store<i32>(output.dataStart, height, 4);
  store<i32>(output.dataStart, left, 8);
  store<i32>(output.dataStart, top, 12);
  let at = output.dataStart + HEAD;
  for (let row = top; row < bottom; row++) {
    const y = middleY + (<f64>(2 * row - height) / 2) * step;
    for (let column = left; column < right; column++) {
      const x = middleX + (<f64>(2 * column - width) / 2) * step;
      store<u8>(at++, colour(x, y, iterations));
    }
  }
  return output;
}

// 0 for a point that never runs away; else after how many iterations it does, in a circle of 255.
function colour(x: f64, y: f64, iterations: i32): u8 {
  let re: f64 = 0, im: f64 = 0, re2: f64 = 0, im2: f64 = 0;
  for (let i = 0; i < iterations; i++) {
    im = 2 * re * im + y;
    re = re2 - im2 + x;
    re2 = re * re;
    im2 = im * im;
    if (re2 + im2 > 4) return <u8>(1 + i % 255);
  }
  return 0;
}

function merge(parts: Uint8Array[]): Uint8Array {
  assert(parts.length > 0, "there are no tiles");
  const width = load<i32>(parts[0].dataStart, 0), height = load<i32>(parts[0].dataStart, 4);
  // A row of a PNG begins with how it is filtered: 0, not at all.
  const stride = width + 1;
  const rows = new Uint8Array(stride * height);
  for (let i = 0; i < parts.length; i++) {
    const part = parts[i];
    const left = load<i32>(part.dataStart, 8), top = load<i32>(part.dataStart, 12);
    const across = min(TILE, width - left), down = min(TILE, height - top);
    assert(part.length == HEAD + across * down, "a tile has another size than it should");
    for (let row = 0; row < down; row++) {
      const start = HEAD + row * across;
      rows.set(part.subarray(start, start + across), (top + row) * stride + 1 + left);
    }
  }
  return png(width, height, rows);
}

// ---- PNG (ISO/IEC 15948): one byte per pixel, a palette, and data that is stored, not compressed ----

const STORED_MAX = 65535;
const table = new StaticArray<u32>(256);

class Writer {
  at: usize;
  bytes: Uint8Array;

  constructor(size: i32) {
    this.bytes = new Uint8Array(size);
    this.at = this.bytes.dataStart;
  }

  byte(value: u32): void {
    store<u8>(this.at++, <u8>value);
  }

  number(value: u32): void {
    store<u32>(this.at, bswap(value));
    this.at += 4;
  }

  /** Puts a chunk's length and type, and tells where its type is. */
  begin(len: i32, type: u32): usize {
    this.number(len);
    this.number(type);
    return this.at - 4;
  }

  /** Puts the checksum of what stands there since. */
  end(since: usize): void {
    let crc: u32 = ~0;
    for (let at = since; at < this.at; at++) crc = unchecked(table[(crc ^ load<u8>(at)) & 255]) ^ (crc >> 8);
    this.number(~crc);
  }
}

function png(width: i32, height: i32, rows: Uint8Array): Uint8Array {
  for (let i = 0; i < 256; i++) {
    let value: u32 = i;
    for (let bit = 0; bit < 8; bit++) value = (value >> 1) ^ (value & 1 ? 0xedb88320 : 0);
    table[i] = value;
  }
  const blocks = (rows.length + STORED_MAX - 1) / STORED_MAX;
  const data = 2 + 5 * blocks + rows.length + 4;
  const out = new Writer(8 + (12 + 13) + (12 + 768) + (12 + data) + 12);
  out.number(0x89504e47);
  out.number(0x0d0a1a0a);

  let since = out.begin(13, 0x49484452); // IHDR
  out.number(width);
  out.number(height);
  out.number(0x08030000); // 8 bits, palette, and the only compression and filter there are
  out.byte(0);
  out.end(since);

  since = out.begin(768, 0x504c5445); // PLTE
  for (let i: u32 = 0; i < 256; i++) {
    out.byte(i == 0 ? 0 : wave(i * 5));
    out.byte(i == 0 ? 0 : wave(i * 3 + 40));
    out.byte(i == 0 ? 0 : wave(i * 2 + 120));
  }
  out.end(since);

  since = out.begin(data, 0x49444154); // IDAT
  out.byte(0x78);
  out.byte(0x01);
  let a: u32 = 1, b: u32 = 0;
  for (let start = 0; start < rows.length; start += STORED_MAX) {
    const len = min(STORED_MAX, rows.length - start);
    out.byte(start + len == rows.length ? 1 : 0);
    out.byte(len);
    out.byte(len >> 8);
    out.byte(~len);
    out.byte(~len >> 8);
    memory.copy(out.at, rows.dataStart + start, len);
    out.at += len;
    for (let i = start; i < start + len; i++) {
      a += unchecked(rows[i]);
      b += a;
      // 3,000 steps cannot overflow.
      if (i % 3000 == 0) a %= 65521, b %= 65521;
    }
    a %= 65521;
    b %= 65521;
  }
  out.number((b << 16) | a);
  out.end(since);

  out.end(out.begin(0, 0x49454e44)); // IEND
  return out.bytes;
}

// Up and down between 0 and 255.
function wave(value: u32): u32 {
  const phase = value % 512;
  return phase < 256 ? phase : 511 - phase;
}

export function handle(ptr: usize, len: i32): u64 {
  return job(ptr, len, split, execute, merge);
}
