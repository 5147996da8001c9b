//! The matrix product against three plain loops, to the last bit.

use crate::sandbox::Module;
use bytes::Bytes;
use pangea_protocols::{
    receipt_job::Stage,
    task::{Capabilities, Trap},
};

struct Matrix {
    rows: usize,
    columns: usize,
    numbers: Vec<f64>,
}

impl Matrix {
    /// Numbers of very different sizes, so that another order of summation would show.
    fn made_up(rows: usize, columns: usize, mut seed: u64) -> Self {
        let number = |_| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let size = 10f64.powi((seed >> 60) as i32 - 8);
            ((seed >> 20) as f64 / (1u64 << 43) as f64 - 1.0) * size
        };
        Self { rows, columns, numbers: (0..rows * columns).map(number).collect() }
    }

    fn bytes(&self) -> Vec<u8> {
        let sizes = [self.rows, self.columns].into_iter().flat_map(|size| u32::try_from(size).unwrap().to_le_bytes());
        sizes.chain(self.numbers.iter().flat_map(|number| number.to_le_bytes())).collect()
    }

    fn times(&self, other: &Self) -> Self {
        let mut numbers = Vec::new();
        for row in 0..self.rows {
            for column in 0..other.columns {
                let mut sum = 0.0;
                for at in 0..self.columns {
                    sum += self.numbers[row * self.columns + at] * other.numbers[at * other.columns + column];
                }
                numbers.push(sum);
            }
        }
        Self { rows: self.rows, columns: other.columns, numbers }
    }
}

#[test]
fn products_are_those_of_three_loops() {
    let module = Module::built("matrix");
    assert_eq!(module.imports, Capabilities::NONE);
    for (rows, inner, columns) in [(1, 1, 1), (3, 5, 2), (40, 33, 51), (9, 100, 8), (2, 0, 3), (0, 4, 3), (17, 1, 0)] {
        let (a, b) = (Matrix::made_up(rows, inner, 1), Matrix::made_up(inner, columns, 2));
        let result = module.job(&[a.bytes(), b.bytes()].concat());
        assert!(result == a.times(&b).bytes(), "{rows} x {inner} x {columns}");
    }
}

#[test]
fn a_product_that_does_not_exist_is_refused() {
    let module = Module::built("matrix");
    let (a, b) = (Matrix::made_up(2, 3, 1).bytes(), Matrix::made_up(2, 3, 2).bytes());
    let more = [&a[..], &Matrix::made_up(3, 2, 3).bytes(), b"x"].concat();
    let short = [&a[..], &b[..b.len() - 1]].concat();
    let wild = [u32::MAX.to_le_bytes(), u32::MAX.to_le_bytes()].concat();
    for input in [[&a[..], &b].concat(), more, short, wild, Vec::new()] {
        assert_eq!(module.entry(Stage::Split, (0, 1), &input).trap(), Trap::Unreachable);
    }
    for part in [&b"short"[..], &[0xff; 24], &[0xff; 32]] {
        let list = pangea_compute::envelope::list([Bytes::copy_from_slice(part)].iter());
        module.entry(Stage::Merge, (0, 1), &list).trap();
        module.entry(Stage::Execute, (0, 1), part).trap();
    }
}
