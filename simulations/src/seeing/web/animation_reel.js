// The reel: what the network's state is at any time. Forward it applies changes, backward it starts again.
const places = new Map(DATA.nodes.map(([node], place) => [node, place]));
const NEVER = 3; // the life of a node that has not started yet
const mostBytes = DATA.holds.reduce((most, [, , , size]) => Math.max(most, size), 1);

const reel = {
  at: -1, next: 0, version: 0,
  life: new Uint8Array(DATA.nodes.length), shards: new Float64Array(DATA.nodes.length), bytes: new Float64Array(DATA.nodes.length),
  links: new Map(), done: new Float64Array(DATA.operations.length), changes: [],

  load() {
    const add = (rows, apply) => rows.forEach((row) => this.changes.push({ at: row[0], apply: () => apply(row) }));
    add(DATA.lives, ([, node, life]) => { this.life[places.get(node)] = life; this.version += 1; });
    add(DATA.holds, ([, node, shards, size]) => { this.shards[places.get(node)] = shards; this.bytes[places.get(node)] = size; });
    add(DATA.progress, ([, operation, done]) => { this.done[operation] = done; });
    add(DATA.links, ([, one, other, up]) => {
      const key = one * 4294967296 + other;
      if (up) this.links.set(key, [places.get(one), places.get(other)]); else this.links.delete(key);
      this.version += 1;
    });
    this.changes.sort((one, other) => one.at - other.at);
    // A node of which nothing is said runs all the time.
    this.first = new Uint8Array(DATA.nodes.length).fill(LIFE.RUNS);
    for (const [, node] of DATA.lives) this.first[places.get(node)] = NEVER;
    this.rewind();
  },
  rewind() {
    this.next = 0;
    this.life.set(this.first);
    for (const values of [this.shards, this.bytes, this.done]) values.fill(0);
    this.links.clear();
    this.version += 1;
  },
  seek(at) {
    if (at < this.at) this.rewind();
    while (this.next < this.changes.length && this.changes[this.next].at <= at) this.changes[this.next++].apply();
    this.at = at;
  },
};
reel.load();

const faultsAt = (at) => DATA.faults.filter((fault) => fault[FAULT.BEGAN] <= at && (fault[FAULT.ENDED] ?? Infinity) > at);
const operationsAt = (at) => DATA.operations.filter((operation) => operation[OPERATION.ASKED] <= at && operation[OPERATION.ENDED] > at
  || (operation[OPERATION.ENDED] === null && operation[OPERATION.ASKED] <= at));

// When something next happens that a person would not want to miss.
const eventful = [...DATA.frames.map((frame) => frame[FRAME.SENT]), ...DATA.faults.flatMap((fault) => [fault[FAULT.BEGAN], faultEnd(fault)]),
  ...DATA.operations.flatMap((operation) => [operation[OPERATION.ASKED], operationEnd(operation)]), ...DATA.lives.map(([at]) => at),
  ...DATA.marks.map(([at]) => at), DATA.end_ns].sort((one, other) => one - other);
const nextEvent = (at) => eventful[lowerBound(eventful, at, (time) => time)] ?? DATA.end_ns;
const longestFlight = DATA.frames.reduce((most, frame) => Math.max(most, frame[FRAME.FLIGHT]), 1);
