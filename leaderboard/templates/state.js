// The data as rows, what is chosen, who has to draw again; and all of it in the address.

const data = JSON.parse(byId("data").textContent);
const place = new Map(data.frame.columns.map((name, index) => [name, index]));
const rows = data.frame.rows.map((cells, index) => ({
  index,
  ...data.rows[index],
  get: (name) => (place.has(name) ? cells[place.get(name)] : data.rows[index][name] ?? null),
}));

const ROLES = ["student", "teacher", "baseline", "control", "other"];
const START = { section: 0, search: "", role: "", limit: null, partial: false, sort: "", up: true, beside: [], row: null };
const state = { ...START };
const drawers = [];

const section = () => data.sections[state.section];
const rowsOf = (one) => rows.filter((row) => row.get("section") === one.label);
const roleOf = (row) => (ROLES.includes(row.get("kind")) ? row.get("kind") : "other");
const colour = (row) => `var(--${roleOf(row)})`;
const isPublished = (row) => row.get("source") === "published";
const isRanked = (one) => rowsOf(one).some((row) => row.get("rank") !== null);

function sourceOf(row) {
  if (isPublished(row)) return "published";
  return row.get("origin") === "run" ? "measured here" : "measured, shipped";
}

function interval(row, name) {
  const [low, high] = [row.get(`${name}_low`), row.get(`${name}_high`)];
  return low === null || high === null ? null : [low, high];
}

function words(row) {
  return ["title", "system", "kind", "source", "origin", "teacher"].map((name) => row.get(name) || "").join(" ").toLowerCase();
}

// Rows without every task have no rank: they are shown when asked for, or where no row has one.
function visibleRows() {
  const terms = state.search.toLowerCase().split(/\s+/).filter(Boolean);
  const ranked = isRanked(section());
  return rowsOf(section()).filter((row) => {
    const n = row.get("parameters_millions");
    return terms.every((term) => words(row).includes(term))
      && (!state.role || roleOf(row) === state.role)
      && (state.limit === null || (n !== null && n <= state.limit))
      && (!ranked || state.partial || row.get("rank") !== null);
  });
}

function sorted(list) {
  const value = (row) => (state.sort === "title" ? row.get("title").toLowerCase() : state.sort ? row.get(state.sort) : row.index);
  const way = state.up ? 1 : -1;
  return [...list].sort((one, two) => {
    const [a, b] = [value(one), value(two)];
    if (a === b) return one.index - two.index;
    if (a === null) return 1; // what is absent stays last either way
    if (b === null) return -1;
    return (a < b ? -1 : 1) * way;
  });
}

// What is chosen, as `#section=…&sort=…`: an anchor of the page has no equals sign.
function written() {
  const chosen = new URLSearchParams();
  const name = (index) => data.sections[index].label;
  if (state.section !== 0) chosen.set("section", name(state.section));
  if (state.sort) chosen.set("sort", `${state.up ? "" : "-"}${state.sort}`);
  for (const key of ["search", "role"]) if (state[key]) chosen.set(key, state[key]);
  if (state.limit !== null) chosen.set("limit", String(state.limit));
  if (state.partial) chosen.set("partial", "1");
  for (const index of state.beside) chosen.append("beside", `${rows[index].id} ${rows[index].get("section")}`);
  if (state.row !== null) chosen.set("row", rows[state.row].id);
  return String(chosen);
}

function read() {
  const chosen = new URLSearchParams(location.hash.includes("=") ? location.hash.slice(1) : "");
  const found = data.sections.findIndex((one) => one.label === chosen.get("section"));
  const sort = chosen.get("sort") || "";
  const inside = rowsOf(data.sections[Math.max(found, 0)]);
  const row = inside.find((one) => one.id === chosen.get("row"));
  Object.assign(state, START, {
    section: Math.max(found, 0), sort: sort.replace(/^-/, ""), up: !sort.startsWith("-"), search: chosen.get("search") || "",
    role: ROLES.includes(chosen.get("role")) ? chosen.get("role") : "", partial: chosen.has("partial"),
    limit: chosen.has("limit") && Number.isFinite(Number(chosen.get("limit"))) ? Number(chosen.get("limit")) : null,
    beside: chosen.getAll("beside").map((id) => rows.findIndex((one) => `${one.id} ${one.get("section")}` === id)).filter((index) => index >= 0),
    row: row ? row.index : null,
  });
  if (!place.has(state.sort) && !WHERE.some((one) => one.name === state.sort)) state.sort = "";
}

function remember() {
  const text = written();
  if (text || location.hash.includes("=")) history.replaceState(null, "", text ? `#${text}` : location.pathname + location.search);
}

function changed() {
  hideTip();
  remember();
  for (const draw of drawers) draw();
}

function columnsOf(one, ...groups) {
  return one.columns.filter((column) => groups.includes(column.group));
}

const half = (bounds) => (bounds[1] - bounds[0]) / 2;

function shown(row, column) {
  const value = row.get(column.name), bounds = interval(row, column.name);
  const digits = bounds === null ? column.digits : Math.min(1, column.digits); // no digits that say nothing
  const without = row.get(`${column.name}_no_interval`) ? "†" : "";
  if (bounds === null) return [number(value, digits), without];
  const leaves = column.task && (value < half(bounds) || value + half(bounds) > 100); // 1.8 ± 4.8 cannot be
  return [number(value, digits), leaves ? `[${bounds.map((end) => end.toFixed(1)).join(", ")}]` : `±${half(bounds).toFixed(1)}`];
}

function rankText(row) {
  const [rank, last] = [row.get("rank"), row.get("rank_last")];
  return rank === null ? "–" : last !== null && last > rank ? `${rank}–${last}` : String(rank);
}

function explain(row, column) {
  if (column.name === "rank") return rankText(row) === "–" ? "no rank: a task is missing, or the speech is synthetic" : `${row.get("title")}\nrank ${rankText(row)}`;
  const value = row.get(column.name);
  if (value === null) return `${column.heading}: not there`;
  const lines = [`${row.get("title")}`, `${column.heading}: ${number(value, column.digits)}`];
  const bounds = interval(row, column.name);
  if (bounds) lines.push(`95 % interval ${number(bounds[0], column.digits)} to ${number(bounds[1], column.digits)}, over test items${row.n_trainings > 1 || row.get(`${column.name}_n_seeds`) > 1 ? " and seeds" : ""}`);
  const speakers = interval(row, `${column.name}_speaker`);
  if (speakers) lines.push(`over speakers ${number(speakers[0], column.digits)} to ${number(speakers[1], column.digits)}`);
  else if (bounds && column.task) lines.push("(as if they were independent; how speakers vary is not known)");
  const without = row.get(`${column.name}_no_interval`);
  if (without) lines.push(`no interval: ${without}`);
  const seeds = row.get(`${column.name}_n_seeds`), spread = row.get(`${column.name}_std`);
  const what = row.n_trainings > 1 ? "distillation seed" : "seed";
  if (seeds) lines.push(`${seeds} ${what}${seeds === 1 ? "" : "s"}${spread === null ? "" : `, standard deviation ${number(spread, column.digits)}`}`);
  const kept = row.get(`${column.name}_retention_percent`);
  if (kept !== null && column.task) lines.push(`${number(kept, 1)} % of its teacher's points`);
  if (column.kind === "cost" && row.get("measured_on")) lines.push(`measured on ${row.get("measured_on")}`);
  return lines.join("\n");
}
