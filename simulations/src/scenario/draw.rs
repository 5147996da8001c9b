//! From a scenario and a seed to a plan: who is there, and what they ask for. Each part of the file draws from a
//! stream of its own, so that a line more in one does not change the others.

use super::{
    ScenarioError, faults,
    file::{ComputeSpec, EndSpec, GetSpec, InstallSpec, PutSpec, RegionSpec, Scenario, Who},
};
use crate::{
    plan::{Checked, Content, Do, Line, Nat, Node, Operation, Plan, Region, TierName},
    record::NodeId,
};
use pangea_kernel::{Draw, Seed};
use pangea_protocols::encoded::Profile;

/// Nodes of a plan.
const NODES_MAX: usize = 20_000;
/// Operations, and faults, of a plan.
pub(super) const EVENTS_MAX: usize = 100_000;
/// A get wants what was put so long before.
const STORED_AFTER_MS: u64 = 4_000;
/// Nodes that a new node is told of.
const KNOWN: usize = 3;

/// The seed of a run.
pub fn root(seed: u64) -> Seed {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    Seed::new(bytes)
}

/// Draws the plan of a run. `tier` overrules the scenario's first choice.
///
/// # Errors
/// The scenario contradicts itself: an unknown region, a fault without what it needs, a tier it is not made for.
pub fn draw(scenario: &Scenario, seed: u64, tier: Option<TierName>) -> Result<Plan, ScenarioError> {
    let wrong = |message: String| ScenarioError::Sense { name: scenario.name.clone(), message };
    let tier = tier.or_else(|| scenario.tiers.first().copied()).ok_or_else(|| wrong("`tiers` is empty".to_owned()))?;
    if !scenario.tiers.contains(&tier) {
        return Err(wrong(format!("it is not made for the {tier:?} tier").to_lowercase()));
    }
    let root = root(seed).derive("scenario");
    let mut times = root.derive("times").draw();
    let (calm, end) = (scenario.calm.draw_whole(&mut times), scenario.end.draw_whole(&mut times));
    if end <= calm {
        return Err(wrong("`end` must be after `calm`".to_owned()));
    }
    let mut plan = Plan {
        scenario: scenario.name.clone(),
        story: scenario.story.trim().to_owned(),
        seed,
        tier,
        warm: scenario.warm,
        calm_ms: calm,
        end_ms: end,
        read_back: scenario.read_back,
        harmless: scenario.harmless,
        reads_within_ms: scenario.reads_within.map(|within| within.draw_whole(&mut times)),
        without: scenario.without.clone(),
        sometimes: scenario.sometimes.clone(),
        peers_target: scenario.peers_target.unwrap_or(32),
        regions: Vec::new(),
        lines: Vec::new(),
        nodes: Vec::new(),
        operations: Vec::new(),
        faults: Vec::new(),
    };
    nodes(scenario, &root, &mut plan).map_err(wrong)?;
    let puts = operations(scenario, &root, &mut plan).map_err(wrong)?;
    faults::draw(scenario, &root, &puts, &mut plan).map_err(wrong)?;
    Ok(plan)
}

fn nodes(scenario: &Scenario, root: &Seed, plan: &mut Plan) -> Result<(), String> {
    for spec in &scenario.regions {
        region(spec, root, plan)?;
    }
    for (number, spec) in scenario.lines.iter().enumerate() {
        for name in &spec.between {
            if !plan.regions.iter().any(|region| region.name == *name) {
                return Err(format!("a line names the region `{name}`, which is not there"));
            }
        }
        let mut draw = root.derive("line").derive(&number.to_string()).draw();
        plan.lines.push(Line {
            between: spec.between.clone(),
            latency_ms: spec.latency.draw(&mut draw),
            jitter_ms: spec.jitter.draw(&mut draw),
            loss: spec.loss,
        });
    }
    if plan.nodes.is_empty() {
        return Err("there are no nodes".to_owned());
    }
    // Everybody knows a few of those who start before: the first of all, and others at random.
    let order: Vec<(u64, NodeId)> = plan.nodes.iter().filter_map(|node| Some((node.start_ms?, node.id))).collect();
    let known = scenario.knows.unwrap_or(KNOWN);
    for node in &mut plan.nodes {
        let start = node.start_ms.unwrap_or(u64::MAX);
        let before: Vec<NodeId> =
            order.iter().filter(|(at, id)| (*at, *id) < (start, node.id)).map(|(_, id)| *id).collect();
        let mut draw = root.derive("knows").derive(&node.id.to_string()).draw();
        let first = before.iter().copied().min_by_key(|id| order.iter().find(|(_, other)| other == id));
        let mut others = before;
        draw.shuffle(&mut others);
        node.knows = first.into_iter().chain(others.into_iter().filter(|id| Some(*id) != first)).take(known).collect();
    }
    Ok(())
}

fn region(spec: &RegionSpec, root: &Seed, plan: &mut Plan) -> Result<(), String> {
    if plan.regions.iter().any(|region| region.name == spec.name) {
        return Err(format!("two regions are called `{}`", spec.name));
    }
    let seed = root.derive("region").derive(&spec.name);
    let mut draw = seed.draw();
    let count = usize::try_from(spec.nodes.draw_whole(&mut draw)).unwrap_or(usize::MAX);
    if plan.nodes.len().saturating_add(count) > NODES_MAX {
        return Err(format!("more than {NODES_MAX} nodes"));
    }
    plan.regions.push(Region {
        name: spec.name.clone(),
        latency_ms: spec.latency.draw(&mut draw),
        jitter_ms: spec.jitter.draw(&mut draw),
        loss: spec.loss,
        uplink: spec.uplink.map(|uplink| uplink.draw_whole(&mut draw)),
    });
    for number in 0..count {
        let id = NodeId::try_from(plan.nodes.len()).unwrap_or(NodeId::MAX);
        let mut draw = seed.derive(&number.to_string()).draw();
        let (start, quota, nat) = (spec.start.draw_whole(&mut draw), spec.quota.draw_whole(&mut draw), draw.unit());
        let nat = match nat {
            share if share < spec.restricted => Nat::Restricted,
            share if share < spec.restricted + spec.symmetric => Nat::Symmetric,
            _ => Nat::Open,
        };
        // The very first is who the others know: it is there from the beginning, and can be reached.
        let nat = if id == 0 { Nat::Open } else { nat };
        let start = if id == 0 { 0 } else { start };
        let start_ms = (!spec.hidden).then_some(start);
        plan.nodes.push(Node { id, region: spec.name.clone(), start_ms, quota, nat, knows: Vec::new() });
    }
    Ok(())
}

/// The nodes that words mean: those with a start, unless they are named.
pub(super) fn group(plan: &Plan, who: Option<&Who>, draw: &mut Draw) -> Result<Vec<NodeId>, String> {
    let words = match who {
        None => "any".to_owned(),
        Some(Who::Words(words)) => words.clone(),
        Some(Who::Ids(ids)) => {
            let unknown = ids.iter().find(|id| plan.node(**id).is_none());
            return unknown.map_or_else(|| Ok(ids.clone()), |id| Err(format!("there is no node {id}")));
        }
    };
    let (share, place) = words.split_once(" of ").unwrap_or(("all", &words));
    let mut nodes: Vec<NodeId> = match place.trim() {
        "any" => plan.nodes.iter().filter(|node| node.start_ms.is_some()).map(|node| node.id).collect(),
        name => plan.nodes.iter().filter(|node| node.region == name).map(|node| node.id).collect(),
    };
    if nodes.is_empty() {
        return Err(format!("`{words}` means no node: say `any`, a region, `3 of any` or `30% of NAME`"));
    }
    let count = match (share.trim(), share.trim().strip_suffix('%')) {
        ("all", _) => return Ok(nodes),
        (_, Some(percent)) => {
            percent.trim().parse::<f64>().ok().map(|percent| (nodes.len() as f64 * percent / 100.0).round() as usize)
        }
        (number, None) => number.parse().ok(),
    };
    let count = count.ok_or_else(|| format!("`{share}` in `{words}` is neither a number nor a percentage"))?;
    draw.shuffle(&mut nodes);
    nodes.truncate(count);
    nodes.sort_unstable();
    Ok(nodes)
}

fn one(plan: &Plan, who: Option<&Who>, draw: &mut Draw) -> Result<NodeId, String> {
    let nodes = group(plan, who, draw)?;
    draw.choose(&nodes).copied().ok_or_else(|| "an operation is asked of nobody".to_owned())
}

/// Returns the operations of each `[[put]]`.
fn operations(scenario: &Scenario, root: &Seed, plan: &mut Plan) -> Result<Vec<Vec<u32>>, String> {
    let mut puts: Vec<Vec<u32>> = Vec::new();
    for (number, spec) in scenario.puts.iter().enumerate() {
        let seed = root.derive("put").derive(&number.to_string());
        puts.push(repeat(spec.count.draw_whole(&mut seed.draw()), &seed, |draw| put(plan, spec, draw))?);
    }
    for (number, spec) in scenario.gets.iter().enumerate() {
        let seed = root.derive("get").derive(&number.to_string());
        repeat(spec.count.draw_whole(&mut seed.draw()), &seed, |draw| get(plan, spec, &puts, draw))?;
    }
    for (kind, specs) in [("remove", &scenario.removes), ("cancel", &scenario.cancels)] {
        for (number, spec) in specs.iter().enumerate() {
            let seed = root.derive(kind).derive(&number.to_string());
            let remove = kind == "remove";
            repeat(spec.count.draw_whole(&mut seed.draw()), &seed, |draw| ending(plan, spec, remove, &puts, draw))?;
        }
    }
    for (number, spec) in scenario.computes.iter().enumerate() {
        let seed = root.derive("compute").derive(&number.to_string());
        repeat(spec.count.draw_whole(&mut seed.draw()), &seed, |draw| compute(plan, spec, &puts, draw))?;
    }
    for (number, spec) in scenario.installs.iter().enumerate() {
        install(plan, spec, &puts, &root.derive("install").derive(&number.to_string()))?;
    }
    let asked = [("tell", &scenario.tells, Do::Tell), ("recall", &scenario.recalls, Do::Recall { all: false })];
    for (kind, specs, what) in asked {
        for (number, spec) in specs.iter().enumerate() {
            let seed = root.derive(kind).derive(&number.to_string());
            let ask = |draw: &mut Draw| {
                let node = one(plan, spec.from.as_ref(), draw)?;
                add(plan, spec.at.draw_whole(draw), node, what.clone())
            };
            repeat(spec.count.draw_whole(&mut seed.draw()), &seed, ask)?;
        }
    }
    plan.operations.sort_by_key(|operation| (operation.at_ms, operation.id));
    Ok(puts)
}

fn repeat(count: u64, seed: &Seed, mut each: impl FnMut(&mut Draw) -> Result<u32, String>) -> Result<Vec<u32>, String> {
    (0..count).map(|item| each(&mut seed.derive(&item.to_string()).draw())).collect()
}

fn add(plan: &mut Plan, at_ms: u64, node: NodeId, what: Do) -> Result<u32, String> {
    if plan.operations.len() >= EVENTS_MAX {
        return Err(format!("more than {EVENTS_MAX} operations"));
    }
    let id = u32::try_from(plan.operations.len()).unwrap_or(u32::MAX);
    plan.operations.push(Operation { id, at_ms, node, what });
    Ok(id)
}

fn put(plan: &mut Plan, spec: &PutSpec, draw: &mut Draw) -> Result<u32, String> {
    let node = one(plan, spec.from.as_ref(), draw)?;
    let what = Do::Put {
        content: spec.content.unwrap_or(Content::Mixed),
        bytes: spec.size.draw_whole(draw),
        files: spec.files.map_or(0, |files| u32::try_from(files.draw_whole(draw)).unwrap_or(u32::MAX)),
        code: spec.code,
        profile: spec.profile.unwrap_or(Profile::Fast),
        lease_s: spec.lease.draw_whole(draw).div_ceil(1000),
    };
    add(plan, spec.at.draw_whole(draw), node, what)
}

fn get(plan: &mut Plan, spec: &GetSpec, puts: &[Vec<u32>], draw: &mut Draw) -> Result<u32, String> {
    let node = one(plan, spec.from.as_ref(), draw)?;
    let at_ms = spec.at.draw_whole(draw);
    let stored = |of: &u32| plan.operation(*of).is_some_and(|put| put.at_ms + STORED_AFTER_MS <= at_ms);
    let early: Vec<Vec<u32>> = puts.iter().map(|puts| puts.iter().copied().filter(|of| stored(of)).collect()).collect();
    // What is stored by then, if anything is.
    let of = target(&early, spec.of, draw).or_else(|_| target(puts, spec.of, draw))?;
    let (partial, from, to) = (draw.unit() < spec.ranges, draw.unit(), draw.unit());
    let range = match plan.operation(of).map(|operation| &operation.what) {
        Some(Do::Put { bytes, files: 0, .. }) if partial => {
            let (start, end) = ((*bytes as f64 * from.min(to)) as u64, (*bytes as f64 * from.max(to)) as u64);
            Some([start, end - start])
        }
        _ => None,
    };
    add(plan, at_ms, node, Do::Get { of, range })
}

fn compute(plan: &mut Plan, spec: &ComputeSpec, puts: &[Vec<u32>], draw: &mut Draw) -> Result<u32, String> {
    let checked = spec.checked.unwrap_or(Checked::Audited);
    if spec.of.is_some() {
        let of = target(puts, spec.of, draw)?;
        let node = plan.operation(of).ok_or("a computation is about a put that is not there")?.node;
        let stripes = u32::try_from(spec.stripes.draw_whole(draw)).unwrap_or(u32::MAX);
        let what = Do::ComputeStored { of, stripes, merge: spec.merge, checked };
        return add(plan, spec.at.draw_whole(draw), node, what);
    }
    let node = one(plan, spec.from.as_ref(), draw)?;
    let what = Do::Compute {
        chunks: u32::try_from(spec.chunks.draw_whole(draw)).unwrap_or(u32::MAX),
        bytes: spec.size.draw_whole(draw),
        rounds: u16::try_from(spec.rounds.draw_whole(draw)).unwrap_or(u16::MAX),
        merge: spec.merge,
        checked,
    };
    add(plan, spec.at.draw_whole(draw), node, what)
}

fn install(plan: &mut Plan, spec: &InstallSpec, puts: &[Vec<u32>], seed: &Seed) -> Result<(), String> {
    let mut draw = seed.draw();
    let of = target(puts, spec.of, &mut draw)?;
    for node in group(plan, spec.on.as_ref(), &mut draw)? {
        let at_ms = spec.at.draw_whole(&mut seed.derive(&node.to_string()).draw());
        add(plan, at_ms, node, Do::Install { of, version: spec.version })?;
    }
    Ok(())
}

fn ending(plan: &mut Plan, spec: &EndSpec, remove: bool, puts: &[Vec<u32>], draw: &mut Draw) -> Result<u32, String> {
    let of = target(puts, spec.of, draw)?;
    let operation = plan.operation(of).ok_or("an operation is about one that is not there")?;
    let (node, began) = (operation.node, operation.at_ms);
    let at = match (spec.at, spec.after) {
        (Some(at), None) => at.draw_whole(draw),
        (None, Some(after)) => began + after.draw_whole(draw),
        _ => return Err("[[remove]] and [[cancel]] need either `at` or `after`".to_owned()),
    };
    add(plan, at, node, if remove { Do::Remove { of } } else { Do::Cancel { of } })
}

/// A put: one of the `[[put]]` with this number, or any.
pub(super) fn target(puts: &[Vec<u32>], of: Option<usize>, draw: &mut Draw) -> Result<u32, String> {
    let among: Vec<u32> = match of {
        Some(number) => puts.get(number).cloned().ok_or_else(|| format!("there is no [[put]] number {number}"))?,
        None => puts.concat(),
    };
    draw.choose(&among).copied().ok_or_else(|| "it is about what is stored, but nothing is".to_owned())
}
