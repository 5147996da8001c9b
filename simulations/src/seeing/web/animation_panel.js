// The words: clock, census, captions of faults, operations with their progress, goals, how it ended.
const OPERATIONS_SHOWN = 24, CAPTIONS_MAX = 5;
const said = {};
// Changes an element only when its content did: screen readers and scrolling are left in peace.
function say(id, key, children) {
  if (said[id] === key) return;
  said[id] = key;
  byId(id).replaceChildren(...children());
}

function showWords(at, step) {
  byId("clock").textContent = moment(at, step);
  const running = reel.life.reduce((sum, life) => sum + (life === LIFE.RUNS ? 1 : 0), 0), held = reel.bytes.reduce((sum, size) => sum + size, 0);
  const shards = reel.shards.reduce((sum, number) => sum + number, 0);
  byId("census").textContent = `${count(running)} of ${counted(DATA.nodes.length, "node")} running · ${counted(reel.links.size, "connection")}`
    + (shards ? ` · ${counted(shards, "shard")}, ${bytes(held)} held` : "");
  showCaptions(at);
  showOperations(at);
  showGoals(at);
  showEnding(at);
}

function showCaptions(at) {
  const faults = faultsAt(at), calm = DATA.marks.some((mark) => mark[MARK.SORT] === CALM && mark[MARK.AT] <= at);
  say("captions", `${faults.map((fault) => fault[FAULT.BEGAN] + fault[FAULT.TEXT])} ${calm}`, () => {
    const rows = faults.slice(-CAPTIONS_MAX).map((fault) => {
      const nodes = fault[FAULT.NODES].length, among = nodes ? ` · ${nodes <= 6 ? fault[FAULT.NODES].map(name).join(" ") : `${count(nodes)} nodes`}` : "";
      return el("li", { "--of": fault[FAULT.SORT] === SORT.BYZANTINE ? "var(--odd)" : "var(--warn)" }, fault[FAULT.TEXT] + among);
    });
    if (faults.length > CAPTIONS_MAX) rows.unshift(el("li", { "--of": "var(--warn)" }, `and ${faults.length - CAPTIONS_MAX} more faults`));
    if (calm && !faults.length) rows.push(el("li", { "--of": "var(--good)" }, "Calm: all faults are over, the network must recover"));
    return rows;
  });
}

function showOperations(at) {
  const asked = DATA.operations.map((operation, place) => ({ operation, place })).filter(({ operation }) => operation[OPERATION.ASKED] <= at);
  const isOpen = ({ operation }) => operation[OPERATION.ENDED] === null || operation[OPERATION.ENDED] > at;
  const open = asked.filter(isOpen), ended = asked.filter((entry) => !isOpen(entry)).sort((one, other) => other.operation[OPERATION.ENDED] - one.operation[OPERATION.ENDED]);
  const shown = [...open.reverse(), ...ended].slice(0, OPERATIONS_SHOWN);
  const key = shown.map((entry) => `${entry.place}:${isOpen(entry) ? reel.done[entry.place].toFixed(2) : "."}`).join();
  say("operations", `${key} ${asked.length}`, () => {
    const rows = shown.map((entry) => operationRow(entry, isOpen(entry)));
    const more = asked.length - shown.length;
    if (more > 0) rows.push(el("li", { class: "none" }, `${count(more)} before these`));
    return rows.length ? rows : [el("li", { class: "none" }, "None yet.")];
  });
}
function operationRow({ operation, place }, open) {
  const [node, text, asked, ended, ok, words] = operation;
  const outcome = open ? `${Math.round(reel.done[place] * 100)}%` : `${ok ? "✓" : "✕"} ${duration(ended - asked)}`;
  const of = open ? "var(--accent)" : ok ? "var(--good)" : "var(--bad)";
  return el("li", { title: words || text },
    el("div", { class: "row" }, el("span", { class: "at" }, name(node)), el("span", { class: "what" }, text), el("span", { class: "at", style: `color: ${of}` }, outcome)),
    el("div", { class: "meter" }, el("i", { "--of": of, "--done": open || !ok ? Math.max(reel.done[place], 0.01) : 1 })));
}

function showGoals(at) {
  const goals = DATA.marks.filter((mark) => mark[MARK.SORT] === GOAL), reached = goals.filter((mark) => mark[MARK.AT] <= at).length;
  say("goals", String(reached), () => (goals.length
    ? goals.map((mark) => el("li", mark[MARK.AT] <= at ? { class: "reached" } : {}, mark[MARK.TEXT]))
    : [el("li", { class: "none" }, "This run reached none.")]));
  byId("goal-count").textContent = goals.length ? `${reached} / ${goals.length}` : "";
}

function showBroken(jump) {
  byId("broken").hidden = !violations.length;
  byId("broken").replaceChildren(...violations.slice(0, 3).map((mark) => el("button", { title: "Go there", onclick: () => jump(mark[MARK.AT]) },
    el("b", {}, `Broken at ${moment(mark[MARK.AT], 1e6)}${mark[MARK.NODE] === null ? "" : `, ${name(mark[MARK.NODE])}`}: `), mark[MARK.TEXT])));
  if (violations.length > 3) byId("broken").append(el("p", { class: "notes" }, `and ${count(violations.length - 3)} more`));
}

function showEnding(at) {
  const over = at >= DATA.end_ns, broken = violations.length;
  byId("ending").hidden = !over;
  byId("ending").classList.toggle("bad", broken > 0);
  say("ending", String(over), () => {
    const ok = DATA.operations.filter((operation) => operation[OPERATION.OK]).length;
    return [el("strong", {}, broken ? `${counted(broken, "promise")} broken` : "No promise was broken"),
      el("p", {}, broken ? violations[0][MARK.TEXT] : `${count(ok)} of ${count(DATA.operations.length)} operations succeeded.`)];
  });
}

function showLabels(redraw) {
  const shown = DATA.labels.slice(0, LABEL_COLOURS).map((text, label) => [label, text]);
  if (DATA.labels.length > LABEL_COLOURS) shown.push([LABEL_COLOURS, `${DATA.labels.length - LABEL_COLOURS} more`]);
  byId("labels").append(...shown.map(([label, text]) => el("button", {
    class: "chip", "--of": labelVariable(label), "aria-pressed": "true", title: text,
    onclick(event) {
      if (hiddenLabels.has(label)) hiddenLabels.delete(label); else hiddenLabels.add(label);
      event.currentTarget.setAttribute("aria-pressed", String(!hiddenLabels.has(label)));
      redraw();
    },
  }, el("span", {}, text))));
}
