// The page: draws when something changed, listens to pointer, wheel and keys, searches and lists.
const faultItems = DATA.faults.map(faultItem), spanItems = spans.map(spanItem);
const operationItems = DATA.operations.map(operationItem), markItems = DATA.marks.map(markItem);
const moments = [...faultItems, ...spanItems, ...operationItems, ...markItems].sort((one, other) => one.begin - other.begin);
const LIST_MAX = 300;
let search = null, listed = [], current = -1, waiting = false;

function draw() {
  waiting = false;
  const { context } = view;
  drawBackground(context);
  context.save();
  context.beginPath(); context.rect(LEFT - 10, TOP, view.width, view.height); context.clip();
  context.save();
  clipLanes(context);
  drawBands(context, search);
  drawLanes(context, search);
  context.restore();
  if (others) drawOthers(context);
  const seen = drawFrames(context, search);
  context.save();
  clipLanes(context);
  drawOperations(context, search);
  context.restore();
  drawMarks(context, search);
  const taken = drawCaptions(context);
  drawSigns(context, search);
  if (seen.length < 150) drawLabels(context, search ? seen.filter((frame) => search.frames.has(frame)) : seen, taken);
  if (view.selected) drawSelected(context);
  context.restore();
  drawHeader(context);
  drawOverview();
  ROOT.dataset.arrows = String(seen.length);
}
function redraw() {
  if (!waiting) { waiting = true; requestAnimationFrame(draw); }
}
function drawSelected(context) {
  const { selected } = view;
  context.strokeStyle = context.fillStyle = COLOUR.text;
  context.lineWidth = 2.5;
  context.beginPath();
  if (selected.frame) {
    const line = ends(selected.frame);
    context.moveTo(line[0], line[1]); context.lineTo(line[2], line[3]); context.stroke();
    context.beginPath(); drawHead(context, line); context.fill();
  } else if (selected.node !== null) {
    context.arc(x(lane(selected.node)), y(selected.begin), 12, 0, 7); context.stroke();
  }
}
function resize() {
  Object.assign(view, sharp(byId("diagram")));
  Object.assign(overview, sharp(byId("overview")));
  settle();
  draw();
}

function find(text) {
  const wanted = text.trim().toLowerCase();
  search = null;
  if (wanted) {
    const labels = DATA.labels.map((label) => label.toLowerCase().includes(wanted)), node = /^n(\d+)$/.exec(wanted);
    const isFound = (frame) => labels[frame[FRAME.LABEL]] || (wanted === "lost" && isLost(frame))
      || (node && (frame[FRAME.FROM] === Number(node[1]) || frame[FRAME.TO] === Number(node[1])));
    search = { things: new Set(moments.filter((thing) => thing.text.includes(wanted))), frames: new Set(DATA.frames.filter(isFound)) };
  }
  byId("found").textContent = search ? `${count(search.things.size + search.frames.size)} found` : "";
  byId("heading").textContent = search ? "Found" : "Moments";
  list();
  redraw();
}
function list() {
  const wanted = search ? [...search.things, ...[...search.frames].slice(0, LIST_MAX).map((frame) => ({ ...frameItem(frame), frame }))] : moments;
  listed = wanted.filter(({ kind }) => shows(kind)).sort((one, other) => one.begin - other.begin);
  // Too many to list: what is worth a look comes before what is not.
  if (listed.length > LIST_MAX) listed = [...listed.filter(({ kind }) => kind === "violation"), ...listed].slice(0, LIST_MAX);
  current = -1;
  byId("moments").replaceChildren(...listed.map((thing, place) => el("li", {},
    el("button", { "--of": thing.of, onclick: () => choose(place) },
      el("span", { class: "what" }, ["goal", "violation"].includes(thing.kind) ? `${thing.title}: ${thing.rows[0][1]}` : thing.title),
      el("span", { class: "when" }, `${moment(thing.begin, 1e6)}${thing.node === null ? "" : ` · ${name(thing.node)}`}`)))));
  if (!listed.length) byId("moments").append(el("li", { class: "none" }, "Nothing."));
}
function choose(place) {
  if (!listed.length) return;
  byId("moments").children[current]?.firstChild.removeAttribute("aria-current");
  current = (place + listed.length) % listed.length;
  const thing = listed[current], button = byId("moments").children[current].firstChild;
  button.setAttribute("aria-current", "true");
  button.scrollIntoView({ block: "nearest" });
  showItem(thing);
  view.selected = thing;
  byId("said").textContent = `${thing.title}. ${thing.rows.map((row) => row.join(" ")).join(", ")}`;
  redraw();
}

// What is under the pointer: signs first, then arrows, then bars and bands.
function thingAt(px, py) {
  const near = (thing, radius) => thing.node !== null && Math.hypot(x(lane(thing.node)) - px, y(thing.begin) - py) < radius;
  const within = (thing) => py >= y(thing.begin) - 4 && py <= y(thing.end) + 4;
  const mark = markItems.find((thing) => shows(thing.kind) && (near(thing, 11) || (thing.kind !== "goal" && Math.abs(y(thing.begin) - py) < 4)));
  if (mark) return mark;
  const place = DATA.operations.findIndex((operation, at) => laneOf.has(operation[OPERATION.NODE]) && shows("operation")
    && within(operationItems[at]) && Math.abs(x(lane(operation[OPERATION.NODE])) + 9 + operation.slot * 7 - px) < 5);
  if (place >= 0) return operationItems[place];
  const frame = frameAt(px, py);
  if (frame) return { ...frameItem(frame), frame };
  const span = spanItems.find((thing) => shows("down") && within(thing) && Math.abs(x(lane(thing.node)) - px) < 8);
  if (span) return span;
  const fault = DATA.faults.findIndex(({ [FAULT.NODES]: nodes }, at) => shows("fault") && within(faultItems[at])
    && (!nodes.length || nodes.some((node) => Math.abs(x(lane(node)) - px) < view.lane * 0.44)));
  return faultItems[fault] ?? null;
}

function listen() {
  const canvas = byId("diagram");
  canvas.addEventListener("pointerdown", (event) => canvas.setPointerCapture(event.pointerId));
  canvas.addEventListener("pointermove", (event) => {
    if (event.buttons) { tip.hide(); move(-event.movementX, -event.movementY); return redraw(); }
    const thing = event.offsetY > TOP && event.offsetX > LEFT - 8 ? thingAt(event.offsetX, event.offsetY) : null;
    view.selected = thing;
    if (thing) tip.show(thing.title, thing.rows, event.clientX, event.clientY); else tip.hide();
    redraw();
  });
  canvas.addEventListener("pointerleave", () => { tip.hide(); });
  canvas.addEventListener("dblclick", (event) => { zoom(0.5, event.offsetY); redraw(); });
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    tip.hide();
    const unit = event.deltaMode === 1 ? 18 : 1;
    if ((event.ctrlKey || event.metaKey) && event.shiftKey) widen(Math.exp(-(event.deltaX || event.deltaY) * unit * 0.004));
    else if (event.ctrlKey || event.metaKey) zoom(Math.exp(event.deltaY * unit * 0.004), event.offsetY);
    else if (event.shiftKey) move((event.deltaX || event.deltaY) * unit, 0);
    else move(event.deltaX * unit, event.deltaY * unit);
    redraw();
  }, { passive: false });
  byId("in").addEventListener("click", () => { zoom(0.6); redraw(); });
  byId("out").addEventListener("click", () => { zoom(1 / 0.6); redraw(); });
  byId("fit").addEventListener("click", () => { showAll(); redraw(); });
  byId("find").addEventListener("input", (event) => find(event.target.value));
  byId("find").addEventListener("keydown", (event) => {
    if (event.key === "Enter") choose(current + (event.shiftKey ? -1 : 1));
    if (event.key === "Escape") { event.target.value = ""; find(""); canvas.focus(); }
    event.stopPropagation();
  });
  const keys = {
    ArrowUp: () => move(0, -60), ArrowDown: () => move(0, 60), ArrowLeft: () => move(-60, 0), ArrowRight: () => move(60, 0),
    PageUp: () => move(0, -view.height * 0.8), PageDown: () => move(0, view.height * 0.8),
    Home: () => move(0, -1e9), End: () => move(0, 1e9),
    "+": () => zoom(0.6), "=": () => zoom(0.6), "-": () => zoom(1 / 0.6), 0: showAll, ",": () => widen(1 / 1.25), ".": () => widen(1.25),
    n: () => choose(current + 1), p: () => choose(current - 1), "/": () => byId("find").focus(),
  };
  document.addEventListener("keydown", (event) => {
    if (!keys[event.key] || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.closest("#moments") && event.key.startsWith("Arrow")) return;
    event.preventDefault();
    keys[event.key]();
    redraw();
  });
}

function showFilters() {
  byId("filters").append(...KINDS.map(({ id, text, of }) => el("button", {
    class: "chip", "--of": of, "aria-pressed": "true", title: text,
    onclick(event) {
      if (hidden.has(id)) hidden.delete(id); else hidden.add(id);
      event.currentTarget.setAttribute("aria-pressed", String(shows(id)));
      list();
      redraw();
    },
  }, el("span", {}, text))));
}

introduce((at) => { showMoment(at, violations[0][MARK.NODE]); redraw(); });
showFilters();
countFrames();
Object.assign(view, sharp(byId("diagram")));
showFirst();
list();
// The list is where the diagram is.
if (violations.length) byId("moments").children[listed.findIndex(({ kind }) => kind === "violation")]?.scrollIntoView({ block: "center" });
listen();
listenOverview(redraw);
onLookChange(redraw);
addEventListener("resize", resize);
resize();
ROOT.dataset.nodes = String(DATA.nodes_all);
ROOT.dataset.lanes = String(laneCount);
ROOT.dataset.ready = "true";
