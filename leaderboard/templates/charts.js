// Charts are Vega-Lite specifications, the same that figures in files are made from; here they follow the filters.

const MOST_BARS = 30;
const CAPTIONS = {
  pareto: "The dashed line joins the systems that none beats in quality at their cost or less. Hollow marks are published numbers. Lines are 95 % intervals.",
  bars: "Whiskers are 95 % intervals.",
  fidelity: "Held-out R2 from each student's layers to its teacher's, with 95 % intervals over speakers.",
  layers: "How many times the weight of each hidden state, in the sum that feeds the head, is that of equal weights; a dot is the one state that a search chose. States are not normalised before the sum, so a small weight on a large state may still count.",
  similarity: "Similarity of the teacher's hidden states, and above, the order in which they merge. Frames are the groups that the student was distilled by: its average over a group learns the teacher's.",
  training: "Distance to the teacher (L1 minus the similarity of directions, so it may be below 0), without the penalty that drives the sparsity to its target. Pale as logged, bold as means.",
};
const chosen = {};
const kept = new Map(), latest = new Map();

// The first so many of the rows that are shown: every dataset whose items name their row.
function filtered(spec, kind, visible) {
  const datasets = Object.fromEntries(Object.entries(spec.datasets || {}).map(([name, values]) => {
    const own = values.filter((value) => value.row === undefined || visible.has(value.row));
    return [name, kind === "bars" ? own.slice(0, MOST_BARS) : own];
  }));
  const hidden = Object.entries(datasets).some(([name, own]) => own.length < spec.datasets[name].length);
  return { ...(kind === "pareto" && hidden ? withoutNames(spec) : spec), datasets };
}

// Below the axis stand names that had no room: where rows are hidden, they may be those of hidden ones.
function withoutNames(part) {
  const x = part.encoding && part.encoding.x;
  return {
    ...part,
    ...(x && Array.isArray(x.title) ? { encoding: { ...part.encoding, x: { ...x, title: x.title[0] } } } : {}),
    ...(part.layer ? { layer: part.layer.map(withoutNames) } : {}),
  };
}

function holdsSome(chart, visible) {
  if (chart.row !== null) return visible.has(chart.row);
  return Object.values(chart.wide.datasets).some((values) => values.some((value) => visible.has(value.row)));
}

function drawChart(kind) {
  const visible = visibleIds();
  const offered = more.charts[state.section].filter((chart) => chart.kind === kind && holdsSome(chart, visible));
  present(kind, offered.length > 0);
  if (!offered.length) return;
  const controls = byId(`${kind}-controls`), holder = byId(`${kind}-body`);
  delete holder.dataset.shown;
  controls.replaceChildren();
  if (offered.length > 1) {
    const label = { pareto: "Cost", bars: "Task or score" }[kind] || "System";
    chosen[kind] = picker(controls, label, offered.map((chart) => [chart.name, chart.name]), chosen[kind], (value) => { chosen[kind] = value; drawChart(kind); });
  }
  const chart = offered.find((one) => one.name === chosen[kind]) || offered[0];
  const narrow = holder.clientWidth < 560;
  const form = narrow && chart.narrow ? { ...chart.narrow, datasets: { ...chart.wide.datasets, ...chart.narrow.datasets } } : chart.wide;
  const spec = filtered(form, kind, visible);
  for (const format of ["svg", "png"]) controls.append(el("button", { type: "button", class: "save", "data-format": format, "aria-label": `Save as ${format.toUpperCase()}`, onclick: () => saveChart(kind, chart.name, format) }, format.toUpperCase()));
  const order = section().synthetic ? "In the table's order: synthetic speech ranks nothing. " : "Best first. ";
  byId(`${kind}-caption`).textContent = (kind === "bars" ? order : "") + CAPTIONS[kind];
  holder.setAttribute("role", "img");
  holder.setAttribute("aria-label", `${byId(`${kind}-title`).textContent}: ${chart.name}. Its numbers are in a table below it.`);
  drawNumbers(kind, spec);
  const themed = { ...spec, config: data.themes[document.documentElement.dataset.theme] };
  const drawing = el("div");
  latest.set(kind, drawing);
  window.vegaEmbed(drawing, themed, { ast: true, actions: false, renderer: "svg", tooltip: { theme: document.documentElement.dataset.theme } }).then(({ view }) => {
    if (latest.get(kind) !== drawing) { view.finalize(); return; } // somebody chose otherwise meanwhile
    if (kept.has(kind)) kept.get(kind).finalize();
    holder.replaceChildren(drawing);
    holder.dataset.shown = chart.name;
    kept.set(kind, view);
    view.addEventListener("click", (_, item) => { if (item && item.datum && item.datum.row !== undefined) openDetails(rows[item.datum.row]); });
    const svg = holder.querySelector("svg");
    if (svg && !svg.hasAttribute("viewBox")) svg.setAttribute("viewBox", `0 0 ${svg.getAttribute("width")} ${svg.getAttribute("height")}`);
  });
}

// What the tooltips of a chart's marks say, by the name of their data.
function toldIn(part, outer, found = new Map()) {
  const name = (part.data && part.data.name) || outer;
  const told = part.encoding && part.encoding.tooltip;
  if (name && Array.isArray(told) && !found.has(name)) found.set(name, told);
  for (const inner of [part.layer, part.vconcat, part.hconcat, part.concat].flatMap((list) => list || [])) toldIn(inner, name, found);
  return found;
}

// The same numbers as a table, for keys and for screen readers; a system's name opens its row.
function drawNumbers(kind, spec) {
  const holder = byId(`${kind}-numbers`), frame = holder.closest("details");
  const fill = () => {
    if (!frame.open) return;
    holder.replaceChildren(...[...toldIn(spec)].map(([name, told], index) => {
      const fields = told.map((one) => ({ ...one, title: one.title || one.field })).filter((one) => spec.datasets[name].some((values) => one.field in values));
      const text = (value, format) => (typeof value !== "number" ? value ?? "–" : /^\.\df$/.test(format || "") ? value.toFixed(Number(format[1])) : String(Number(value.toPrecision(4))));
      const cellOf = (values, one) => (one.field === "label" ? el("button", { type: "button", class: "link", onclick: () => openDetails(rows[values.row]) }, values.label) : text(values[one.field], one.format));
      return el("div", { class: "scroll tall", tabindex: "0", role: "region", "aria-label": `${byId(`${kind}-title`).textContent}, numbers ${index + 1}` }, el("table", {},
        el("thead", {}, el("tr", {}, fields.map((one) => el("th", { scope: "col" }, one.title)))),
        el("tbody", {}, spec.datasets[name].map((values) => el("tr", {}, fields.map((one) => el("td", {}, cellOf(values, one))))))));
    }));
  };
  frame.ontoggle = fill;
  fill();
}

function visibleIds() {
  const beside = section().published ? [] : rows.filter((row) => isPublished(row) && row.get("suite") === section().suite);
  return new Set([...visibleRows(), ...beside].map((row) => row.index));
}

async function saveChart(kind, name, format) {
  const url = await kept.get(kind).toImageURL(format, format === "png" ? 2 : 1);
  const link = el("a", { href: url, download: `${kind}-${name}`.replace(/[^\w-]+/g, "-").toLowerCase() + `.${format}` });
  document.body.append(link);
  link.click();
  link.remove();
}

// A chart is drawn when it comes near: the table is there at once.
const waiting = new Set();
const watch = new IntersectionObserver((entries) => {
  for (const { isIntersecting, target } of entries) if (isIntersecting && waiting.delete(target.id)) drawChart(target.id);
}, { rootMargin: "300px" });

// On paper there is no coming near.
addEventListener("beforeprint", () => {
  for (const kind of waiting) drawChart(kind);
  waiting.clear();
});

drawers.push(async () => {
  await unpacked();
  for (const kind of Object.keys(CAPTIONS)) {
    const there = more.charts[state.section].some((chart) => chart.kind === kind);
    present(kind, there);
    if (!there) continue;
    waiting.add(kind);
    delete byId(`${kind}-body`).dataset.shown;
    watch.unobserve(byId(kind));
    watch.observe(byId(kind));
  }
});
