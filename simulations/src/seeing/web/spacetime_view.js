// What part of space and time the diagram shows, and where things are on the screen.
const TOP = 66, LEFT = 84, LANE_MIN = 5, LANE_MAX = 220, SPAN_MIN = 2_000;
const OTHERS_WIDE = others > 0 ? 74 : 12; // the room at the right, in which the others' lane stays
const view = { from: 0, until: 1, left: 0, lane: laneCount > 24 ? 36 : 60, width: 1, height: 1, selected: null, context: null };

const y = (ns) => TOP + ((ns - view.from) / (view.until - view.from)) * (view.height - TOP);
const ns = (top) => view.from + ((top - TOP) / (view.height - TOP)) * (view.until - view.from);
const x = (place) => (place < lanes.length ? LEFT + (place + 0.5) * view.lane - view.left : view.width - OTHERS_WIDE / 2);
const room = () => view.width - LEFT - OTHERS_WIDE;
const visible = (begin, end) => end >= view.from && begin <= view.until;

// Keeps the view inside the run, with a little air above and below.
function settle() {
  const whole = (DATA.end_ns + 1) / (1 - 2 * AIR), span = clamp(view.until - view.from, Math.min(SPAN_MIN, whole), whole), air = span * AIR;
  view.from = clamp(view.from, -air, DATA.end_ns + air - span);
  view.until = view.from + span;
  view.lane = clamp(view.lane, Math.min(Math.max(LANE_MIN, room() / Math.max(lanes.length, 1)), LANE_MAX), LANE_MAX);
  view.left = clamp(view.left, 0, Math.max(0, view.lane * lanes.length - room()));
}

function zoom(factor, top = (view.height + TOP) / 2) {
  const about = ns(top);
  const span = clamp((view.until - view.from) * factor, SPAN_MIN, 2 * DATA.end_ns + SPAN_MIN);
  const part = (about - view.from) / (view.until - view.from);
  view.from = about - part * span;
  view.until = view.from + span;
  settle();
}
function widen(factor) {
  const middle = (view.left + room() / 2) / view.lane;
  view.lane = clamp(view.lane * factor, LANE_MIN, LANE_MAX);
  view.left = middle * view.lane - room() / 2;
  settle();
}
function showAll() {
  view.lane = LANE_MIN;
  showTime(-DATA.end_ns, 2 * DATA.end_ns);
}
function move(dx, dy) {
  const shift = (dy / (view.height - TOP)) * (view.until - view.from);
  view.from += shift;
  view.until += shift;
  view.left += dx;
  settle();
}
function showTime(begin, end) {
  view.from = begin;
  view.until = Math.max(end, begin + SPAN_MIN);
  settle();
}
function showLane(node) {
  const at = (lane(node) + 0.5) * view.lane;
  if (laneOf.has(node) && (at < view.left + view.lane || at > view.left + room() - view.lane)) view.left = at - room() / 2;
  settle();
}

const AIR = 0.045; // what may be empty above and below, as a part of the view
const FEW = 45; // so many arrows can be told apart

// So much time around a moment that about `number` arrows are in it.
function spanAround(at, number) {
  const frames = DATA.frames, middle = lowerBound(frames, at, (frame) => frame[FRAME.SENT]);
  if (!frames.length) return DATA.end_ns * 1.04;
  const first = frames[Math.max(0, middle - number)][FRAME.SENT];
  return clamp((at - first) * 1.35, usualFlight * 4, DATA.end_ns * 1.04 + 1);
}
function showMoment(at, node = null) {
  const span = spanAround(at, FEW);
  showTime(at - span * 0.74, at + span * 0.26);
  if (node !== null) showLane(node);
}
function showItem(found) {
  const span = view.until - view.from;
  if (found.begin < view.from + span * 0.05 || found.begin > view.until - span * 0.15) {
    const wanted = Math.min(span, spanAround(found.begin, FEW));
    showTime(found.begin - wanted * 0.35, found.begin + wanted * 0.65);
  }
  showLane(found.node);
}

// Where the page opens: at the violation; else all of a short run, or the first fault or operation of a long one.
function showFirst() {
  showTime(-DATA.end_ns, 2 * DATA.end_ns);
  if (violations.length) return showMoment(violations[0][MARK.AT], violations[0][MARK.NODE]);
  if (DATA.frames.length <= 400 && lanes.length <= 24) return;
  const first = moments.find(({ kind, node }) => kind === "operation" && laneOf.has(node)) ?? moments[0];
  const at = first?.begin ?? 0, span = spanAround(at, FEW * 2);
  showTime(at - span * 0.15, at + span * 0.85);
  showLane(first?.node ?? null);
}

// A step between lines of the time axis that people can count in.
function axisStep(span, room) {
  const least = (span * 56) / room, power = 10 ** Math.floor(Math.log10(least));
  return [1, 2, 5, 10].map((times) => times * power).find((step) => step >= least);
}
