//! Mandelbrot, which is written in AssemblyScript, pixel by pixel, and its PNG chunk by chunk.

use crate::sandbox::Module;
use pangea_protocols::{
    receipt_job::Stage,
    task::{Capabilities, Trap},
};

/// The colour of every pixel.
fn expected((width, height): (usize, usize), (x, y): (f64, f64), across: f64, iterations: u32) -> Vec<u8> {
    let step = across / width as f64;
    let mut pixels = Vec::with_capacity(width * height);
    for row in 0..height {
        let c_im = y + (row as f64 - height as f64 / 2.0) * step;
        for column in 0..width {
            let c_re = x + (column as f64 - width as f64 / 2.0) * step;
            let (mut re, mut im) = (0.0, 0.0);
            let escapes = (0..iterations).find(|_| {
                (re, im) = (re * re - im * im + c_re, 2.0 * re * im + c_im);
                re * re + im * im > 4.0
            });
            pixels.push(escapes.map_or(0, |after| (1 + after % 255) as u8));
        }
    }
    pixels
}

/// Reads a PNG of the kind that the module makes: size and pixels. Every length and checksum is checked.
fn read_png(png: &[u8]) -> ((usize, usize), Vec<u8>) {
    let mut rest = png.strip_prefix(b"\x89PNG\r\n\x1a\n").expect("a PNG");
    let mut chunks = Vec::new();
    while !rest.is_empty() {
        let len = u32::from_be_bytes(rest[..4].try_into().unwrap()) as usize;
        let (body, after) = rest[4..].split_at(4 + len);
        assert_eq!(u32::from_be_bytes(after[..4].try_into().unwrap()), crc32fast::hash(body));
        chunks.push((body[..4].to_vec(), body[4..].to_vec()));
        rest = &after[4..];
    }
    let names: Vec<&[u8]> = chunks.iter().map(|(name, _)| name.as_slice()).collect();
    assert_eq!(names, [b"IHDR", b"PLTE", b"IDAT", b"IEND"]);
    let number = |at: usize| u32::from_be_bytes(chunks[0].1[at..at + 4].try_into().unwrap()) as usize;
    let (width, height) = (number(0), number(4));
    assert_eq!(chunks[0].1[8..], [8, 3, 0, 0, 0]);
    assert_eq!((chunks[1].1.len(), &chunks[1].1[..3]), (768, &[0; 3][..]));
    let rows = inflate_stored(&chunks[2].1);
    assert_eq!(rows.len(), (width + 1) * height);
    let pixels = rows.chunks(width + 1).flat_map(|row| {
        assert_eq!(row[0], 0, "no filter");
        row[1..].to_vec()
    });
    ((width, height), pixels.collect())
}

/// A zlib stream of stored blocks (RFC 1950, RFC 1951).
fn inflate_stored(zlib: &[u8]) -> Vec<u8> {
    let (mut rest, mut data) = (zlib.strip_prefix(b"\x78\x01").expect("a zlib head"), Vec::new());
    loop {
        let last = rest[0] == 1;
        let len = u16::from_le_bytes([rest[1], rest[2]]);
        assert_eq!(!len, u16::from_le_bytes([rest[3], rest[4]]));
        data.extend(&rest[5..5 + usize::from(len)]);
        rest = &rest[5 + usize::from(len)..];
        if last {
            break;
        }
    }
    let (a, b) = data.iter().fold((1u32, 0u32), |(a, b), byte| {
        let a = (a + u32::from(*byte)) % 65_521;
        (a, (b + a) % 65_521)
    });
    assert_eq!(rest, (b << 16 | a).to_be_bytes());
    data
}

/// Settings, and what they mean: size, middle, span, iterations.
type Case = (&'static str, (usize, usize), (f64, f64), f64, u32);

#[test]
fn every_pixel_is_what_this_processor_computes() {
    let module = Module::built("mandelbrot");
    assert_eq!(module.imports, Capabilities::NONE);
    // Odd sizes, one tile and several, and one that needs two blocks of data.
    let table: [Case; 3] = [
        ("width 200\nheight 131\niterations 60\n", (200, 131), (-0.5, 0.0), 3.2, 60),
        (
            "  width 31\n\nheight 7\nx -0.743643887\ny 0.131825904\nacross 1e-4\niterations 300",
            (31, 7),
            (-0.743643887, 0.131825904),
            1e-4,
            300,
        ),
        ("width 300\nheight 260\nacross 8.5\niterations 3", (300, 260), (-0.5, 0.0), 8.5, 3),
    ];
    for (settings, size, middle, across, iterations) in table {
        let (found, pixels) = read_png(&module.job(settings.as_bytes()));
        assert_eq!(found, size);
        assert!(pixels == expected(size, middle, across, iterations), "{settings}");
    }
}

#[test]
fn without_settings_there_is_a_picture_as_well_and_wrong_ones_trap() {
    let module = Module::built("mandelbrot");
    assert_eq!(module.split(b"").len(), 5 * 4, "640 x 480 in tiles of 128 x 128");
    for wrong in ["width 0", "width 5000", "height -1", "depth 3", "width"] {
        assert_eq!(module.entry(Stage::Split, (0, 1), wrong.as_bytes()).trap(), Trap::Unreachable, "{wrong}");
    }
    assert_eq!(module.entry(Stage::Execute, (0, 1), b"no tile").trap(), Trap::Unreachable);
    assert_eq!(module.run(b"no envelope").trap(), Trap::Unreachable);
}
