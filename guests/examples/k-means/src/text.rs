//! Reads the text of the input, and the numbers of the outputs.

use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};

/// An input: what its first lines say, and the rest.
pub struct Input<'a> {
    /// How many clusters there shall be; `None` if the middles are given.
    pub clusters: Option<usize>,
    /// The middles, all of one size.
    pub middles: Vec<Vec<f64>>,
    /// The points, not read yet.
    pub rest: &'a str,
}

impl<'a> Input<'a> {
    /// Reads the first lines.
    ///
    /// # Errors
    /// They are not what they should be.
    pub fn read(text: &'a str) -> Result<Self, String> {
        let mut input = Self { clusters: None, middles: Vec::new(), rest: text };
        while let Some((line, rest)) = input.rest.split_once('\n') {
            if let Some(number) = line.strip_prefix("clusters ") {
                let clusters = number.trim().parse().map_err(|_| format!("`{line}`: how many?"))?;
                input.clusters = Some(clusters);
            } else if let Some(middle) = line.strip_prefix("middle ") {
                let size = input.middles.first().map_or(usize::MAX, Vec::len);
                let mut numbers = Vec::new();
                point(middle, size, &mut numbers)?;
                input.middles.push(numbers);
            } else if !line.starts_with('#') {
                break;
            }
            input.rest = rest;
        }
        match input.clusters.is_some() == input.middles.is_empty() {
            true => Ok(input),
            false => Err("the first line says `clusters 5`, or the middles are given, line by line".to_string()),
        }
    }

    /// The lines that hold points.
    pub fn lines(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.rest.lines().filter(|line| !line.is_empty() && !line.starts_with('#'))
    }

    /// All points.
    ///
    /// # Errors
    /// A line is none, or has more or fewer numbers than the first.
    pub fn points(&self) -> Result<Vec<Vec<f64>>, String> {
        let (mut points, mut size) = (Vec::new(), usize::MAX);
        for line in self.lines() {
            let mut numbers = Vec::new();
            point(line, size, &mut numbers)?;
            size = numbers.len();
            points.push(numbers);
        }
        Ok(points)
    }
}

/// Reads a point of `size` numbers; `usize::MAX` stands for any number of them.
///
/// # Errors
/// It is none.
pub fn point(line: &str, size: usize, into: &mut Vec<f64>) -> Result<(), String> {
    into.clear();
    for word in line.split([' ', ',', '\t', '\r']).filter(|word| !word.is_empty()) {
        match word.parse::<f64>() {
            Ok(number) if number.is_finite() => into.push(number),
            _ => return Err(format!("`{word}` is no number, in the line `{line}`")),
        }
    }
    if size != usize::MAX && into.len() != size {
        return Err(format!("`{line}` has {} numbers; others have {size}", into.len()));
    }
    Ok(())
}

/// The numbers of an output.
pub fn numbers(bytes: &[u8]) -> impl Iterator<Item = f64> {
    bytes.chunks_exact(8).map(|bytes| f64::from_le_bytes(core::array::from_fn(|at| bytes[at])))
}
