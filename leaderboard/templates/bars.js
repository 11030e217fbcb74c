// One task or score as bars, best first, with intervals.

const MOST_BARS = 40;
let barColumn = "";

function drawBars() {
  const controls = byId("bars-controls");
  controls.replaceChildren();
  const offered = [...columnsOf(section(), "task"), ...columnsOf(section(), "score")];
  barColumn = picker(controls, "Task", offered.map((c) => [c.name, c.heading]), barColumn, (value) => { barColumn = value; drawBars(); });
  const column = offered.find((c) => c.name === barColumn);
  const holder = byId("bars-body");
  const all = column ? visibleRows().filter((row) => row.get(column.name) !== null) : [];
  if (!all.length) {
    holder.replaceChildren(el("p", { class: "empty" }, "No system here has this number."));
    byId("bars-caption").textContent = "";
    return;
  }
  const way = column.better === "higher" ? -1 : 1;
  const list = all.sort((a, b) => way * (a.get(column.name) - b.get(column.name))).slice(0, MOST_BARS);
  const width = roomFor(holder), narrow = width < 560;
  const [left, right, step] = [narrow ? 8 : 250, width - 64, narrow ? 44 : 30];
  const height = list.length * step + 40;
  const bounds = list.flatMap((row) => [row.get(column.name), ...(interval(row, column.name) || [])]);
  const x = linear([Math.min(0, ...bounds), Math.max(...bounds, 0)], [left, right]);
  const nodes = list.map((row, index) => bar(row, column, x, { left, top: index * step, step, narrow }));
  roving(nodes);
  const ticks = x.ticks.map((value) => svg("g", { class: "tick" }, svg("line", { class: "grid", x1: x(value), x2: x(value), y1: 0, y2: height - 32 }),
    svg("text", { x: x(value), y: height - 14, "text-anchor": "middle" }, short(value))));
  holder.replaceChildren(chart(width, height, `${column.heading}, bars`, ticks, nodes));
  byId("bars-caption").textContent = `${column.heading}, best first.`
    + (list.some((row) => interval(row, column.name)) ? " Whiskers are 95 % intervals." : "")
    + (all.length > list.length ? ` The best ${list.length} of ${all.length}; the filters above choose others.` : "");
}

function bar(row, column, x, { left, top, step, narrow }) {
  const value = row.get(column.name), range = interval(row, column.name);
  const [y, tall] = narrow ? [top + 20, step - 24] : [top + 5, step - 10];
  const name = row.get("title"), most = narrow ? 44 : 36;
  const words = explain(row, column);
  const end = range ? Math.max(x(range[1]), x(value)) : x(value);
  const published = isPublished(row);
  return tip(svg("g", { class: "point", role: "img", "aria-label": words, ...opens(row) },
    svg("rect", { x: Math.min(x(0), x(value)), y, width: Math.max(1, Math.abs(x(value) - x(0))), height: tall, rx: 3, fill: published ? "none" : colour(row),
      "fill-opacity": 0.85, stroke: colour(row), "stroke-width": published ? 2 : 0 }),
    range ? [svg("line", { class: "whisker", x1: x(range[0]), x2: x(range[1]), y1: y + tall / 2, y2: y + tall / 2 }),
      range.map((one) => svg("line", { class: "whisker", x1: x(one), x2: x(one), y1: y + tall / 2 - 4, y2: y + tall / 2 + 4 }))] : null,
    svg("text", narrow ? { x: left, y: top + 15 } : { x: left - 10, y: y + tall / 2 + 4, "text-anchor": "end" }, name.length > most ? `${name.slice(0, most - 2)}…` : name),
    svg("text", { x: end + 6, y: y + tall / 2 + 4 }, number(value, column.digits)),
    svg("rect", { class: "ring", x: x(0) - 2, y: y - 2, width: Math.abs(x(value) - x(0)) + 4, height: tall + 4, rx: 4 })), () => words);
}

drawers.push(drawBars);
