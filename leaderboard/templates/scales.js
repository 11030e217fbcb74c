// From numbers to places: linear and logarithmic scales with ticks, drawn as axes.

function linear([low, high], [from, to]) {
  if (low === high) [low, high] = [low - 1, high + 1];
  const scale = (value) => from + ((value - low) / (high - low)) * (to - from);
  const rough = (high - low) / 7;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((n) => n * power).find((n) => n >= rough);
  scale.ticks = [];
  for (let n = Math.ceil(low / step); n * step <= high + step * 1e-9; n += 1) scale.ticks.push(Number((n * step).toPrecision(12)));
  return scale;
}

function logarithmic([low, high], [from, to]) {
  const [a, b] = [Math.log10(low), Math.log10(high)];
  const scale = (value) => from + ((Math.log10(value) - a) / (b - a)) * (to - from);
  const all = [];
  for (let power = Math.floor(a); power <= Math.ceil(b); power += 1) all.push(...[1, 2, 5].map((n) => n * 10 ** power));
  const inside = all.filter((value) => value >= low && value <= high);
  const tens = inside.filter((value) => Number.isInteger(Math.log10(value)));
  scale.ticks = inside.length > 9 ? tens : inside;
  return scale;
}

function spread(values, share = 0.06) {
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const margin = (high - low || Math.abs(high) || 1) * share;
  return [low - margin, high + margin];
}

const widen = (values) => [Math.min(...values) / 1.35, Math.max(...values) * 1.35];

// `edge` is where the labels of y stand, left of anything drawn.
function axes({ x, y, left, right, top, bottom, xLabel, yLabel, edge = left }) {
  return svg("g", {},
    y.ticks.map((value) => svg("g", { class: "tick" },
      svg("line", { class: "grid", x1: edge, x2: right, y1: y(value), y2: y(value) }),
      svg("text", { x: edge - 8, y: y(value) + 4, "text-anchor": "end" }, short(value)))),
    x.ticks.map((value) => svg("g", { class: "tick" },
      svg("line", { x1: x(value), x2: x(value), y1: bottom, y2: bottom + 5 }),
      svg("text", { x: x(value), y: bottom + 19, "text-anchor": "middle" }, short(value)))),
    svg("line", { class: "axis", x1: left, x2: right, y1: bottom, y2: bottom }),
    svg("text", { class: "quiet", x: (left + right) / 2, y: bottom + 40, "text-anchor": "middle" }, xLabel),
    svg("text", { class: "quiet", x: edge, y: top - 12, "text-anchor": "start" }, yLabel));
}

// How wide a chart may be here, in its own units: text keeps its size on a phone.
const roomFor = (node, most = 1100) => Math.max(300, Math.min(most, node.clientWidth || most));
