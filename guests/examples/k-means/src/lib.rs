//! k-means: a round of it per job, until the middles do not move any more. `k-means.sh` runs the rounds.
//!
//! The input is text. Its first lines are `clusters 5`, or `middle 1.5 2.25` for each cluster, as the round before
//! prints them; a line that begins with `#` is left out. Then comes a point per line: its coordinates with spaces or
//! commas between.
//!
//! ```text
//! split     the text ─▶ pieces of it with the middles before each; the first time the middles are chosen
//! execute   a piece ─▶ per cluster: how many points are nearest to its middle, and their sums
//! merge     ─▶ "# round" line, then the new middles
//! ```
//! The first middles are chosen by k-means++ (Arthur, Vassilvitskii 2007) from a fixed seed: equal inputs give equal
//! clusters. Sums are added up in the order of pieces: the same bits on every machine.

#![cfg_attr(target_arch = "wasm32", no_std)]

extern crate alloc;

mod text;

use alloc::{
    format,
    string::{String, ToString},
    vec,
    vec::Vec,
};
use core::fmt::Write;
use pangea_guest::{Parts, execute, merge, split};
use text::Input;

/// About so many bytes are a piece.
const PIECE: usize = 256 << 10;
/// Most clusters.
const CLUSTERS_MAX: usize = 1024;

#[split]
pub fn pieces(text: &str) -> Result<Vec<String>, String> {
    let input = Input::read(text)?;
    let middles = match input.clusters {
        Some(clusters) => first_middles(&input.points()?, clusters.min(CLUSTERS_MAX)),
        None => input.middles,
    };
    let mut head = String::new();
    put_middles(&mut head, &middles);
    let (mut pieces, mut rest) = (Vec::new(), input.rest);
    while !rest.is_empty() {
        let most = rest.as_bytes().get(PIECE..).map_or(rest.len(), |beyond| {
            PIECE + beyond.iter().position(|byte| *byte == b'\n').map_or(beyond.len(), |at| at + 1)
        });
        let (piece, after) = rest.split_at(most);
        pieces.push(format!("{head}{piece}"));
        rest = after;
    }
    Ok(pieces)
}

/// Points as far from each other as chance has it.
fn first_middles(points: &[Vec<f64>], clusters: usize) -> Vec<Vec<f64>> {
    let mut middles: Vec<Vec<f64>> = points.first().cloned().into_iter().collect();
    let mut distances = vec![f64::INFINITY; points.len()];
    let mut state = 0u64;
    while middles.len() < clusters.min(points.len()) {
        let last = &middles[middles.len() - 1];
        let mut sum = 0.0;
        for (distance, point) in distances.iter_mut().zip(points) {
            *distance = distance.min(squared(point, last));
            sum += *distance;
        }
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        // A number in [0, 1) of the upper bits.
        let mut left = sum * ((state >> 11) as f64 / (1u64 << 53) as f64);
        let chosen = distances.iter().position(|distance| {
            left -= distance;
            left < 0.0
        });
        // All points are middles already, or rounding has lost the last one.
        let Some(chosen) = chosen else { break };
        middles.push(points[chosen].clone());
    }
    middles
}

fn squared(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).fold(0.0, |sum, (a, b)| sum + (a - b) * (a - b))
}

fn put_middles(into: &mut String, middles: &[Vec<f64>]) {
    for middle in middles {
        into.push_str("middle");
        for number in middle {
            // The shortest text that reads back as the same number; writing into a `String` cannot fail.
            let _ = write!(into, " {number}");
        }
        into.push('\n');
    }
}

#[execute]
pub fn nearest(text: &str) -> Result<Vec<u8>, String> {
    let input = Input::read(text)?;
    let middles = &input.middles;
    let size = middles.first().map_or(0, Vec::len);
    let mut clusters = vec![Cluster { points: 0, sums: vec![0.0; size] }; middles.len()];
    let mut distance = 0.0;
    let mut point = Vec::with_capacity(size);
    for line in input.lines() {
        text::point(line, size, &mut point)?;
        let (mut best, mut least) = (0, f64::INFINITY);
        for (at, middle) in middles.iter().enumerate() {
            let squared = squared(&point, middle);
            if squared < least {
                (best, least) = (at, squared);
            }
        }
        let cluster = clusters.get_mut(best).ok_or("a piece has no middles")?;
        cluster.points += 1;
        cluster.sums.iter_mut().zip(&point).for_each(|(sum, number)| *sum += number);
        distance += least;
    }
    let mut output = Vec::new();
    put(&mut output, &[middles.len() as f64, size as f64, distance]);
    for (middle, cluster) in middles.iter().zip(&clusters) {
        put(&mut output, middle);
        put(&mut output, &[cluster.points as f64]);
        put(&mut output, &cluster.sums);
    }
    Ok(output)
}

/// The points that are nearest to a middle.
#[derive(Clone)]
struct Cluster {
    points: u64,
    sums: Vec<f64>,
}

fn put(into: &mut Vec<u8>, numbers: &[f64]) {
    numbers.iter().for_each(|number| into.extend_from_slice(&number.to_le_bytes()));
}

#[merge]
pub fn new_middles(parts: Parts) -> Result<String, String> {
    let parts: Vec<Vec<f64>> = parts.map(|part| text::numbers(part).collect()).collect();
    let wrong = || "these are not the pieces of one round".to_string();
    let [clusters, size, ..] = parts.first().ok_or("there are no points")?[..] else { return Err(wrong()) };
    let (clusters, size) = (clusters as usize, size as usize);
    if clusters > CLUSTERS_MAX || size > PIECE || parts.iter().any(|part| part.len() != 3 + clusters * (2 * size + 1)) {
        return Err(wrong());
    }
    let (mut middles, mut all, mut distance, mut moved) = (Vec::new(), 0, 0.0, 0.0f64);
    for part in &parts {
        distance += part[2];
    }
    for cluster in 0..clusters {
        let start = 3 + cluster * (2 * size + 1);
        let old = &parts[0][start..start + size];
        let mut sum = Cluster { points: 0, sums: vec![0.0; size] };
        for part in &parts {
            sum.points += part[start + size] as u64;
            sum.sums.iter_mut().zip(&part[start + size + 1..]).for_each(|(sum, more)| *sum += more);
        }
        // A middle that no point is nearest to stays where it is.
        let middle = match sum.points {
            0 => old.to_vec(),
            points => sum.sums.iter().map(|sum| sum / points as f64).collect(),
        };
        moved = moved.max(squared(&middle, old));
        all += sum.points;
        middles.push(middle);
    }
    let mut result = format!("# {all} points, squared distances {distance}, a middle moved by up to {}\n", root(moved));
    put_middles(&mut result, &middles);
    Ok(result)
}

/// The square root, which `core` does not have: Newton's method from above, until it does not fall any more.
fn root(square: f64) -> f64 {
    if square == 0.0 || !square.is_finite() {
        return square;
    }
    let mut root = square.max(1.0);
    loop {
        let next = (root + square / root) / 2.0;
        if next >= root {
            return root;
        }
        root = next;
    }
}
