// Arrows. Those of one colour are one path: thousands of them are drawn in a few strokes.
const CROSS = 4.5, HEAD = 7;

// Between lanes that are on the screen or beyond its edges, or from one on the screen to the lane of all others.
const touchesOthers = (frame) => lane(frame[FRAME.FROM]) === lanes.length || lane(frame[FRAME.TO]) === lanes.length;
function hasPlace(frame) {
  const one = lane(frame[FRAME.FROM]), other = lane(frame[FRAME.TO]);
  if (one === other) return false;
  const at = x(Math.min(one, other));
  return !touchesOthers(frame) || (at > LEFT - view.lane / 2 && at < LEFT + room());
}

// The part of a lost frame's way that is drawn.
const reach = (frame) => (frame[FRAME.FLIGHT] >= 0 ? 1 : 0.62);

function ends(frame) {
  const x1 = x(lane(frame[FRAME.FROM])), x2 = x(lane(frame[FRAME.TO])), y1 = y(frame[FRAME.SENT]), y2 = y(arrivalOf(frame));
  const part = reach(frame);
  return [x1, y1, x1 + (x2 - x1) * part, y1 + (y2 - y1) * part];
}

function framesInView() {
  const first = lowerBound(DATA.frames, view.from - longestFlight, (frame) => frame[FRAME.SENT]);
  const seen = [];
  for (let place = first; place < DATA.frames.length && DATA.frames[place][FRAME.SENT] <= view.until; place++) {
    const frame = DATA.frames[place];
    if (arrivalOf(frame) >= view.from && showsFrame(frame) && hasPlace(frame)) seen.push(frame);
  }
  return seen;
}

function drawHead(context, [x1, y1, x2, y2]) {
  const angle = Math.atan2(y2 - y1, x2 - x1), spread = 0.42;
  context.moveTo(x2, y2);
  context.lineTo(x2 - HEAD * Math.cos(angle - spread), y2 - HEAD * Math.sin(angle - spread));
  context.lineTo(x2 - HEAD * Math.cos(angle + spread), y2 - HEAD * Math.sin(angle + spread));
  context.closePath();
}
function drawCross(context, [, , x2, y2]) {
  context.moveTo(x2 - CROSS, y2 - CROSS); context.lineTo(x2 + CROSS, y2 + CROSS);
  context.moveTo(x2 + CROSS, y2 - CROSS); context.lineTo(x2 - CROSS, y2 + CROSS);
}

function drawFrames(context, search) {
  const seen = framesInView(), groups = new Map();
  for (const frame of seen) {
    const found = !search || search.frames.has(frame);
    const key = `${found ? 1 : 0} ${isLost(frame) ? "lost" : Math.min(frame[FRAME.LABEL], LABEL_COLOURS)} ${touchesOthers(frame)}`;
    if (!groups.has(key)) groups.set(key, []);
    groups.get(key).push(frame);
  }
  const dense = clamp(1.05 - Math.log10(Math.max(seen.length, 60) / 60) * 0.42, 0.16, 0.9);
  // What was found, and what was lost, is on top.
  for (const [key, frames] of [...groups].sort(([one], [other]) => (one < other ? -1 : 1))) {
    const [found, label, beyond] = key.split(" "), lost = label === "lost";
    context.globalAlpha = found === "0" ? 0.07 : search ? 0.95 : lost ? Math.max(dense, 0.75) : dense;
    context.strokeStyle = context.fillStyle = lost ? COLOUR.bad : labelColour(Number(label));
    context.save();
    if (beyond === "false") clipLanes(context);
    drawGroup(context, frames, lost, seen.length < 2500);
    context.restore();
  }
  context.globalAlpha = 1;
  return seen;
}

function drawGroup(context, frames, lost, heads) {
  const lines = frames.map(ends);
  context.lineWidth = heads ? 1.25 : 0.8;
  context.setLineDash(lost ? [5, 3] : []);
  context.beginPath();
  for (const [x1, y1, x2, y2] of lines) { context.moveTo(x1, y1); context.lineTo(x2, y2); }
  context.stroke();
  context.setLineDash([]);
  context.beginPath();
  if (lost) {
    lines.forEach((line) => drawCross(context, line));
    context.lineWidth = 1.8;
    context.stroke();
  } else if (heads) {
    lines.forEach((line, place) => { if (frames[place][FRAME.FLIGHT] >= 0) drawHead(context, line); });
    context.fill();
  }
}

// Names along arrows, as long as they do not cover each other.
function drawLabels(context, frames, taken) {
  context.font = font(10.5);
  context.textAlign = "center";
  for (const frame of frames) {
    const [x1, y1, x2, y2] = ends(frame), length = Math.hypot(x2 - x1, y2 - y1), text = DATA.labels[frame[FRAME.LABEL]];
    const middle = [(x1 + x2) / 2, (y1 + y2) / 2], wide = Math.min(context.measureText(text).width, length);
    if (length < 70 || wide > length - 24 || covers(taken, [...middle, wide])) continue;
    taken.push([...middle, wide]);
    let angle = Math.atan2(y2 - y1, x2 - x1);
    if (Math.abs(angle) > Math.PI / 2) angle -= Math.sign(angle) * Math.PI;
    context.save();
    context.translate(...middle);
    context.rotate(angle);
    context.lineWidth = 4;
    context.lineJoin = "round";
    context.strokeStyle = COLOUR.surface;
    context.fillStyle = isLost(frame) ? COLOUR.bad : labelColour(frame[FRAME.LABEL]);
    context.strokeText(text, 0, -4);
    context.fillText(text, 0, -4);
    context.restore();
  }
  context.textAlign = "left";
}

// The arrow nearest to a point, if one is near.
function frameAt(px, py) {
  let best = null, least = 6;
  for (const frame of framesInView()) {
    const [x1, y1, x2, y2] = ends(frame), dx = x2 - x1, dy = y2 - y1;
    const part = clamp(((px - x1) * dx + (py - y1) * dy) / (dx * dx + dy * dy || 1), 0, 1);
    const away = Math.hypot(px - x1 - part * dx, py - y1 - part * dy);
    if (away < least) [best, least] = [frame, away];
  }
  return best;
}
