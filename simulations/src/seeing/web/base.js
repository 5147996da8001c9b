// What both pages share: the data, colours, numbers as people write them, and elements whose text stays text.
const ROOT = document.documentElement;
window.addEventListener("error", () => { ROOT.dataset.errors = String(Number(ROOT.dataset.errors) + 1); });

const DATA = JSON.parse(document.getElementById("data").textContent);

// Places in the rows of DATA.
const FRAME = { SENT: 0, FLIGHT: 1, FROM: 2, TO: 3, LABEL: 4, BYTES: 5 };
const LOST = -1;
const OPERATION = { NODE: 0, TEXT: 1, ASKED: 2, ENDED: 3, OK: 4, SAID: 5 };
const FAULT = { TEXT: 0, NODES: 1, BEGAN: 2, ENDED: 3, SORT: 4 };
const SORT = { OTHER: 0, PARTITION: 1, BYZANTINE: 2 };
const MARK = { AT: 0, NODE: 1, SORT: 2, TEXT: 3 };
const GOAL = 0, VIOLATION = 1, CALM = 2;
const LIFE = { DOWN: 0, RUNS: 1, PAUSED: 2 };
const LABEL_COLOURS = 6;

const violations = DATA.marks.filter((mark) => mark[MARK.SORT] === VIOLATION);
const name = (node) => (node === null ? "network" : `n${node}`);
const clamp = (value, min, max) => Math.min(Math.max(value, min), max);
const faultEnd = (fault) => fault[FAULT.ENDED] ?? DATA.end_ns;
const operationEnd = (operation) => operation[OPERATION.ENDED] ?? DATA.end_ns;

// The first place in a sorted list whose value is at least `value`.
function lowerBound(list, value, of) {
  let low = 0, high = list.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (of(list[middle]) < value) low = middle + 1; else high = middle;
  }
  return low;
}

// The page's colours, read from its style so that light and dark have one source.
const COLOUR = {};
function readColours() {
  const style = getComputedStyle(ROOT);
  for (const key of ["page", "surface", "sunken", "line", "rule", "text", "muted", "faint", "accent", "good", "warn", "bad",
    "odd", "label-rest", "sans", "mono"]) COLOUR[key] = style.getPropertyValue(`--${key}`).trim();
  COLOUR.labels = Array.from({ length: LABEL_COLOURS }, (_, place) => style.getPropertyValue(`--label-${place}`).trim());
}
readColours();
const labelColour = (label) => COLOUR.labels[label] ?? COLOUR["label-rest"];
const labelVariable = (label) => (label < LABEL_COLOURS ? `var(--label-${label})` : "var(--label-rest)");
const font = (px, weight = 400) => `${weight} ${px}px ${COLOUR.sans}`;

function onLookChange(redraw) {
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { readColours(); redraw(); });
}
const reducedMotion = matchMedia("(prefers-reduced-motion: reduce)");

// An element; children are elements or text. `on…` attributes are listeners.
function el(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (key.startsWith("--")) element.style.setProperty(key, value);
    else if (value !== null && value !== false) element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children);
  return element;
}
const byId = (id) => document.getElementById(id);

function digits(amount) { return amount.toFixed(amount < 9.995 ? 2 : amount < 99.95 ? 1 : 0); }
function duration(ns) {
  if (ns < 1e3) return `${Math.round(ns)} ns`;
  if (ns < 1e6) return `${digits(ns / 1e3)} µs`;
  if (ns < 1e9) return `${digits(ns / 1e6)} ms`;
  if (ns < 60e9) return `${digits(ns / 1e9)} s`;
  const seconds = Math.floor(ns / 1e9), two = (number) => String(number).padStart(2, "0");
  return seconds < 3600 ? `${Math.floor(seconds / 60)} m ${two(seconds % 60)} s`
    : `${Math.floor(seconds / 3600)} h ${two(Math.floor(seconds / 60) % 60)} m`;
}
// A moment, as fine as steps of `step` ns need it.
function moment(ns, step) {
  const decimals = clamp(Math.ceil(-Math.log10(step / 1e9) - 1e-9), 0, 9), seconds = ns / 1e9;
  if (seconds < 60 || decimals > 3) return `${seconds.toFixed(decimals)} s`;
  const rest = (seconds % 60).toFixed(decimals).padStart(decimals ? decimals + 3 : 2, "0");
  const minutes = Math.floor(seconds / 60);
  return minutes < 60 ? `${minutes}:${rest}` : `${Math.floor(minutes / 60)}:${String(minutes % 60).padStart(2, "0")}:${rest}`;
}
function bytes(amount) {
  if (amount < 1024) return `${amount} B`;
  for (const unit of ["KiB", "MiB", "GiB"]) {
    amount /= 1024;
    if (amount < 999.5) return `${digits(amount)} ${unit}`;
  }
  return `${digits(amount / 1024)} TiB`;
}
const count = (number) => number.toLocaleString("en-US");
const counted = (number, word) => `${count(number)} ${word}${number === 1 ? "" : "s"}`;

// Makes a canvas as sharp as the screen. Returns its context and size in CSS pixels.
function sharp(canvas) {
  const box = canvas.parentElement.getBoundingClientRect(), ratio = window.devicePixelRatio || 1;
  const [width, height] = [Math.max(1, box.width), Math.max(1, box.height)];
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  return { context, width, height };
}

// `text`, cut to what fits into `width` pixels.
function fitted(context, text, width) {
  if (context.measureText(text).width <= width) return text;
  let low = 0, high = text.length;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (context.measureText(`${text.slice(0, middle)}…`).width <= width) low = middle; else high = middle - 1;
  }
  return low ? `${text.slice(0, low)}…` : "";
}

// The bar on top.
function introduce(jump) {
  byId("title").textContent = DATA.title;
  byId("facts").textContent = `${counted(DATA.nodes_all, "node")} · ${duration(DATA.end_ns)} · ${counted(DATA.frames_all, "frame")}`;
  const verdict = byId("verdict"), broken = violations.length;
  verdict.textContent = broken ? `${counted(broken, "promise")} broken` : "No promise broken";
  verdict.classList.toggle("bad", broken > 0);
  verdict.disabled = !broken;
  verdict.addEventListener("click", () => jump(violations[0][MARK.AT]));
  byId("notes").textContent = DATA.notes.join(" ");
  byId("notes").hidden = !DATA.notes.length;
}

// A small card beside the pointer.
const tip = {
  show(title, rows, x, y) {
    const card = byId("tip");
    card.replaceChildren(el("b", {}, title), el("dl", {}, ...rows.flatMap(([term, value]) => [el("dt", {}, term), el("dd", {}, value)])));
    card.hidden = false;
    const { width, height } = card.getBoundingClientRect();
    card.style.left = `${x + 16 + width > innerWidth ? Math.max(4, x - width - 12) : x + 16}px`;
    card.style.top = `${clamp(y + 14, 4, Math.max(4, innerHeight - height - 4))}px`;
  },
  hide() { byId("tip").hidden = true; },
};
