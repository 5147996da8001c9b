// The timeline: marks, faults, operations and traffic of the whole run, and where the animation is.
const timeline = { context: null, width: 1, height: 1, picture: document.createElement("canvas"), rows: [], bins: [] };
const EDGE = 10, MARKS_Y = 9, FAULTS_Y = 20, FAULT_TALL = 14, FAULT_ROWS = 2, TRAFFIC_Y = 86, OPERATIONS_Y = 55;

const timelineX = (at) => EDGE + (at / (DATA.end_ns || 1)) * (timeline.width - 2 * EDGE);
const timelineNs = (left) => clamp((left - EDGE) / (timeline.width - 2 * EDGE), 0, 1) * DATA.end_ns;

// Faults that overlap stand below each other, as far as there is room.
function packFaults() {
  const free = new Array(FAULT_ROWS).fill(-1);
  timeline.rows = DATA.faults.map((fault) => {
    let row = free.findIndex((until) => until <= fault[FAULT.BEGAN]);
    if (row < 0) row = FAULT_ROWS - 1;
    free[row] = Math.max(free[row], faultEnd(fault));
    return row;
  });
  timeline.bins = new Array(240).fill(0);
  for (const frame of DATA.frames) timeline.bins[Math.min(239, Math.floor((frame[FRAME.SENT] / (DATA.end_ns + 1)) * 240))] += 1;
}

function paintTimeline() {
  const { context, width, height, picture } = timeline;
  picture.width = context.canvas.width;
  picture.height = context.canvas.height;
  const paper = picture.getContext("2d");
  paper.setTransform(context.getTransform());
  paper.textBaseline = "middle";
  paintTraffic(paper, width);
  paintFaults(paper);
  for (const operation of DATA.operations) {
    const begin = timelineX(operation[OPERATION.ASKED]), end = timelineX(operationEnd(operation));
    paper.fillStyle = operation[OPERATION.ENDED] === null ? COLOUR.warn : operation[OPERATION.OK] ? COLOUR.accent : COLOUR.bad;
    paper.globalAlpha = 0.75;
    paper.fillRect(begin, OPERATIONS_Y, Math.max(2, end - begin), 4);
  }
  paper.globalAlpha = 1;
  paintMarks(paper, height);
}
function paintTraffic(paper, width) {
  const most = Math.max(1, ...timeline.bins), wide = (width - 2 * EDGE) / timeline.bins.length;
  paper.fillStyle = COLOUR.muted;
  paper.globalAlpha = 0.4;
  timeline.bins.forEach((number, place) => {
    const tall = Math.sqrt(number / most) * 24;
    paper.fillRect(EDGE + place * wide, TRAFFIC_Y - tall, Math.max(1, wide - 0.7), tall);
  });
  paper.globalAlpha = 1;
  paper.fillStyle = COLOUR.line;
  paper.fillRect(EDGE, TRAFFIC_Y, width - 2 * EDGE, 1);
  const power = 10 ** Math.floor(Math.log10((DATA.end_ns || 1) / 4)), step = [5, 2, 1].map((times) => times * power).find((size) => DATA.end_ns / size >= 3) ?? power;
  paper.font = font(11);
  paper.fillStyle = COLOUR.muted;
  for (let tick = 0; tick * step <= DATA.end_ns; tick++) {
    paper.textAlign = tick === 0 ? "left" : timelineX(tick * step) > width - 40 ? "right" : "center";
    paper.fillText(moment(tick * step, step), timelineX(tick * step), TRAFFIC_Y + 10);
  }
  paper.textAlign = "left";
}
function paintFaults(paper) {
  paper.font = font(10.5, 550);
  DATA.faults.forEach((fault, place) => {
    const begin = timelineX(fault[FAULT.BEGAN]), wide = Math.max(3, timelineX(faultEnd(fault)) - begin), top = FAULTS_Y + timeline.rows[place] * (FAULT_TALL + 2);
    const colour = fault[FAULT.SORT] === SORT.BYZANTINE ? COLOUR.odd : COLOUR.warn;
    paper.fillStyle = colour;
    paper.globalAlpha = 0.22;
    paper.beginPath(); paper.roundRect(begin, top, wide, FAULT_TALL, 3); paper.fill();
    paper.globalAlpha = 1;
    paper.fillRect(begin, top, 2, FAULT_TALL);
    if (wide > 34) paper.fillText(fitted(paper, fault[FAULT.TEXT], wide - 9), begin + 6, top + FAULT_TALL / 2 + 0.5);
  });
}
function paintMarks(paper, height) {
  for (const [at, , sort] of DATA.marks) {
    const left = timelineX(at);
    paper.fillStyle = paper.strokeStyle = sort === VIOLATION ? COLOUR.bad : COLOUR.good;
    if (sort !== GOAL) {
      paper.setLineDash(sort === CALM ? [3, 3] : []);
      paper.lineWidth = sort === VIOLATION ? 1.6 : 1.2;
      paper.beginPath(); paper.moveTo(left, MARKS_Y); paper.lineTo(left, height - 18); paper.stroke();
      paper.setLineDash([]);
    }
    paper.beginPath();
    const corners = sort === VIOLATION ? 4 : sort === GOAL ? 10 : 32, size = sort === VIOLATION ? 7 : sort === GOAL ? 6 : 3.5;
    for (let corner = 0; corner < corners; corner++) {
      const radius = sort === GOAL && corner % 2 ? size * 0.45 : size, angle = (corner / corners) * 2 * Math.PI - Math.PI / 2;
      paper.lineTo(left + radius * Math.cos(angle), MARKS_Y + radius * Math.sin(angle));
    }
    paper.closePath();
    paper.fill();
  }
}

function drawTimeline(at) {
  const { context, width, height, picture } = timeline, left = timelineX(at);
  context.clearRect(0, 0, width, height);
  context.fillStyle = COLOUR.accent;
  context.globalAlpha = 0.09;
  context.fillRect(EDGE, FAULTS_Y - 3, left - EDGE, TRAFFIC_Y - FAULTS_Y + 3);
  context.globalAlpha = 1;
  context.drawImage(picture, 0, 0, width, height);
  context.fillStyle = COLOUR.text;
  context.fillRect(left - 0.75, 4, 1.5, TRAFFIC_Y - 4);
  context.beginPath();
  context.arc(left, TRAFFIC_Y, 5.5, 0, 7);
  context.fill();
}

// What the card says about the timeline under the pointer.
function timelineRows(at) {
  const near = (DATA.end_ns / timeline.width) * 6;
  const marks = DATA.marks.filter((mark) => Math.abs(mark[MARK.AT] - at) < near).slice(0, 4).map((mark) => [["goal", "broken", "calm"][mark[MARK.SORT]], mark[MARK.TEXT]]);
  const faults = faultsAt(at).slice(0, 5).map((fault) => ["fault", fault[FAULT.TEXT]]);
  const operations = operationsAt(at).slice(0, 5).map((operation) => [name(operation[OPERATION.NODE]), operation[OPERATION.TEXT]]);
  return [...marks, ...faults, ...operations];
}
