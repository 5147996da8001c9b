// The stage: regions, connections, nodes and what moves between them.
const stage = { context: null, width: 1, height: 1, links: document.createElement("canvas"), drawn: "", drawnMs: -1e9 };
const DOTS_MAX = 2_000, LINGER_S = 0.75;
const hiddenLabels = new Set();

function drawRegions(context) {
  for (const { x, y, radius, name: text, number } of layout.regions) {
    context.beginPath();
    context.arc(x, y, radius, 0, 7);
    context.fillStyle = COLOUR.text;
    context.globalAlpha = 0.028;
    context.fill();
    context.globalAlpha = 1;
    context.strokeStyle = COLOUR.rule;
    context.lineWidth = 1;
    context.stroke();
    context.font = font(12, 600);
    context.textAlign = "center";
    context.fillStyle = COLOUR.muted;
    context.fillText(`${fitted(context, text, Math.max(120, radius * 2))} · ${count(number)}`, x, y - radius - 11);
  }
}

// Sides of partitions: a connection between different sides is cut.
function cuts(faults) {
  return faults.filter((fault) => fault[FAULT.SORT] === SORT.PARTITION && fault[FAULT.NODES].length).map((fault) => new Set(fault[FAULT.NODES].map((node) => places.get(node))));
}
const isCut = (sides, one, other) => sides.some((side) => side.has(one) !== side.has(other));

// Connections change rarely: they are a picture of their own, made anew when they did, ten times a second at most.
function drawLinks(context, faults, nowMs) {
  const key = `${reel.version} ${faults.map((fault) => fault[FAULT.BEGAN]).join()} ${stage.width} ${stage.height} ${COLOUR.page}`;
  if (stage.drawn !== key && (nowMs - stage.drawnMs > 100 || stage.links.width !== context.canvas.width)) {
    stage.links.width = context.canvas.width;
    stage.links.height = context.canvas.height;
    const paper = stage.links.getContext("2d");
    paper.setTransform(context.getTransform());
    strokeLinks(paper, cuts(faults));
    [stage.drawn, stage.drawnMs] = [key, nowMs];
  }
  if (stage.links.width) context.drawImage(stage.links, 0, 0, stage.width, stage.height);
}
function strokeLinks(paper, sides) {
  const whole = [], cut = [];
  for (const [one, other] of reel.links.values()) (isCut(sides, one, other) ? cut : whole).push([one, other]);
  const path = (links) => {
    paper.beginPath();
    for (const [one, other] of links) {
      paper.moveTo(layout.x[one], layout.y[one]);
      paper.quadraticCurveTo(...bend(one, other), layout.x[other], layout.y[other]);
    }
    paper.stroke();
  };
  const few = 120 / Math.max(120, reel.links.size);
  paper.lineWidth = clamp(few * 1.5, 0.5, 1.2);
  paper.strokeStyle = COLOUR.muted;
  paper.globalAlpha = clamp(few ** 0.7 * 0.34, 0.014, 0.34);
  path(whole);
  paper.strokeStyle = COLOUR.bad;
  paper.globalAlpha = clamp(few ** 0.6, 0.03, 0.6);
  paper.setLineDash([4, 4]);
  path(cut);
}

// How long a dot is on its way on the stage: as long as the frame, but never too short to be seen.
const shownNs = (frame, linger) => Math.max(frame[FRAME.FLIGHT], linger);

function framesAt(at, linger) {
  const first = lowerBound(DATA.frames, at - Math.max(longestFlight, linger), (frame) => frame[FRAME.SENT]), seen = [];
  for (let place = first; place < DATA.frames.length && DATA.frames[place][FRAME.SENT] <= at; place++) {
    const frame = DATA.frames[place];
    if (frame[FRAME.SENT] + shownNs(frame, linger) > at && !hiddenLabels.has(Math.min(frame[FRAME.LABEL], LABEL_COLOURS))) seen.push(frame);
  }
  const one = Math.ceil(seen.length / DOTS_MAX);
  return one > 1 ? seen.filter((_, place) => place % one === 0) : seen;
}

function drawFrames(context, at, linger, still) {
  const frames = framesAt(at, linger), small = layout.radius < DETAIL_MIN ? 0.7 : 1;
  for (const frame of frames) {
    const from = places.get(frame[FRAME.FROM]), to = places.get(frame[FRAME.TO]);
    const part = (at - frame[FRAME.SENT]) / shownNs(frame, linger), lost = frame[FRAME.FLIGHT] === LOST;
    const size = (1.7 + clamp(Math.log2(frame[FRAME.BYTES] / 256 + 1), 0, 12) * 0.3) * small;
    context.fillStyle = context.strokeStyle = lost ? COLOUR.bad : labelColour(frame[FRAME.LABEL]);
    const tail = still ? 0 : Math.max(0, part - 0.13), head = lost ? Math.min(part, 0.5) : part;
    context.lineWidth = still ? 1.4 : size * 0.9;
    context.globalAlpha = still ? 0.6 : 0.3;
    if (head > tail) {
      context.beginPath();
      for (let step = 0; step <= 4; step++) context.lineTo(...along(from, to, tail + ((still ? (lost ? 0.5 : 1) : head) - tail) * (step / 4)));
      context.stroke();
    }
    const [x, y] = along(from, to, head);
    context.globalAlpha = lost && part > 0.5 ? 2 - 2 * part : 1;
    context.beginPath();
    if (lost && part > 0.5) {
      context.moveTo(x - 4, y - 4); context.lineTo(x + 4, y + 4); context.moveTo(x + 4, y - 4); context.lineTo(x - 4, y + 4);
      context.lineWidth = 1.8;
      context.stroke();
    } else if (!still) { context.arc(x, y, size, 0, 7); context.fill(); }
  }
  context.globalAlpha = 1;
  return frames.length;
}

function drawStage(at, speed, nowMs) {
  const { context, width, height } = stage, still = reducedMotion.matches;
  context.clearRect(0, 0, width, height);
  context.textBaseline = "middle";
  const faults = faultsAt(at), inFault = new Map(), asking = new Set(operationsAt(at).map((operation) => places.get(operation[OPERATION.NODE])));
  for (const fault of faults) for (const node of fault[FAULT.NODES]) inFault.set(places.get(node), Math.max(inFault.get(places.get(node)) ?? 0, fault[FAULT.SORT] + 1));
  const broken = new Set(violations.filter((mark) => mark[MARK.AT] <= at).map((mark) => places.get(mark[MARK.NODE])));
  const beat = still ? 0.5 : 0.5 + 0.5 * Math.sin(nowMs / 220);
  drawRegions(context);
  drawLinks(context, faults, nowMs);
  for (let node = 0; node < DATA.nodes.length; node++) {
    drawNode(context, node, { asks: asking.has(node), fault: inFault.get(node) ?? 0, broken: broken.has(node), beat });
  }
  return drawFrames(context, at, LINGER_S * 1e9 * speed, still);
}

// The node under the pointer.
function nodeAt(px, py) {
  let best = -1, least = Math.max(layout.radius + 3, 6);
  for (let node = 0; node < DATA.nodes.length; node++) {
    const away = Math.hypot(layout.x[node] - px, layout.y[node] - py);
    if (away < least) [best, least] = [node, away];
  }
  return best;
}
