// Everything but the arrows: axis, lanes, bands, bars and signs.
const faded = (search, thing) => (search && !search.things.has(thing) ? 0.15 : 1);

function drawOthers(context) {
  const left = Math.round(x(lanes.length)) + 0.5;
  context.fillStyle = COLOUR.sunken;
  context.globalAlpha = 0.5;
  context.fillRect(view.width - OTHERS_WIDE + 4, TOP, OTHERS_WIDE, view.height);
  context.globalAlpha = 1;
  context.strokeStyle = COLOUR.faint;
  context.beginPath(); context.moveTo(left, TOP); context.lineTo(left, view.height); context.stroke();
}

function drawBackground(context) {
  context.fillStyle = COLOUR.surface;
  context.fillRect(0, 0, view.width, view.height);
  if (DATA.window) {
    // Where every frame is shown, if not everywhere.
    const top = Math.max(TOP, y(DATA.window[0])), bottom = y(DATA.window[1]);
    context.fillStyle = COLOUR.accent;
    context.globalAlpha = 0.05;
    context.fillRect(LEFT, top, view.width, Math.max(0, bottom - top));
    context.globalAlpha = 1;
  }
  const step = axisStep(view.until - view.from, view.height - TOP);
  context.font = font(11.5);
  context.textAlign = "right";
  context.textBaseline = "middle";
  for (let tick = Math.max(0, Math.ceil(view.from / step)); tick * step <= Math.min(view.until, DATA.end_ns); tick++) {
    const at = Math.round(y(tick * step)) + 0.5;
    context.strokeStyle = COLOUR.rule;
    context.beginPath(); context.moveTo(LEFT, at); context.lineTo(view.width, at); context.stroke();
    context.fillStyle = COLOUR.muted;
    if (at > TOP + 6) context.fillText(moment(tick * step, step), LEFT - 12, at, LEFT - 18);
  }
  context.textAlign = "left";
}

function drawBands(context, search) {
  if (!shows("fault")) return;
  DATA.faults.forEach((fault, place) => {
    if (!visible(fault[FAULT.BEGAN], faultEnd(fault))) return;
    const top = Math.max(TOP, y(fault[FAULT.BEGAN])), bottom = Math.min(view.height, y(faultEnd(fault)));
    const colour = fault[FAULT.SORT] === SORT.BYZANTINE ? COLOUR.odd : COLOUR.warn;
    const places = fault[FAULT.NODES].map(lane), fade = faded(search, faultItems[place]);
    context.fillStyle = colour;
    for (const at of places.length ? new Set(places) : [null]) {
      const [begin, wide] = at === null ? [LEFT, view.width - LEFT] : [x(at) - view.lane * 0.44, view.lane * 0.88];
      context.globalAlpha = (at === null ? 0.07 : 0.13) * fade;
      context.fillRect(begin, top, wide, Math.max(2, bottom - top));
      context.globalAlpha = 0.8 * fade;
      if (y(fault[FAULT.BEGAN]) >= TOP) context.fillRect(begin, top, wide, 1.5);
    }
    if (fade === 1) captionFault(fault, places, top, bottom, colour);
    context.globalAlpha = 1;
  });
}
function captionFault(fault, places, top, bottom, colour) {
  if (bottom - top < 15) return;
  const begin = places.length ? Math.max(x(Math.min(...places)) - view.lane * 0.44, LEFT) : LEFT;
  caption(2, fault[FAULT.TEXT], begin + 5, top + 10, colour, view.width - begin - 20);
}

// Words wait until all lines are drawn; then the more important ones take their places first. Rank 0 always finds one.
const captions = [];
function caption(rank, text, left, middle, colour, wide) {
  captions.push({ rank, text, left, middle, colour, wide });
}
function drawCaptions(context) {
  const taken = [];
  context.font = font(11.5, 600);
  for (const { rank, text, left, middle, colour, wide } of captions.sort((one, other) => one.rank - other.rank)) {
    const shown = fitted(context, text, wide), box = [left + context.measureText(shown).width / 2, middle, context.measureText(shown).width];
    if (rank > 0 && covers(taken, box)) continue;
    taken.push(box);
    context.globalAlpha = 0.86;
    context.fillStyle = COLOUR.surface;
    context.fillRect(left - 3, middle - 8, box[2] + 6, 16);
    context.globalAlpha = 1;
    context.fillStyle = colour;
    context.fillText(shown, left, middle);
  }
  captions.length = 0;
  return taken;
}
const covers = (taken, [left, middle, wide]) => taken.some(([x, y, w]) => Math.abs(x - left) < (w + wide) / 2 + 5 && Math.abs(y - middle) < 14);

// Lanes beyond the edge must not be seen beside the lane of all others.
function clipLanes(context) {
  context.beginPath();
  context.rect(LEFT - 10, TOP, room() + (others ? 10 : OTHERS_WIDE + 10), view.height);
  context.clip();
}
function drawLanes(context, search) {
  context.lineWidth = 1;
  context.strokeStyle = COLOUR.line;
  context.beginPath();
  const one = Math.ceil(4 / view.lane); // lanes that are too close show some of their lines
  for (let place = 0; place < lanes.length; place += one) {
    context.moveTo(Math.round(x(place)) + 0.5, Math.max(TOP, y(0)));
    context.lineTo(Math.round(x(place)) + 0.5, Math.min(view.height, y(DATA.end_ns)));
  }
  context.stroke();
  if (!shows("down")) return;
  spans.forEach((span, place) => {
    if (!visible(span.begin, span.end)) return;
    const top = Math.max(TOP, y(span.begin)), tall = Math.max(3, Math.min(view.height, y(span.end)) - top), wide = Math.min(12, view.lane * 0.4);
    const left = x(lane(span.node)) - wide / 2;
    context.globalAlpha = faded(search, spanItems[place]);
    context.fillStyle = span.life === LIFE.DOWN ? COLOUR.muted : COLOUR.warn;
    context.beginPath(); context.roundRect(left, top, wide, tall, 3); context.fill();
    if (tall > 46 && view.lane > 26) {
      context.save();
      context.translate(x(lane(span.node)), top + tall / 2);
      context.rotate(-Math.PI / 2);
      context.font = font(10, 600);
      context.textAlign = "center";
      context.fillStyle = COLOUR.surface;
      context.fillText(span.life === LIFE.DOWN ? "down" : "paused", 0, 0.5);
      context.restore();
    }
  });
  context.globalAlpha = 1;
}

function drawOperations(context, search) {
  if (!shows("operation")) return;
  DATA.operations.forEach((operation, place) => {
    const begin = operation[OPERATION.ASKED], end = operationEnd(operation);
    if (!laneOf.has(operation[OPERATION.NODE]) || !visible(begin, end)) return;
    const at = x(lane(operation[OPERATION.NODE])) + 9 + operation.slot * 7, top = Math.max(TOP, y(begin)), bottom = Math.min(view.height, y(end));
    const colour = operation[OPERATION.ENDED] === null ? COLOUR.warn : operation[OPERATION.OK] ? COLOUR.accent : COLOUR.bad;
    context.globalAlpha = faded(search, operationItems[place]);
    context.fillStyle = colour;
    context.beginPath(); context.roundRect(at - 2, top, 4, Math.max(4, bottom - top), 2); context.fill();
    if (y(begin) >= TOP) { context.beginPath(); context.arc(at, top, 4.5, 0, 7); context.fill(); }
    if (y(end) <= view.height && operation[OPERATION.ENDED] !== null) {
      context.font = font(12, 700);
      context.fillText(operation[OPERATION.OK] ? "✓" : "✕", at - 4.5, bottom + 8);
    }
    if (bottom > TOP + 12 && at < LEFT + room()) caption(3, operation[OPERATION.TEXT], at + 8, Math.max(top, TOP + 12), colour, 190);
  });
  context.globalAlpha = 1;
}

function drawMarks(context, search) {
  DATA.marks.forEach((mark, place) => {
    const [at, node, sort, text] = mark, top = y(at);
    if (top < TOP || top > view.height || (sort === GOAL && !shows("goal")) || (sort === VIOLATION && !shows("violation"))) return;
    const colour = sort === VIOLATION ? COLOUR.bad : COLOUR.good;
    context.globalAlpha = faded(search, markItems[place]);
    if (sort !== GOAL) {
      context.strokeStyle = colour;
      context.lineWidth = sort === VIOLATION ? 2 : 1.25;
      context.setLineDash(sort === CALM ? [7, 5] : []);
      context.beginPath(); context.moveTo(LEFT, top); context.lineTo(view.width, top); context.stroke();
      context.setLineDash([]);
    }
    const left = node === null || sort !== GOAL ? LEFT + 12 : x(lane(node)) + 11;
    const raised = sort === GOAL ? 0 : -11;
    caption(sort === VIOLATION ? 0 : 1, sort === VIOLATION ? `Broken: ${text}` : text, left, top + raised, colour, view.width - left - 14);
  });
  context.globalAlpha = 1;
}
// Above all words.
function drawSigns(context, search) {
  DATA.marks.forEach(([at, node, sort], place) => {
    if (!visible(at, at) || (sort === GOAL && !shows("goal")) || (sort === VIOLATION && !shows("violation"))) return;
    context.globalAlpha = faded(search, markItems[place]);
    context.fillStyle = sort === VIOLATION ? COLOUR.bad : COLOUR.good;
    sign(context, node === null ? LEFT : x(lane(node)), y(at), sort === VIOLATION ? 9 : 7, sort);
  });
  context.globalAlpha = 1;
}
// A star for a goal, a diamond for a violation, a dot for the calm.
function sign(context, left, top, size, sort) {
  context.beginPath();
  if (sort === CALM) context.arc(left, top, size * 0.6, 0, 7);
  else {
    const corners = sort === GOAL ? 10 : 4;
    for (let corner = 0; corner < corners; corner++) {
      const radius = sort === GOAL && corner % 2 ? size * 0.45 : size, angle = (corner / corners) * 2 * Math.PI - Math.PI / 2;
      context.lineTo(left + radius * Math.cos(angle), top + radius * Math.sin(angle));
    }
  }
  context.closePath();
  context.fill();
}

function drawHeader(context) {
  context.fillStyle = COLOUR.surface;
  context.fillRect(0, 0, view.width, TOP);
  context.fillStyle = COLOUR.line;
  context.fillRect(0, TOP - 1, view.width, 1);
  context.save();
  context.beginPath(); context.rect(LEFT - 10, 0, room() + 16, TOP); context.clip();
  drawRegions(context);
  const turned = view.lane < 40, one = Math.ceil(15 / view.lane);
  for (let place = 0; place < lanes.length; place += one) {
    context.save();
    context.translate(x(place), TOP - (turned ? 8 : 14));
    if (turned) context.rotate(-Math.PI / 3.4);
    context.font = font(turned ? 10.5 : 12.5, 650);
    context.textAlign = turned ? "left" : "center";
    context.fillStyle = COLOUR.text;
    context.fillText(name(lanes[place]), 0, 0);
    context.restore();
  }
  context.restore();
  if (!others) return;
  context.font = font(11.5, 650);
  context.textAlign = "center";
  context.fillStyle = COLOUR.muted;
  context.fillText("others", x(lanes.length), TOP - 28);
  context.font = font(11);
  context.fillText(count(others), x(lanes.length), TOP - 13);
  context.textAlign = "left";
}
function drawRegions(context) {
  let first = 0;
  for (let place = 1; place <= lanes.length; place++) {
    if (place < lanes.length && regionOf.get(lanes[place]) === regionOf.get(lanes[first])) continue;
    const left = x(first) - view.lane * 0.42, right = x(place - 1) + view.lane * 0.42;
    context.fillStyle = COLOUR.line;
    context.fillRect(left, 22, right - left, 1.5);
    context.font = font(11);
    context.fillStyle = COLOUR.muted;
    const begin = Math.max(left, LEFT);
    context.fillText(fitted(context, DATA.regions[regionOf.get(lanes[first])] || "no region", right - begin), begin, 12);
    first = place;
  }
}
