//! The code as a matrix, and its inverse for one erasure pattern.
//!
//! Reed–Solomon parity is linear over GF(2): every parity element is a sum of images of data bits. So the code is
//! learned by encoding unit vectors, without knowing the field's polynomial, basis or FFT layout, and is right for
//! whatever the encoder does. Elements are 16 bits; a [`Block`] is a 16 × 16 bit matrix. Not here: applying a matrix
//! to shards (`dot`).

use reed_solomon_simd::ReedSolomonEncoder;

/// A linear map of 16 bits: the image of every input bit.
pub(crate) type Block = [u16; 16];

const ZERO: Block = [0; 16];

/// The generator of a code: m × k blocks, row by row.
pub(crate) struct Code {
    k: usize,
    blocks: Vec<Block>,
}

impl Code {
    /// Learns the code (k, m) from the encoder; `None` if there is no such code.
    pub(crate) fn new(k: usize, m: usize) -> Option<Self> {
        let mut blocks = vec![ZERO; m * k];
        let mut encoder = ReedSolomonEncoder::new(k, m, 64).ok()?;
        for column in 0..k {
            // A shard of 64 bytes holds 32 elements, low bytes first, then high bytes: element b is unit vector b.
            let mut unit = [0u8; 64];
            for bit in 0..8 {
                unit[bit] = 1 << bit;
                unit[32 + 8 + bit] = 1 << bit;
            }
            for index in 0..k {
                encoder.add_original_shard(if index == column { unit } else { [0; 64] }).ok()?;
            }
            let made = encoder.encode().ok()?;
            for (row, shard) in made.recovery_iter().enumerate() {
                let elements = (0..16).map(|bit| u16::from_le_bytes([shard[bit], shard[32 + bit]]));
                blocks[row * k + column].iter_mut().zip(elements).for_each(|(to, element)| *to = element);
            }
        }
        Some(Self { k, blocks })
    }

    /// All blocks: the matrix that makes the parity of the data.
    pub(crate) fn blocks(&self) -> &[Block] {
        &self.blocks
    }

    fn block(&self, row: usize, column: usize) -> &Block {
        &self.blocks[row * self.k + column]
    }
}

/// The matrix that gives the `lost` data shards: |lost| rows of k blocks. Its columns stand for the data shards that
/// are there, ascending, then for the `parity` rows that are used, of which there are as many as are lost.
///
/// `None` if the pattern has no solution, which a maximum-distance code excludes.
pub(crate) fn recovery(code: &Code, lost: &[usize], parity: &[usize]) -> Option<Vec<Block>> {
    let inverse = invert(code, lost, parity)?;
    let n = lost.len();
    let mut rows = Vec::with_capacity(n * code.k);
    for row in inverse.chunks_exact(n) {
        for column in (0..code.k).filter(|column| !lost.contains(column)) {
            let mut sum = ZERO;
            for (left, used) in row.iter().zip(parity) {
                let product = multiply(left, code.block(*used, column));
                sum.iter_mut().zip(product).for_each(|(sum, product)| *sum ^= product);
            }
            rows.push(sum);
        }
        rows.extend_from_slice(row);
    }
    Some(rows)
}

/// The image of `element`.
pub(crate) fn apply(block: &Block, element: u16) -> u16 {
    (0..16).filter(|bit| element >> bit & 1 == 1).fold(0, |sum, bit| sum ^ block[bit])
}

/// First `right`, then `left`.
fn multiply(left: &Block, right: &Block) -> Block {
    right.map(|image| apply(left, image))
}

/// Inverts the blocks (parity × lost) by Gauss–Jordan elimination over bits; the result is lost × parity.
fn invert(code: &Code, lost: &[usize], parity: &[usize]) -> Option<Vec<Block>> {
    let n = lost.len();
    let width = 16 * n;
    let words = (2 * width).div_ceil(64);
    // Row r: output bit r of the blocks, then the identity.
    let mut rows = vec![vec![0u64; words]; width];
    for (r, used) in parity.iter().enumerate() {
        for (c, missing) in lost.iter().enumerate() {
            for (input, image) in code.block(*used, *missing).iter().enumerate() {
                for output in (0..16).filter(|output| image >> output & 1 == 1) {
                    set(&mut rows[16 * r + output], 16 * c + input);
                }
            }
        }
    }
    for (r, row) in rows.iter_mut().enumerate() {
        set(row, width + r);
    }
    for column in 0..width {
        let pivot = (column..width).find(|row| get(&rows[*row], column))?;
        rows.swap(column, pivot);
        let pivot = rows[column].clone();
        for (r, row) in rows.iter_mut().enumerate() {
            if r != column && get(row, column) {
                row.iter_mut().zip(&pivot).for_each(|(to, from)| *to ^= from);
            }
        }
    }
    let mut inverse = vec![ZERO; n * n];
    for (r, row) in rows.iter().enumerate() {
        for column in (0..width).filter(|column| get(row, width + column)) {
            inverse[r / 16 * n + column / 16][column % 16] |= 1 << (r % 16);
        }
    }
    Some(inverse)
}

fn get(row: &[u64], bit: usize) -> bool {
    row[bit / 64] >> (bit % 64) & 1 == 1
}

fn set(row: &mut [u64], bit: usize) {
    row[bit / 64] |= 1 << (bit % 64);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_recovery_matrix_solves_the_code_element_by_element() {
        let code = Code::new(4, 3).unwrap();
        let data = [0x1234u16, 0xfeed, 0x0001, 0x8000];
        let parity: Vec<u16> = (0..3)
            .map(|row| (0..4).fold(0, |sum, column| sum ^ apply(code.block(row, column), data[column])))
            .collect();
        let matrix = recovery(&code, &[0, 2], &[1, 2]).unwrap();
        let sources = [data[1], data[3], parity[1], parity[2]];
        let solved: Vec<u16> = matrix
            .chunks_exact(4)
            .map(|row| row.iter().zip(sources).fold(0, |sum, (block, source)| sum ^ apply(block, source)))
            .collect();
        assert_eq!(solved, [data[0], data[2]]);
    }
}
