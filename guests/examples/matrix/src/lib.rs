//! Matrix product: C = A B, block by block.
//!
//! A matrix is its rows and its columns (4 bytes each, little endian), then its numbers row by row (`f64`, little
//! endian). The input is A, then B. The result is a matrix again, so products can be chained.
//!
//! ```text
//! split     A and B ─▶ for each block of C: where it is, its rows of A, its columns of B
//! execute   ─▶ where it is, and its numbers
//! merge     blocks ─▶ C
//! ```
//! Each number of C is summed up in the order of A's columns: the same to the last bit as in three plain loops.

#![cfg_attr(target_arch = "wasm32", no_std)]

extern crate alloc;

use alloc::{
    format,
    string::{String, ToString},
    vec,
    vec::Vec,
};
use pangea_guest::{Parts, execute, merge, split};

/// What all chunks may take together: below the most that a module may return.
const CHUNKS_BYTES: usize = 12 << 20;
/// Most blocks along a side of C.
const BLOCKS_MAX: usize = 8;
/// Columns of C that are summed up at once: a number of A is read once for all of them.
const WIDE: usize = 4;

/// Where a block is in C, and how large C is.
struct Place {
    top: usize,
    left: usize,
    rows: usize,
    columns: usize,
    all_rows: usize,
    all_columns: usize,
}

#[split]
pub fn blocks(input: &[u8]) -> Result<Vec<Vec<u8>>, String> {
    let mut rest = input;
    let (rows, inner, a) = take_matrix(&mut rest).ok_or("the input is a matrix A and a matrix B; A is cut short")?;
    let (other, columns, b) = take_matrix(&mut rest).ok_or("the input is a matrix A and a matrix B; B is cut short")?;
    if inner != other || !rest.is_empty() {
        return Err(format!(
            "A is {rows} x {inner} and B is {other} x {columns}: they have no product, or more follows"
        ));
    }
    // The more blocks, the more often strips of A and B are sent.
    let size = |side: usize| 8 * inner * side * (rows + columns);
    let side = (1..=BLOCKS_MAX).rev().find(|side| size(*side) <= CHUNKS_BYTES);
    let side = side.ok_or_else(|| format!("A and B have {} bytes: {CHUNKS_BYTES} are the most", size(1)))?;
    let (row_step, column_step) = (rows.div_ceil(side).max(1), columns.div_ceil(side).max(1));
    let mut chunks = Vec::new();
    for top in (0..rows.max(1)).step_by(row_step) {
        for left in (0..columns.max(1)).step_by(column_step) {
            let (block_rows, block_columns) = (row_step.min(rows - top), column_step.min(columns - left));
            let place =
                Place { top, left, rows: block_rows, columns: block_columns, all_rows: rows, all_columns: columns };
            let mut chunk = Vec::with_capacity(24 + 8 * inner * (block_rows + block_columns));
            place.put(&mut chunk);
            chunk.extend_from_slice(&a[8 * top * inner..][..8 * block_rows * inner]);
            for row in 0..inner {
                chunk.extend_from_slice(&b[8 * (row * columns + left)..][..8 * block_columns]);
            }
            chunks.push(chunk);
        }
    }
    Ok(chunks)
}

#[execute]
pub fn multiply(chunk: &[u8]) -> Result<Vec<u8>, String> {
    let mut rest = chunk;
    let place = Place::take(&mut rest).ok_or("this is not a block of the split")?;
    let numbers: Vec<f64> = numbers(rest).collect();
    let inner = numbers.len() / (place.rows + place.columns).max(1);
    if inner * (place.rows + place.columns) * 8 != rest.len() {
        return Err("this is not a block of the split".to_string());
    }
    let (a, b) = numbers.split_at(inner * place.rows);
    let mut output = Vec::with_capacity(24 + 8 * place.rows * place.columns);
    place.put(&mut output);
    // Columns of B one after another, so that what is summed up stands side by side: four of them, row by row.
    let strips: Vec<Vec<[f64; WIDE]>> = (0..place.columns.div_ceil(WIDE))
        .map(|strip| {
            let row = |row: &[f64]| core::array::from_fn(|wide| row.get(strip * WIDE + wide).copied().unwrap_or(0.0));
            b.chunks_exact(place.columns).map(row).collect()
        })
        .collect();
    for row in 0..place.rows {
        let row = &a[row * inner..][..inner];
        for (strip, columns) in strips.iter().enumerate() {
            let sums = row
                .iter()
                .zip(columns)
                .fold([0.0; WIDE], |[x, y, z, w], (a, [b, c, d, e])| [x + a * b, y + a * c, z + a * d, w + a * e]);
            for sum in sums.iter().take(place.columns - strip * WIDE) {
                output.extend_from_slice(&sum.to_le_bytes());
            }
        }
    }
    Ok(output)
}

#[merge]
pub fn join(parts: Parts) -> Result<Vec<u8>, &'static str> {
    const WRONG: &str = "these are not the blocks of one product";
    let mut product: Option<(usize, usize, Vec<u8>)> = None;
    for mut part in parts {
        let place = Place::take(&mut part).ok_or(WRONG)?;
        let (rows, columns, whole) = product.get_or_insert_with(|| {
            let size = place.all_rows.saturating_mul(place.all_columns).saturating_mul(8);
            (place.all_rows, place.all_columns, vec![0; size])
        });
        let fits = (*rows, *columns) == (place.all_rows, place.all_columns)
            && place.top + place.rows <= *rows
            && place.left + place.columns <= *columns
            && part.len() == 8 * place.rows * place.columns;
        if !fits {
            return Err(WRONG);
        }
        for (row, numbers) in part.chunks_exact((8 * place.columns).max(1)).enumerate() {
            let start = 8 * ((place.top + row) * *columns + place.left);
            whole[start..start + numbers.len()].copy_from_slice(numbers);
        }
    }
    let (rows, columns, numbers) = product.ok_or(WRONG)?;
    let mut result = Vec::with_capacity(8 + numbers.len());
    put_sizes(&mut result, [rows, columns]);
    result.extend_from_slice(&numbers);
    Ok(result)
}

impl Place {
    fn put(&self, into: &mut Vec<u8>) {
        put_sizes(into, [self.top, self.left, self.rows, self.columns, self.all_rows, self.all_columns]);
    }

    fn take(from: &mut &[u8]) -> Option<Self> {
        let mut size = || take_size(from);
        let (top, left, rows, columns) = (size()?, size()?, size()?, size()?);
        Some(Self { top, left, rows, columns, all_rows: size()?, all_columns: size()? })
    }
}

fn put_sizes<const N: usize>(into: &mut Vec<u8>, sizes: [usize; N]) {
    // All of them come from four bytes.
    sizes.iter().for_each(|size| into.extend_from_slice(&(*size as u32).to_le_bytes()));
}

fn take_size(from: &mut &[u8]) -> Option<usize> {
    let (size, rest) = from.split_first_chunk()?;
    *from = rest;
    usize::try_from(u32::from_le_bytes(*size)).ok()
}

/// Rows, columns, and the bytes of the numbers.
fn take_matrix<'a>(from: &mut &'a [u8]) -> Option<(usize, usize, &'a [u8])> {
    let (rows, columns) = (take_size(from)?, take_size(from)?);
    let (numbers, rest) = from.split_at_checked(rows.checked_mul(columns)?.checked_mul(8)?)?;
    *from = rest;
    Some((rows, columns, numbers))
}

fn numbers(bytes: &[u8]) -> impl Iterator<Item = f64> {
    bytes.chunks_exact(8).map(|bytes| f64::from_le_bytes(core::array::from_fn(|at| bytes[at])))
}
