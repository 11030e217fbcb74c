// The data as rows, what is chosen, and who has to draw again.

const data = JSON.parse(byId("data").textContent);
const place = new Map(data.frame.columns.map((name, index) => [name, index]));
const rows = data.frame.rows.map((cells, index) => ({
  index,
  detail: data.details[index],
  get: (name) => (place.has(name) ? cells[place.get(name)] : null),
}));

const ROLES = ["student", "teacher", "baseline", "control", "other"];
const state = { section: 0, search: "", role: "", limit: null, complete: false, sort: "rank", up: true };
const drawers = [];

const section = () => data.sections[state.section];
const rowsOf = (one) => rows.filter((row) => row.get("section") === one.label);
const roleOf = (row) => (row.get("source") === "published" ? "published" : row.get("kind") || "other");
const colour = (row) => `var(--${roleOf(row)})`;
const isPublished = (row) => row.get("source") === "published";

function sourceOf(row) {
  if (isPublished(row)) return "published";
  return row.get("origin") === "run" ? "measured here" : "measured, shipped";
}

function interval(row, name) {
  const [low, high] = [row.get(`${name}_low`), row.get(`${name}_high`)];
  return low === null || high === null ? null : [low, high];
}

function words(row) {
  return ["title", "system", "kind", "source", "origin"].map((name) => row.get(name) || "").join(" ").toLowerCase();
}

function visibleRows() {
  const terms = state.search.toLowerCase().split(/\s+/).filter(Boolean);
  return rowsOf(section()).filter((row) => {
    const n = row.get("parameters_millions");
    return terms.every((term) => words(row).includes(term))
      && (!state.role || roleOf(row) === state.role)
      && (state.limit === null || (n !== null && n <= state.limit))
      && (!state.complete || row.get("rank") !== null);
  });
}

function sorted(list) {
  const value = (row) => (state.sort === "title" ? row.get("title").toLowerCase() : row.get(state.sort));
  const way = state.up ? 1 : -1;
  return [...list].sort((one, two) => {
    const [a, b] = [value(one), value(two)];
    if (a === b) return one.index - two.index;
    if (a === null) return 1; // what is absent stays last either way
    if (b === null) return -1;
    return (a < b ? -1 : 1) * way;
  });
}

function changed() {
  hideTip();
  for (const draw of drawers) draw();
}

function columnsOf(one, ...groups) {
  return one.columns.filter((column) => groups.includes(column.group));
}

function explain(row, column) {
  const value = row.get(column.name);
  if (value === null) return `${column.heading}: not there`;
  const lines = [`${row.get("title")}`, `${column.heading}: ${number(value, column.digits)}`];
  const bounds = interval(row, column.name);
  if (bounds) lines.push(`95 % interval ${number(bounds[0], column.digits)} to ${number(bounds[1], column.digits)}, over test items`);
  const speakers = interval(row, `${column.name}_speaker`);
  if (speakers) lines.push(`over speakers ${number(speakers[0], column.digits)} to ${number(speakers[1], column.digits)}`);
  else if (bounds) lines.push("(as if they were independent; how speakers vary is not known)");
  const reason = row.detail && row.detail.no_interval[column.name];
  if (reason) lines.push(`no interval: ${reason}`);
  const seeds = row.get(`${column.name}_n_seeds`);
  const spread = row.get(`${column.name}_std`);
  if (seeds) lines.push(spread === null ? `${seeds} ${seeds === 1 ? "seed" : "seeds"}` : `${seeds} seeds, standard deviation ${number(spread, column.digits)}`);
  for (const record of (row.detail && column.task ? row.detail.records : []).filter((r) => r.task === column.task)) {
    if (record.denominator) lines.push(`seed ${record.seed}: ${short(record.numerator)} of ${short(record.denominator)}, ${record.n_test} utterances`);
  }
  const machine = { throughput_audio_seconds_per_second: "measured_on", peak_memory_mebibytes: "measured_on", compression_hours: "compressed_on" }[column.name];
  if (machine && row.get(machine)) lines.push(`on ${row.get(machine)}`);
  if (isPublished(row) && column.group !== "cost") lines.push("as published");
  return lines.join("\n");
}
