// Quality against cost: who is beaten by nobody at its price.

const choice = { quality: "", cost: "", log: true, published: true, labels: true, zoom: true };

const COST_NAMES = { parameters_millions: "parameters, millions", macs_superb_giga: "MACs, billions, over the 32 utterances of the SUPERB challenge",
  macs_giga: "MACs, billions", throughput_audio_seconds_per_second: "seconds of audio a second", peak_memory_mebibytes: "peak memory, MiB" };

function qualities() {
  return columnsOf(section(), "score", "task");
}

// Published rows join a measured section only where they share its suite: elsewhere the numbers are of other data.
function paretoRows() {
  const own = visibleRows();
  if (section().published || !choice.published) return own;
  return own.concat(rows.filter((row) => isPublished(row) && row.get("suite") === section().suite));
}

function front(points, better, cheaper) {
  const sign = (value, way) => (way === "higher" ? value : -value);
  const order = [...points].sort((a, b) => sign(b.cost, cheaper) - sign(a.cost, cheaper) || sign(b.quality, better) - sign(a.quality, better));
  const kept = [];
  for (const point of order) {
    if (!kept.length || sign(point.quality, better) > sign(kept.at(-1).quality, better)) kept.push(point);
  }
  return kept;
}

// From one system's quality straight to the next one's cost: between two systems there is nothing to be had.
function stairs(corners) {
  return corners.flatMap(([x, y], index) => (index ? [`${x},${corners[index - 1][1]}`, `${x},${y}`] : [`${x},${y}`])).join(" ");
}

// Where the axis may begin without hiding what is close: beyond three quartile ranges a system stands at the edge.
function fence(values, better) {
  const order = [...values].sort((a, b) => a - b);
  const at = (share) => order[Math.round(share * (order.length - 1))];
  const reach = 3 * Math.max(at(0.75) - at(0.25), 1e-9);
  return better === "higher" ? [at(0.25) - reach, Infinity] : [-Infinity, at(0.75) + reach];
}

function mark(point, x, y) {
  const shape = isPublished(point.row)
    ? svg("path", { d: `M${x} ${y - 7}L${x + 7} ${y}L${x} ${y + 7}L${x - 7} ${y}Z`, fill: "var(--panel)", stroke: colour(point.row), "stroke-width": 2 })
    : svg("circle", { cx: x, cy: y, r: 6, fill: colour(point.row) });
  return shape;
}

// A label goes where it meets neither a point nor another label; on the front first.
function labels(placed, { left, right, top, bottom }) {
  const taken = placed.map(({ x, y }) => [x - 8, y - 8, x + 8, y + 8]);
  const nodes = [];
  for (const { point, x, y } of [...placed].sort((a, b) => b.front - a.front)) {
    const text = point.row.get("title").length > 30 ? `${point.row.get("title").slice(0, 28)}…` : point.row.get("title");
    const width = text.length * 7;
    const spots = [[x + 11, y - 8, "start"], [x - 11 - width, y - 8, "end"], [x - width / 2, y - 26, "middle"], [x - width / 2, y + 10, "middle"]];
    const from = x < left ? 4 : left; // a system without cost stands left of the axis
    const spot = spots.find(([a, b]) => a >= from - 2 && a + width <= right + 6 && b >= top - 8 && b + 16 <= bottom + 6
      && !taken.some(([c, d, e, f]) => a < e && a + width > c && b < f && b + 16 > d));
    if (!spot) continue;
    taken.push([spot[0], spot[1], spot[0] + width, spot[1] + 16]);
    const anchor = { start: spot[0], end: spot[0] + width, middle: spot[0] + width / 2 }[spot[2]];
    nodes.push(svg("text", { class: "label", x: anchor, y: spot[1] + 12, "text-anchor": spot[2] }, text));
  }
  return nodes;
}

function drawPareto() {
  const controls = byId("pareto-controls");
  controls.replaceChildren();
  const offered = qualities();
  const costs = columnsOf(section(), "cost");
  choice.quality = picker(controls, "Quality", offered.map((c) => [c.name, c.heading]), choice.quality, (value) => { choice.quality = value; drawPareto(); });
  choice.cost = picker(controls, "Cost", costs.map((c) => [c.name, c.heading]), choice.cost, (value) => { choice.cost = value; drawPareto(); });
  tick(controls, "logarithmic", choice.log, (on) => { choice.log = on; drawPareto(); });
  tick(controls, "zoom in", choice.zoom, (on) => { choice.zoom = on; drawPareto(); });
  tick(controls, "names", choice.labels, (on) => { choice.labels = on; drawPareto(); });
  if (!section().published && rows.some((row) => isPublished(row) && row.get("suite") === section().suite)) {
    tick(controls, "published systems", choice.published, (on) => { choice.published = on; drawPareto(); });
  }
  const holder = byId("pareto-body");
  const quality = offered.find((c) => c.name === choice.quality);
  const cost = costs.find((c) => c.name === choice.cost);
  const points = quality && cost ? paretoRows().map((row) => ({ row, quality: row.get(quality.name), cost: row.get(cost.name) }))
    .filter((p) => p.quality !== null && p.cost !== null) : [];
  if (!points.length) {
    holder.replaceChildren(el("p", { class: "empty" }, "No system here has both a score and a cost."));
    byId("pareto-caption").textContent = "";
    return;
  }
  const width = roomFor(holder), height = Math.max(360, Math.min(560, width * 0.56));
  const free = points.some((p) => p.cost <= 0) && choice.log; // nothing has no logarithm: a strip of its own
  const [left, right, top, bottom] = [56 + (free ? 46 : 0), width - 18, 34, height - 52];
  const priced = points.filter((p) => p.cost > 0).map((p) => p.cost);
  const x = choice.log && priced.length ? logarithmic(widen(priced), [left, right]) : linear(spread(points.map((p) => p.cost)), [left, right]);
  const [least, most] = choice.zoom ? fence(points.map((p) => p.quality), quality.better) : [-Infinity, Infinity];
  const inside = (value) => value >= least && value <= most;
  const beyond = points.filter((p) => !inside(p.quality));
  const bounds = points.filter((p) => inside(p.quality)).flatMap((p) => [p.quality, ...(interval(p.row, quality.name) || [])]);
  const axisY = linear(spread(bounds), quality.better === "higher" ? [bottom - (beyond.length ? 14 : 0), top] : [top, bottom - (beyond.length ? 14 : 0)]);
  const y = Object.assign((value) => Math.min(bottom - 1, axisY(value)), { ticks: axisY.ticks });
  const at = (p) => (free && p.cost <= 0 ? 56 + 20 : x(p.cost));
  const fronts = [false, true].map((published) => front(points.filter((p) => isPublished(p.row) === published), quality.better, cost.better));
  const placed = points.map((point) => ({ point, x: at(point), y: y(point.quality), front: Number(fronts.flat().includes(point)) }));
  const nodes = placed.map((one) => {
    const words = `${explain(one.point.row, quality)}\n${COST_NAMES[cost.name] || cost.heading}: ${short(one.point.cost)}`;
    const range = interval(one.point.row, quality.name);
    return tip(svg("g", { class: "point", role: "img", "aria-label": words, ...opens(one.point.row) },
      range ? svg("line", { class: "whisker", x1: one.x, x2: one.x, y1: y(range[0]), y2: y(range[1]), style: { stroke: colour(one.point.row) } }) : null,
      mark(one.point, one.x, one.y), svg("circle", { class: "ring", cx: one.x, cy: one.y, r: 10 })), () => words);
  });
  roving([...nodes].sort((a, b) => placed[nodes.indexOf(a)].x - placed[nodes.indexOf(b)].x));
  const zero = free ? [svg("line", { class: "axis", x1: 56, x2: 56 + 40, y1: bottom, y2: bottom }),
    svg("text", { class: "quiet", x: 56 + 20, y: bottom + 19, "text-anchor": "middle" }, "0")] : [];
  const axis = axes({ x, y, left, edge: 56, right, top, bottom, xLabel: COST_NAMES[cost.name] || cost.heading, yLabel: quality.heading });
  const lines = fronts.filter((one) => one.length > 1).map((one) => svg("polyline", {
    class: `front ${isPublished(one[0].row) ? "published" : ""}`, points: stairs(one.map((p) => [at(p), y(p.quality)])) }));
  holder.replaceChildren(legend(points), chart(width, height, `${quality.heading} against ${cost.heading}`, axis, zero, lines, nodes,
    choice.labels ? labels(placed, { left, right, top, bottom }) : []));
  const alone = fronts.filter((one) => one.length === 1).map(([p]) => `Nothing here beats ${p.row.get("title")} in quality, and nothing as good costs less. `);
  byId("pareto-caption").textContent = alone.join("")
    + (lines.length ? "The dashed line joins the systems that none beats in quality at their cost or less; published systems have their own line." : "")
    + (quality.better === "lower" ? " The axis is turned, so that up is better." : "")
    + (beyond.length ? ` Far below, at the edge: ${beyond.map((p) => `${p.row.get("title")} (${number(p.quality, quality.digits)})`).join(", ")}.` : "");
}

function legend(points) {
  const roles = [...new Set(points.map((p) => roleOf(p.row)))];
  return el("ul", { class: "legend" }, roles.map((role) => el("li", {},
    el("span", { class: `mark ${role === "published" ? "published" : ""}`, style: { "--mark": `var(--${role})` }, "aria-hidden": "true" }), role)));
}

drawers.push(drawPareto);
