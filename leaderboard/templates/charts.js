// Charts are Vega-Lite specifications, the same that figures in files are made from; here they follow the filters.

const MOST_BARS = 30;
const CAPTIONS = {
  pareto: "The dashed line joins the systems that none beats in quality at their cost or less. Hollow marks are published numbers. Lines are 95 % intervals.",
  bars: "Best first. Whiskers are 95 % intervals.",
  fidelity: "Held-out R2 from each student's layers to its teacher's, with 95 % intervals over speakers.",
  layers: "How many times the weight of each hidden state, in the sum that feeds the head, is that of equal weights; a dot is the one state that a search chose. States are not normalised before the sum, so a small weight on a large state may still count.",
  similarity: "Similarity of the teacher's hidden states, and above, the order in which they merge. Frames are the groups that the student was distilled by: its average over a group learns the teacher's.",
  training: "Distance to the teacher, without the penalty that drives the sparsity to its target. Pale as logged, bold as means.",
};
const chosen = {};
const kept = new Map(), latest = new Map();

// The best so many of the rows that are shown: every dataset whose items name their row.
function filtered(spec, kind, visible) {
  const datasets = Object.fromEntries(Object.entries(spec.datasets || {}).map(([name, values]) => {
    const own = values.filter((value) => value.row === undefined || visible.has(value.row));
    return [name, kind === "bars" ? own.slice(0, MOST_BARS) : own];
  }));
  return { ...spec, datasets };
}

function drawChart(kind) {
  const offered = more.charts[state.section].filter((chart) => chart.kind === kind && (chart.row === null || visibleIds().has(chart.row)));
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
  const spec = filtered(form, kind, visibleIds());
  for (const format of ["svg", "png"]) controls.append(el("button", { type: "button", class: "save", "data-format": format, onclick: () => saveChart(kind, chart.name, format) }, format.toUpperCase()));
  byId(`${kind}-caption`).textContent = CAPTIONS[kind];
  holder.setAttribute("role", "img");
  holder.setAttribute("aria-label", `${byId(`${kind}-title`).textContent}: ${chart.name}. The table holds the same numbers.`);
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
