// Where nodes stand: those of a region together, regions around an ellipse of the stage's shape.
const layout = { x: new Float64Array(DATA.nodes.length), y: new Float64Array(DATA.nodes.length), radius: 10, regions: [] };
const RING_MAX = 9, SPREAD = 0.62;
const GOLDEN = Math.PI * (3 - Math.sqrt(5));

// Places of `number` nodes around the origin, a distance of about 1 apart: a ring of a few, a sunflower of many.
function cluster(number) {
  if (number === 1) return { spots: [[0, 0]], radius: 0.75 };
  if (number <= RING_MAX) {
    const ring = 0.62 / Math.sin(Math.PI / number), turn = number % 2 ? -Math.PI / 2 : -Math.PI / 2 + Math.PI / number;
    const spots = Array.from({ length: number }, (_, place) => {
      const angle = turn + (place / number) * 2 * Math.PI;
      return [ring * Math.cos(angle), ring * Math.sin(angle)];
    });
    return { spots, radius: ring + 0.75 };
  }
  const spots = Array.from({ length: number }, (_, place) => {
    const away = SPREAD * Math.sqrt(place + 0.5);
    return [away * Math.cos(place * GOLDEN), away * Math.sin(place * GOLDEN)];
  });
  return { spots, radius: SPREAD * Math.sqrt(number) + 0.7 };
}

// Around an ellipse that is made larger until no two regions touch.
function arrange(clusters, aspect) {
  if (clusters.length === 1) return [[0, 0]];
  const all = clusters.reduce((sum, { radius }) => sum + radius, 0), wide = Math.sqrt(aspect), gap = 0.9;
  let turned = -Math.PI / 2 - (clusters[0].radius / all) * Math.PI;
  const angles = clusters.map(({ radius }) => {
    const angle = turned + (radius / all) * Math.PI;
    turned += (radius / all) * 2 * Math.PI;
    return angle;
  });
  if (clusters.length === 2) angles.splice(0, 2, Math.PI, 0);
  for (let size = 0.5; ; size *= 1.04) {
    const spots = angles.map((angle) => [size * wide * Math.cos(angle), (size / wide) * Math.sin(angle)]);
    const apart = (one, other) => Math.hypot(spots[one][0] - spots[other][0], spots[one][1] - spots[other][1]) >= clusters[one].radius + clusters[other].radius + gap;
    if (clusters.every((_, one) => clusters.every((__, other) => one <= other || apart(one, other)))) return spots;
  }
}

function arrangeNodes(width, height) {
  const members = DATA.regions.map((_, region) => DATA.nodes.flatMap(([, of], place) => (of === region ? [place] : [])));
  const used = members.map((nodes, region) => ({ nodes, region })).filter(({ nodes }) => nodes.length);
  if (!used.length) return;
  const clusters = used.map(({ nodes }) => cluster(nodes.length));
  const spots = arrange(clusters, clamp(width / height, 0.6, 2.1));
  const edge = (axis, side) => side * Math.max(...spots.map((spot, place) => side * spot[axis] + clusters[place].radius));
  const [left, right, top, bottom] = [edge(0, -1), edge(0, 1), edge(1, -1), edge(1, 1)];
  const scale = Math.min((width - 40) / (right - left), (height - 124) / (bottom - top), 118);
  layout.radius = clamp(scale * 0.36, 1, 32);
  layout.regions = used.map(({ nodes, region }, place) => {
    const x = width / 2 + (spots[place][0] - (left + right) / 2) * scale, y = height / 2 + 36 + (spots[place][1] - (top + bottom) / 2) * scale;
    nodes.forEach((node, spot) => {
      layout.x[node] = x + clusters[place].spots[spot][0] * scale;
      layout.y[node] = y + clusters[place].spots[spot][1] * scale;
    });
    return { x, y, radius: clusters[place].radius * scale, name: DATA.regions[region] || "no region", number: nodes.length };
  });
}

// A way between two nodes bends to its right, so that there and back are two ways.
function bend(from, to) {
  const dx = layout.x[to] - layout.x[from], dy = layout.y[to] - layout.y[from];
  return [(layout.x[from] + layout.x[to]) / 2 - dy * 0.11, (layout.y[from] + layout.y[to]) / 2 + dx * 0.11];
}
function along(from, to, part) {
  const [cx, cy] = bend(from, to), rest = 1 - part;
  return [rest * rest * layout.x[from] + 2 * rest * part * cx + part * part * layout.x[to],
    rest * rest * layout.y[from] + 2 * rest * part * cy + part * part * layout.y[to]];
}
