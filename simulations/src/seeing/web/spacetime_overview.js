// The strip that shows the whole run: how many frames, when faults were, where the marks are, what part is on screen.
const overview = { context: null, width: 1, height: 1, bins: [] };

function countFrames() {
  overview.bins = new Array(160).fill(0);
  for (const frame of DATA.frames) {
    overview.bins[Math.min(159, Math.floor((frame[FRAME.SENT] / (DATA.end_ns + 1)) * 160))] += 1;
  }
}
const overviewY = (at) => 6 + (at / (DATA.end_ns || 1)) * (overview.height - 12);
const overviewNs = (top) => ((top - 6) / (overview.height - 12)) * DATA.end_ns;

function drawOverview() {
  const { context, width, height, bins } = overview, most = Math.max(1, ...bins), tall = (height - 12) / bins.length;
  context.clearRect(0, 0, width, height);
  for (const fault of DATA.faults) {
    context.fillStyle = fault[FAULT.SORT] === SORT.BYZANTINE ? COLOUR.odd : COLOUR.warn;
    context.globalAlpha = 0.16;
    const top = overviewY(fault[FAULT.BEGAN]);
    context.fillRect(0, top, width, Math.max(1.5, overviewY(faultEnd(fault)) - top));
  }
  context.globalAlpha = 0.55;
  context.fillStyle = COLOUR.muted;
  bins.forEach((number, place) => {
    const wide = Math.sqrt(number / most) * (width - 14);
    context.fillRect((width - wide) / 2, 6 + place * tall, wide, Math.max(1, tall - 0.6));
  });
  context.globalAlpha = 1;
  for (const [at, , sort] of DATA.marks) {
    context.fillStyle = sort === VIOLATION ? COLOUR.bad : COLOUR.good;
    if (sort !== GOAL) context.fillRect(0, overviewY(at) - 1, width, 2);
    sign(context, sort === GOAL ? 8 : width / 2, overviewY(at), sort === VIOLATION ? 7 : 4.5, sort);
  }
  const top = clamp(overviewY(view.from), 1, height - 5), bottom = clamp(overviewY(view.until), top + 5, height - 1);
  context.fillStyle = context.strokeStyle = COLOUR.accent;
  context.globalAlpha = 0.16;
  context.fillRect(1.5, top, width - 3, bottom - top);
  context.globalAlpha = 1;
  context.lineWidth = 1.5;
  context.strokeRect(1.5, top, width - 3, bottom - top);
}

function listenOverview(redraw) {
  const canvas = byId("overview");
  const go = (event) => {
    const at = overviewNs(event.offsetY), span = view.until - view.from;
    showTime(at - span / 2, at + span / 2);
    redraw();
  };
  canvas.addEventListener("pointerdown", (event) => { canvas.setPointerCapture(event.pointerId); go(event); });
  canvas.addEventListener("pointermove", (event) => { if (event.buttons) go(event); });
  canvas.addEventListener("wheel", (event) => { event.preventDefault(); zoom(Math.exp(event.deltaY * 0.002)); redraw(); }, { passive: false });
}
