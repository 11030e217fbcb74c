// The table: sorted by its headings, walked through with the arrows.

// The task above its metric, a cost or a share above its unit.
function headline({ heading: text, group }) {
  const last = text.lastIndexOf(" ");
  const at = { task: text.indexOf(" "), cost: last, score: text.endsWith(" %") ? last : -1 }[group] ?? -1;
  return at < 0 ? [text, ""] : [text.slice(0, at), text.slice(at + 1)];
}

function heading(column) {
  const active = state.sort === column.name;
  const [first, small] = headline(column);
  const button = el("button", { type: "button", "data-sort": column.name, onclick: () => sortBy(column) },
    first, " ", el("span", { class: "arrow", "aria-hidden": "true" }, active ? (state.up ? "▲" : "▼") : ""),
    small ? el("small", {}, small) : null);
  if (column.description) tip(button, () => column.description);
  return el("th", { scope: "col", class: column.first ? "group" : null, "aria-sort": active ? (state.up ? "ascending" : "descending") : "none" }, button);
}

function sortBy(column) {
  if (state.sort === column.name) state.up = !state.up;
  else Object.assign(state, { sort: column.name, up: column.better !== "higher" });
  drawTable();
  document.querySelector(`[data-sort="${column.name}"]`).focus();
}

// The best and the second best value of each column, among all rows of the section.
function honours(columns, list) {
  return new Map(columns.filter((column) => column.group !== "plain").map((column) => {
    const values = [...new Set(list.map((row) => row.get(column.name)).filter((value) => value !== null))];
    values.sort((a, b) => (column.better === "higher" ? b - a : a - b));
    return [column.name, values.length > 1 ? values.slice(0, 2) : []];
  }));
}

function cell(row, column, honour) {
  const value = row.get(column.name);
  const classes = [column.first ? "group" : "", value === null ? "absent" : "", value !== null && value === honour[0] ? "best" : "",
    value !== null && value === honour[1] ? "second" : ""].filter(Boolean).join(" ");
  const bounds = interval(row, column.name);
  const half = bounds ? (bounds[1] - bounds[0]) / 2 : null;
  const digits = half === null || half < 1 ? column.digits : Math.min(1, column.digits); // no digits that say nothing
  return el("td", { class: classes || null, role: "gridcell", "data-column": column.name }, number(value, digits),
    half === null ? null : el("span", { class: "pm" }, ` ±${half.toFixed(half < 1 ? 1 : 0)}`));
}

// Listeners a table, not a cell: 500 rows stay quick.
function explained(body, columns) {
  const byName = new Map(columns.map((column) => [column.name, column]));
  const show = (event) => {
    const node = event.target.closest("td");
    const column = node && byName.get(node.dataset.column);
    if (column) showTip(node, explain(rows[node.parentNode.dataset.row], column));
  };
  body.addEventListener("mouseover", show);
  body.addEventListener("focusin", show);
  body.addEventListener("mouseout", hideTip);
  body.addEventListener("focusout", hideTip);
}

function tableRow(row, columns, best) {
  const name = el("button", { type: "button", class: "name", onclick: () => openDetails(row) }, row.get("title"));
  const more = isPublished(row) ? row.get("teacher") : sourceOf(row);
  return el("tr", { "data-row": row.index },
    el("th", { scope: "row", class: "system" }, el("div", {},
      el("span", { class: `mark ${isPublished(row) ? "published" : ""}`, style: { "--mark": colour(row) }, "aria-hidden": "true" }),
      el("span", {}, name, el("span", { class: "what" }, roleOf(row), more ? el("span", { class: "more" }, ` · ${more}`) : null)))),
    el("td", { role: "gridcell", "data-column": "rank" }, row.get("rank") === null ? "–" : String(row.get("rank"))),
    columns.map((column) => cell(row, column, best.get(column.name))));
}

function drawTable() {
  const list = sorted(visibleRows());
  const columns = section().columns.map((column, index, all) => ({ ...column, first: index === 0 || all[index - 1].group !== column.group }));
  const best = honours(columns, rowsOf(section()));
  const body = el("tbody", {}, list.map((row) => tableRow(row, columns, best)));
  const title = heading({ name: "title", heading: "system", better: "lower" });
  title.classList.add("system");
  const head = el("thead", {}, el("tr", {}, title, heading({ name: "rank", heading: "rank", better: "lower" }), columns.map(heading)));
  const holder = byId("table-body");
  const old = holder.querySelector(".scroll");
  const scroll = el("div", { class: "scroll", tabindex: "-1" }, el("table", { role: "grid", "aria-labelledby": "table-title" }, head, body));
  const at = old ? old.scrollLeft : 0;
  holder.replaceChildren(list.length ? scroll : el("p", { class: "empty" }, "No row fits these filters."));
  scroll.scrollLeft = at;
  scroll.addEventListener("scroll", () => fade(scroll), { passive: true });
  fade(scroll);
  explained(body, columns);
  walk(body, columns.length + 1);
  byId("count").textContent = `${list.length} of ${rowsOf(section()).length} systems`;
  const machines = section().machines.length ? ` Throughput and memory measured on ${section().machines.join("; ")}.` : "";
  const synthetic = section().synthetic ? " The speech is synthetic: these numbers say nothing about people's voices." : "";
  byId("table-caption").textContent = "↑ higher is better, ↓ lower is better; bold is best, underlined second. A mean and a rank need every task."
    + `${list.some((row) => columns.some((column) => interval(row, column.name))) ? " ± is half of the 95 % interval." : ""}${machines}${synthetic}`;
}

// The right edge fades while there are columns behind it.
function fade(scroll) {
  scroll.classList.toggle("more", scroll.scrollLeft + scroll.clientWidth < scroll.scrollWidth - 4);
}

// The arrows move from cell to cell, enter opens the row.
function walk(body, width) {
  const cells = [...body.querySelectorAll("td")];
  if (!cells.length) return;
  for (const one of cells) one.tabIndex = -1;
  cells[0].tabIndex = 0;
  body.addEventListener("keydown", (event) => {
    const index = cells.indexOf(event.target);
    if (index < 0) return;
    if (event.key === "Enter") {
      event.preventDefault(); // it would press the dialog's first button
      event.target.closest("tr").querySelector(".name").click();
      return;
    }
    const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -width, ArrowDown: width, PageUp: -10 * width, PageDown: 10 * width }[event.key];
    const next = step === undefined ? undefined : cells[index + step];
    if (!next) return;
    event.preventDefault();
    event.target.tabIndex = -1;
    next.tabIndex = 0;
    next.focus();
    next.scrollIntoView({ block: "nearest", inline: "center" });
  });
}

drawers.push(drawTable);
