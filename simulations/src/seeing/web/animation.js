// The page: time runs, or is put where a person wants it.
const player = { at: 0, playing: false, speed: 1, lastMs: 0, wordsMs: -1e9, skip: true };
const WHOLE_S = 45, STEPS = [0.01, 0.05, 0.1, 0.25, 0.5, 1, 2, 4, 10];
const QUIET_S = 1.2, STILL_STEP_S = 0.5;

function render(nowMs) {
  // Who wants less motion sees steps instead of movement.
  const step = STILL_STEP_S * 1e9 * player.speed;
  const at = reducedMotion.matches && player.playing && player.at < DATA.end_ns ? Math.floor(player.at / step) * step : player.at;
  reel.seek(at);
  const dots = drawStage(at, player.speed, nowMs);
  drawTimeline(player.at);
  if (nowMs - player.wordsMs > 110 || !player.playing) {
    player.wordsMs = nowMs;
    showWords(at, clamp(player.speed * 1e7, 1, 1e9));
    byId("timeline").setAttribute("aria-valuenow", String(Math.round(player.at / 1e6)));
    byId("timeline").setAttribute("aria-valuetext", moment(player.at, 1e6));
  }
  ROOT.dataset.dots = String(dots);
}
function frame(nowMs) {
  if (player.playing) {
    const passed = Math.min(100, nowMs - player.lastMs) * 1e6 * player.speed;
    player.at = Math.min(DATA.end_ns, player.at + passed);
    const next = nextEvent(player.at - LINGER_S * 1e9 * player.speed), quiet = QUIET_S * 1e9 * player.speed;
    if (player.skip && next > player.at + quiet) player.at = next - quiet * 0.3;
    if (player.at >= DATA.end_ns) play(false);
  }
  player.lastMs = nowMs;
  render(nowMs);
  // Rings beat while a person looks at one moment, too; nothing else moves then.
  if (player.playing) requestAnimationFrame(frame);
}
const redraw = () => { if (!player.playing) requestAnimationFrame(render); };

function play(wanted) {
  if (wanted && player.at >= DATA.end_ns) player.at = 0;
  const starts = wanted && !player.playing;
  player.playing = wanted;
  byId("play").classList.toggle("playing", wanted);
  byId("play").setAttribute("aria-label", wanted ? "Pause" : "Play");
  if (starts) requestAnimationFrame((nowMs) => { player.lastMs = nowMs; frame(nowMs); });
}
function jump(at) {
  player.at = clamp(at, 0, DATA.end_ns);
  player.wordsMs = -1e9;
  redraw();
}
function jumpToViolation(at) {
  play(false);
  jump(at);
}

// Speeds around the one that shows the whole run in less than a minute.
function offerSpeeds() {
  const raw = Math.max(DATA.end_ns / 1e9 / WHOLE_S, 1e-6), power = 10 ** Math.floor(Math.log10(raw));
  const usual = [1, 2, 5, 10].map((times) => times * power).find((speed) => speed >= raw * 0.8);
  for (const times of STEPS) {
    const speed = usual * times;
    byId("speed").append(el("option", { value: speed, selected: times === 1 }, `${Number(speed.toPrecision(3))}× time`));
  }
  player.speed = usual;
}
function changeSpeed(by) {
  const select = byId("speed");
  select.selectedIndex = clamp(select.selectedIndex + by, 0, select.options.length - 1);
  player.speed = Number(select.value);
  redraw();
}
function toggleSkip() {
  player.skip = !player.skip;
  byId("skip").setAttribute("aria-pressed", String(player.skip));
}

function resize() {
  Object.assign(stage, sharp(byId("stage")));
  Object.assign(timeline, sharp(byId("timeline")));
  arrangeNodes(stage.width, stage.height);
  paintTimeline();
  redraw();
}

function listenTimeline() {
  const canvas = byId("timeline");
  const go = (event) => jump(timelineNs(event.offsetX));
  canvas.addEventListener("pointerdown", (event) => { canvas.setPointerCapture(event.pointerId); go(event); });
  canvas.addEventListener("pointermove", (event) => {
    if (event.buttons) go(event);
    const at = timelineNs(event.offsetX);
    tip.show(moment(at, DATA.end_ns / 1e3), timelineRows(at), event.clientX, event.clientY - 130);
  });
  canvas.addEventListener("pointerleave", tip.hide);
}
function listenStage() {
  const canvas = byId("stage");
  canvas.addEventListener("pointermove", (event) => {
    const node = nodeAt(event.offsetX, event.offsetY);
    if (node < 0) return tip.hide();
    const [id, region] = DATA.nodes[node], state = ["down", "running", "stands still", "not started"][reel.life[node]];
    const faults = faultsAt(player.at).filter((fault) => fault[FAULT.NODES].includes(id)).slice(0, 4);
    const links = [...reel.links.values()].filter((link) => link.includes(node)).length;
    tip.show(name(id), [["region", DATA.regions[region] || "none"], ["state", state], ["connections", count(links)],
      ["holds", `${count(reel.shards[node])} shards, ${bytes(reel.bytes[node])}`], ...faults.map((fault) => ["fault", fault[FAULT.TEXT]])], event.clientX, event.clientY);
  });
  canvas.addEventListener("pointerleave", tip.hide);
}
function listenKeys() {
  const part = (of) => jump(player.at + DATA.end_ns * of);
  const moments = DATA.marks.map(([at]) => at).concat(DATA.faults.map((fault) => fault[FAULT.BEGAN])).sort((one, other) => one - other);
  const keys = {
    " ": () => play(!player.playing), k: () => play(!player.playing), s: toggleSkip,
    ArrowLeft: (event) => part(event.shiftKey ? -0.05 : -0.01), ArrowRight: (event) => part(event.shiftKey ? 0.05 : 0.01),
    PageUp: () => part(-0.1), PageDown: () => part(0.1), Home: () => jump(0), End: () => jump(DATA.end_ns),
    "[": () => changeSpeed(-1), "]": () => changeSpeed(1),
    n: () => jump(moments.find((at) => at > player.at) ?? DATA.end_ns), p: () => jump(moments.findLast((at) => at < player.at) ?? 0),
  };
  document.addEventListener("keydown", (event) => {
    if (!keys[event.key] || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.closest("select") || (event.key === " " && event.target.closest("button"))) return;
    event.preventDefault();
    keys[event.key](event);
  });
  byId("play").addEventListener("click", () => play(!player.playing));
  byId("skip").addEventListener("click", toggleSkip);
  byId("speed").addEventListener("change", () => changeSpeed(0));
}

introduce(jumpToViolation);
byId("timeline").setAttribute("aria-valuemax", String(Math.round(DATA.end_ns / 1e6)));
offerSpeeds();
packFaults();
showLabels(redraw);
showBroken(jumpToViolation);
listenTimeline();
listenStage();
listenKeys();
addEventListener("resize", resize);
onLookChange(() => { paintTimeline(); redraw(); });
// A moment can be linked to: #at=12.5 (seconds).
const linked = /^#at=([\d.]+)$/.exec(location.hash);
if (linked) player.at = clamp(Number(linked[1]) * 1e9, 0, DATA.end_ns);
resize();
render(0);
play(!linked && !reducedMotion.matches);
ROOT.dataset.nodes = String(DATA.nodes.length);
ROOT.dataset.ready = "true";
