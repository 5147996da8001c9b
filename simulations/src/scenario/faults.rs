//! What goes wrong: from `[[fault]]` and `[[churn]]` to a schedule. What a fault leaves out is drawn; what it says and
//! has no use for is an error, as it would otherwise be believed.

use super::{
    draw::{EVENTS_MAX, group, target},
    file::{ChurnSpec, FaultSpec, Scenario},
    units::Range,
};
use crate::{
    plan::{Act, Conduct, DiskFate, DiskFault, Fault, Plan},
    record::NodeId,
};
use pangea_kernel::{Draw, Seed};

/// Kinds that `fault = "any"` draws from: those that every scenario can stand.
const ANY: [&str; 9] =
    ["latency", "loss", "reorder", "duplicate", "partition", "bandwidth", "crash", "pause", "slow-disk"];
/// All kinds, for errors.
const KINDS: &str = "latency, loss, reorder, duplicate, partition, bandwidth, mtu-black-hole, rebind, end-guests, crash, pause, \
     skew, slow-disk, full-disk, lying-sync, disk-errors, misdirected-write, bit-rot, byzantine, eclipse, any";

/// The fields that a kind uses, beside `fault`, `count`, `at`, `lasts`, `rolling`.
fn uses(kind: &str) -> Option<&'static [&'static str]> {
    Some(match kind {
        "latency" => &["from", "to", "by"],
        "loss" | "duplicate" => &["from", "to", "rate"],
        "reorder" => &["from", "to", "rate", "by"],
        "partition" => &["from", "to", "one_way"],
        "bandwidth" => &["who", "bytes", "queue"],
        "mtu-black-hole" => &["from", "to", "bytes"],
        "crash" => &["who", "disk"],
        "skew" => &["who", "by", "drift_ppm"],
        "slow-disk" => &["who", "by"],
        "rebind" | "end-guests" | "pause" | "full-disk" | "lying-sync" | "disk-errors" | "misdirected-write"
        | "bit-rot" => &["who"],
        "byzantine" => &["who", "how"],
        "eclipse" => &["who", "of"],
        "any" => &["who"],
        _ => return None,
    })
}

pub(super) fn draw(scenario: &Scenario, root: &Seed, puts: &[Vec<u32>], plan: &mut Plan) -> Result<(), String> {
    for (number, spec) in scenario.faults.iter().enumerate() {
        check(spec)?;
        let seed = root.derive("fault").derive(&number.to_string());
        let count = spec.count.draw_whole(&mut seed.draw());
        let mut first = 0;
        for item in 0..count {
            let mut draw = seed.derive(&item.to_string()).draw();
            let mut at = spec.at.draw_whole(&mut draw);
            if let Some(step) = spec.rolling {
                first = if item == 0 { at } else { first + step.draw_whole(&mut draw) };
                at = first;
            }
            let lasts = spec.lasts.map(|lasts| lasts.draw_whole(&mut draw).max(1));
            let act = act(plan, spec, item, puts, &mut draw)?;
            add(plan, at, lasts.map(|lasts| at + lasts), act)?;
        }
    }
    for (number, spec) in scenario.churns.iter().enumerate() {
        churn(plan, spec, &root.derive("churn").derive(&number.to_string()))?;
    }
    plan.faults.sort_by_key(|fault| (fault.at_ms, fault.id));
    Ok(())
}

fn check(spec: &FaultSpec) -> Result<(), String> {
    let given = [
        ("who", spec.who.is_some()),
        ("from", spec.from.is_some()),
        ("to", spec.to.is_some()),
        ("one_way", spec.one_way),
        ("rate", spec.rate.is_some()),
        ("by", spec.by.is_some()),
        ("drift_ppm", spec.drift_ppm != 0),
        ("bytes", spec.bytes.is_some()),
        ("queue", spec.queue.is_some()),
        ("disk", spec.disk.is_some()),
        ("how", spec.how.is_some()),
        ("of", spec.of.is_some()),
    ];
    let kinds = spec.fault.all();
    for kind in &kinds {
        uses(kind).ok_or_else(|| format!("`{kind}` is no kind of fault; there are: {KINDS}"))?;
    }
    for (field, _) in given.iter().filter(|(_, given)| *given) {
        if !kinds.iter().filter_map(|kind| uses(kind)).any(|fields| fields.contains(field)) {
            return Err(format!("a fault `{}` has no use for `{field}`", kinds.join("`, `")));
        }
    }
    Ok(())
}

fn add(plan: &mut Plan, at_ms: u64, until_ms: Option<u64>, act: Act) -> Result<(), String> {
    if plan.faults.len() >= EVENTS_MAX {
        return Err(format!("more than {EVENTS_MAX} faults"));
    }
    if at_ms < plan.calm_ms {
        let id = u32::try_from(plan.faults.len()).unwrap_or(u32::MAX);
        plan.faults.push(Fault { id, at_ms, until_ms: until_ms.map(|until| until.min(plan.calm_ms)), act });
    }
    Ok(())
}

fn act(plan: &Plan, spec: &FaultSpec, item: u64, puts: &[Vec<u32>], draw: &mut Draw) -> Result<Act, String> {
    let mut kinds = spec.fault.all();
    if kinds.iter().any(|kind| kind == "any") {
        kinds = ANY.map(str::to_owned).to_vec();
    }
    let kind = draw.choose(&kinds).cloned().unwrap_or_default();
    let [low, high] = spec.rate.unwrap_or([0.01, 0.3]);
    let rate = low + (high - low) * draw.unit();
    let by_ms = spec.by.map(|by| by.draw(draw));
    let drawn_ms = 20.0 + 480.0 * draw.unit();
    Ok(match kind.as_str() {
        "latency" | "loss" | "reorder" | "duplicate" | "partition" | "mtu-black-hole" => {
            let (from, to) = sides(plan, spec, kind == "partition", draw)?;
            let by_ms = by_ms.unwrap_or(drawn_ms);
            match kind.as_str() {
                "latency" => Act::Latency { from, to, extra_ms: by_ms, jitter_ms: by_ms / 2.0 },
                "loss" => Act::Loss { from, to, rate },
                "reorder" => Act::Reorder { from, to, rate, by_ms },
                "duplicate" => Act::Duplicate { from, to, rate },
                "partition" => Act::Partition { from, to, one_way: spec.one_way },
                _ => Act::MtuBlackHole { from, to, bytes: spec.bytes.map_or(1250, |bytes| bytes.draw_whole(draw)) },
            }
        }
        "eclipse" => Act::Eclipse { nodes: group(plan, spec.who.as_ref(), draw)?, of: target(puts, spec.of, draw)? },
        kind => on_nodes(kind, nodes(plan, spec, item, draw)?, spec, by_ms, draw),
    })
}

fn on_nodes(kind: &str, nodes: Vec<NodeId>, spec: &FaultSpec, by_ms: Option<f64>, draw: &mut Draw) -> Act {
    match kind {
        "bandwidth" => Act::Bandwidth {
            nodes,
            bytes_per_s: spec.bytes.unwrap_or(Range::new(20_000.0, 500_000.0)).draw_whole(draw),
            queue_bytes: spec.queue.map_or(256 << 10, |queue| queue.draw_whole(draw)),
        },
        "rebind" => Act::Rebind { nodes },
        "end-guests" => Act::EndGuests { nodes },
        "crash" => Act::Crash { nodes, disk: spec.disk.unwrap_or_else(|| fate(draw)) },
        "pause" => Act::Pause { nodes },
        "skew" => {
            let by_s = by_ms.map_or_else(|| 7_200.0 * (draw.unit() - 0.5), |by| by / 1e3);
            Act::Skew { nodes, by_s: by_s as i64, drift_ppm: spec.drift_ppm }
        }
        "slow-disk" => Act::Disk { nodes, how: DiskFault::Slow { sync_ms: by_ms.unwrap_or(400.0) as u64 } },
        "full-disk" => Act::Disk { nodes, how: DiskFault::Full },
        "lying-sync" => Act::Disk { nodes, how: DiskFault::LyingSync },
        "disk-errors" => Act::Disk { nodes, how: DiskFault::Errors },
        "misdirected-write" => Act::Disk { nodes, how: DiskFault::Misdirected },
        "bit-rot" => Act::Disk { nodes, how: DiskFault::Rot { places: 1 + u32::try_from(draw.below(8)).unwrap_or(0) } },
        _ => Act::Byzantine { nodes, how: spec.how.unwrap_or_else(|| conduct(draw)) },
    }
}

fn fate(draw: &mut Draw) -> DiskFate {
    [DiskFate::Kept, DiskFate::Torn, DiskFate::Lost][usize::try_from(draw.below(3)).unwrap_or(0)]
}

fn conduct(draw: &mut Draw) -> Conduct {
    let all = [
        Conduct::Lying,
        Conduct::Withholding,
        Conduct::Corrupting,
        Conduct::Stalling,
        Conduct::FreeRiding,
        Conduct::Babbling,
    ];
    draw.choose(&all).copied().unwrap_or(Conduct::Lying)
}

/// Whom it hits: one node unless it says otherwise; with `rolling`, one of them after the other.
fn nodes(plan: &Plan, spec: &FaultSpec, item: u64, draw: &mut Draw) -> Result<Vec<NodeId>, String> {
    if spec.rolling.is_none() {
        return match &spec.who {
            Some(_) => group(plan, spec.who.as_ref(), draw),
            None => {
                let all = group(plan, None, draw)?;
                Ok(draw.choose(&all).copied().into_iter().collect())
            }
        };
    }
    let all = group(plan, spec.who.as_ref(), draw)?;
    let at = usize::try_from(item).unwrap_or(0) % all.len().max(1);
    Ok(all.get(at).copied().into_iter().collect())
}

/// The two sides of a line; left out, one side of a partition is a random part, and other faults hit all.
fn sides(plan: &Plan, spec: &FaultSpec, split: bool, draw: &mut Draw) -> Result<(Vec<NodeId>, Vec<NodeId>), String> {
    let side = |who: &Option<super::file::Who>, draw: &mut Draw| match who {
        Some(_) => group(plan, who.as_ref(), draw),
        None => Ok(Vec::new()),
    };
    let (mut from, mut to) = (side(&spec.from, draw)?, side(&spec.to, draw)?);
    if split && from.is_empty() {
        let mut all = group(plan, None, draw)?;
        draw.shuffle(&mut all);
        let half = all.len() as u64 / 2;
        all.truncate(1 + usize::try_from(draw.below(half.max(1))).unwrap_or(0));
        all.sort_unstable();
        from = all;
    }
    if split && to.is_empty() {
        to = plan.nodes.iter().map(|node| node.id).filter(|id| !from.contains(id)).collect();
    }
    Ok((from, to))
}

/// Lifetimes and absences of a heavy tail: Pareto with the given median and exponent, as measured of peers in the wild
/// (Stutzbach and Rejaie, "Understanding churn in peer-to-peer networks", 2006).
fn churn(plan: &mut Plan, spec: &ChurnSpec, seed: &Seed) -> Result<(), String> {
    let nodes = group(plan, Some(&spec.who), &mut seed.draw())?;
    for node in nodes {
        let mut draw = seed.derive(&node.to_string()).draw();
        let began = plan.node(node).and_then(|node| node.start_ms).unwrap_or(0) as f64;
        // In the middle of a life, at a random place of it: not all nodes leave together.
        let mut at = spec.during.low.max(began) + pareto(spec.up.draw(&mut draw), spec.tail, &mut draw) * draw.unit();
        while at < spec.during.high {
            let away = pareto(spec.down.draw(&mut draw), spec.tail, &mut draw).max(1.0);
            let disk = spec.disk.unwrap_or_else(|| fate(&mut draw));
            add(plan, at as u64, Some((at + away) as u64), Act::Crash { nodes: vec![node], disk })?;
            at += away + pareto(spec.up.draw(&mut draw), spec.tail, &mut draw).max(1.0);
        }
    }
    Ok(())
}

fn pareto(median: f64, tail: f64, draw: &mut Draw) -> f64 {
    let scale = median / 2f64.powf(1.0 / tail);
    scale / (1.0 - draw.unit()).powf(1.0 / tail)
}
