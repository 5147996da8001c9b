// One node: a disc that fills as its disk does, and what state it is in.
const DETAIL_MIN = 7; // from this radius on, nodes have names and signs inside
const TINY = 2.6;

function drawNode(context, node, { asks, fault, broken, beat }) {
  const x = layout.x[node], y = layout.y[node], r = layout.radius, life = reel.life[node];
  if (fault) halo(context, x, y, r, fault === SORT.BYZANTINE + 1 ? COLOUR.odd : COLOUR.warn, 0.32);
  if (broken) {
    halo(context, x, y, r + 5, COLOUR.bad, 0.14 + 0.12 * beat);
    outline(context, x, y, r + 5, COLOUR.bad, [], clamp(r * 0.12, 2, 3.5));
  }
  if (r < TINY) return drawTiny(context, node, x, y, r, asks, fault);
  if (life === NEVER) return outline(context, x, y, r, COLOUR.line, [2, 2], 1);
  if (life === LIFE.DOWN) return drawDown(context, x, y, r);
  const odd = fault === SORT.BYZANTINE + 1;
  shape(context, x, y, r, odd);
  context.fillStyle = COLOUR.surface;
  context.fill();
  fill(context, x, y, r, node, odd);
  shape(context, x, y, r, odd);
  context.strokeStyle = life === LIFE.PAUSED ? COLOUR.warn : odd ? COLOUR.odd : asks ? COLOUR.accent : COLOUR.muted;
  context.lineWidth = r < DETAIL_MIN ? 1 : asks || odd || life === LIFE.PAUSED ? 2.2 : 1.5;
  context.stroke();
  if (asks) outline(context, x, y, r + 4 + 2.5 * beat, COLOUR.accent, [], 1.8);
  if (r >= DETAIL_MIN) drawInside(context, node, x, y, r, life);
}

// Thousands of nodes are a colour each.
function drawTiny(context, node, x, y, r, asks, fault) {
  const life = reel.life[node], odd = fault === SORT.BYZANTINE + 1, part = Math.sqrt(reel.bytes[node] / mostBytes);
  context.fillStyle = [COLOUR.bad, odd ? COLOUR.odd : part > 0 ? COLOUR.accent : COLOUR.muted, COLOUR.warn, COLOUR.line][life];
  context.globalAlpha = life !== LIFE.RUNS || odd ? 1 : 0.45 + 0.55 * part;
  context.fillRect(x - r, y - r, 2 * r, 2 * r);
  context.globalAlpha = 1;
  if (asks) outline(context, x, y, r + 5, COLOUR.accent, [], 1.8);
}

function shape(context, x, y, r, odd) {
  context.beginPath();
  if (!odd) return context.arc(x, y, r, 0, 7);
  const wide = r * 1.25;
  context.moveTo(x, y - wide); context.lineTo(x + wide, y); context.lineTo(x, y + wide); context.lineTo(x - wide, y);
  context.closePath();
}

function fill(context, x, y, r, node, odd) {
  const part = Math.sqrt(reel.bytes[node] / mostBytes);
  if (odd) { context.globalAlpha = 0.2; context.fillStyle = COLOUR.odd; context.fill(); }
  if (part > 0) {
    context.fillStyle = COLOUR.accent;
    context.globalAlpha = r < DETAIL_MIN ? 0.15 + 0.75 * part : 0.34;
    const half = r < DETAIL_MIN ? Math.PI : Math.acos(1 - 2 * clamp(part, 0, 1) * 0.96);
    context.beginPath();
    context.arc(x, y, r - 0.5, Math.PI / 2 - half, Math.PI / 2 + half);
    context.fill();
  }
  context.globalAlpha = 1;
}

function drawInside(context, node, x, y, r, life) {
  if (life === LIFE.PAUSED) {
    context.fillStyle = COLOUR.warn;
    for (const side of [-1, 1]) context.fillRect(x + side * r * 0.25 - r * 0.11, y - r * 0.4, r * 0.22, r * 0.8);
  } else if (r >= 11) {
    context.fillStyle = COLOUR.text;
    const text = String(DATA.nodes[node][0]);
    context.font = font(clamp(Math.min(r * 0.62, (r * 2.7) / text.length), 6, 17), 650);
    context.textAlign = "center";
    context.fillText(text, x, y + 0.5);
  }
  if (r < 17 || !reel.shards[node]) return;
  context.fillStyle = COLOUR.muted;
  context.font = font(10.5);
  context.textAlign = "center";
  context.fillText(counted(reel.shards[node], "shard"), x, y + r + 14);
}

function drawDown(context, x, y, r) {
  outline(context, x, y, r, COLOUR.bad, r < DETAIL_MIN ? [2, 2] : [3.5, 3], 1.4);
  const arm = r * 0.36;
  context.beginPath();
  context.moveTo(x - arm, y - arm); context.lineTo(x + arm, y + arm);
  context.moveTo(x + arm, y - arm); context.lineTo(x - arm, y + arm);
  context.lineWidth = clamp(r * 0.16, 1, 3);
  context.stroke();
}

function outline(context, x, y, r, colour, dash, width) {
  context.beginPath();
  context.arc(x, y, r, 0, 7);
  context.strokeStyle = colour;
  context.lineWidth = width;
  context.setLineDash(dash);
  context.stroke();
  context.setLineDash([]);
}
function halo(context, x, y, r, colour, alpha) {
  context.beginPath();
  context.arc(x, y, r + clamp(r * 0.35, 2, 7), 0, 7);
  context.fillStyle = colour;
  context.globalAlpha = alpha;
  context.fill();
  context.globalAlpha = 1;
}
