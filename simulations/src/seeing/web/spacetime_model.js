// The diagram's things: lanes, and everything that can be found, filtered and hovered over as one list of items.
const regionOf = new Map(DATA.nodes);
const lanes = DATA.nodes.map(([node]) => node)
  .sort((one, other) => regionOf.get(one) - regionOf.get(other) || one - other);
const laneOf = new Map(lanes.map((node, lane) => [node, lane]));
const others = DATA.nodes_all - lanes.length;
const laneCount = lanes.length + (others > 0 ? 1 : 0);
// Nodes without a lane share the last one.
const lane = (node) => laneOf.get(node) ?? lanes.length;
const isLost = (frame) => frame[FRAME.FLIGHT] === LOST;

// A frame that did not arrive is drawn as long as a usual one.
const flights = DATA.frames.map((frame) => frame[FRAME.FLIGHT]).filter((flight) => flight >= 0).sort((one, other) => one - other);
const usualFlight = flights[flights.length >> 1] ?? DATA.end_ns / 100;
const longestFlight = Math.max(flights[flights.length - 1] ?? 0, usualFlight);
const arrivalOf = (frame) => frame[FRAME.SENT] + (frame[FRAME.FLIGHT] >= 0 ? frame[FRAME.FLIGHT] : usualFlight);

// What the chips above the diagram switch.
const KINDS = [
  { id: "lost", text: "lost frames", of: "var(--bad)" },
  { id: "down", text: "crashes, pauses", of: "var(--muted)" },
  { id: "fault", text: "faults", of: "var(--warn)" },
  { id: "operation", text: "operations", of: "var(--accent)" },
  { id: "goal", text: "goals", of: "var(--good)" },
  { id: "violation", text: "violations", of: "var(--bad)" },
];
DATA.labels.slice(0, LABEL_COLOURS).forEach((text, label) => KINDS.push({ id: `label-${label}`, text, of: labelVariable(label) }));
if (DATA.labels.length > LABEL_COLOURS) {
  KINDS.push({ id: "label-rest", text: `${DATA.labels.length - LABEL_COLOURS} more labels`, of: "var(--label-rest)" });
}
const labelKind = (label) => (label < LABEL_COLOURS ? `label-${label}` : "label-rest");
const hidden = new Set();
const shows = (kind) => !hidden.has(kind);
const showsFrame = (frame) => shows(labelKind(frame[FRAME.LABEL])) && (!isLost(frame) || shows("lost"));

// Spans in which a node was down or stood still.
const spans = [];
{
  const since = new Map();
  const close = (node, until) => {
    const [begin, life] = since.get(node) ?? [0, LIFE.RUNS];
    if (life !== LIFE.RUNS) spans.push({ node, life, begin, end: until, open: until >= DATA.end_ns });
  };
  for (const [at, node, life] of DATA.lives) {
    close(node, at);
    since.set(node, [at, life]);
  }
  for (const node of since.keys()) close(node, DATA.end_ns);
}

// Operations of one node at the same time stand beside each other.
const slots = new Map();
DATA.operations.forEach((operation) => {
  const free = slots.get(operation[OPERATION.NODE]) ?? [];
  let slot = free.findIndex((until) => until <= operation[OPERATION.ASKED]);
  if (slot < 0) slot = free.length;
  free[slot] = operationEnd(operation);
  slots.set(operation[OPERATION.NODE], free);
  operation.slot = slot;
});

// An item: kind, times, node, colour, title and rows for the card, text to search in.
function item(kind, begin, end, node, of, title, rows) {
  const text = `${title} ${name(node)} ${rows.map(([, value]) => value).join(" ")}`.toLowerCase();
  return { kind, begin, end, node, of, title, rows, text };
}
function frameItem(frame) {
  const [sent, flight, from, to, label, size] = frame;
  const fate = flight >= 0 ? `after ${duration(flight)}` : flight === LOST ? "never: lost" : "after the end of the run";
  const rows = [["way", `n${from} → n${to}`], ["sent", moment(sent, 1e3)], ["arrives", fate], ["size", bytes(size)]];
  return item(labelKind(label), sent, arrivalOf(frame), from, flight === LOST ? "var(--bad)" : labelVariable(label), DATA.labels[label], rows);
}
function faultItem(fault) {
  const nodes = fault[FAULT.NODES], lasts = fault[FAULT.ENDED] === null ? "to the end" : duration(faultEnd(fault) - fault[FAULT.BEGAN]);
  const among = nodes.length ? nodes.slice(0, 12).map(name).join(" ") + (nodes.length > 12 ? ` and ${nodes.length - 12} more` : "") : "the network";
  return item("fault", fault[FAULT.BEGAN], faultEnd(fault), nodes[0] ?? null, "var(--warn)", fault[FAULT.TEXT],
    [["begins", moment(fault[FAULT.BEGAN], 1e6)], ["lasts", lasts], ["nodes", among]]);
}
function operationItem(operation) {
  const [node, text, asked, ended, ok, said] = operation;
  const outcome = ended === null ? "never ended" : `${ok ? "ok" : "failed"} after ${duration(ended - asked)}`;
  return item("operation", asked, operationEnd(operation), node, ok ? "var(--accent)" : "var(--bad)", text,
    [["at", `${name(node)}, ${moment(asked, 1e6)}`], ["ends", outcome], ...(said ? [["with", said]] : [])]);
}
function spanItem({ node, life, begin, end, open }) {
  const lasts = open ? "to the end" : duration(end - begin);
  return item("down", begin, end, node, life === LIFE.DOWN ? "var(--muted)" : "var(--warn)",
    `n${node} ${life === LIFE.DOWN ? "is down" : "stands still"}`, [["since", moment(begin, 1e6)], ["for", lasts]]);
}
function markItem([at, node, sort, text]) {
  const kind = ["goal", "violation", "calm"][sort], of = sort === VIOLATION ? "var(--bad)" : "var(--good)";
  const title = ["Goal", "Promise broken", "Calm"][sort];
  return item(kind, at, at, node, of, title, [["what", text], ["when", moment(at, 1e6)], ...(node === null ? [] : [["at", name(node)]])]);
}
