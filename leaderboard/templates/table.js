// The table: what matters, then tasks, then other costs; on a telephone, a card a row.

const RANK = { name: "rank", heading: "rank", group: "main", better: "lower", digits: 0, help: "Place by the mean (or SUPERB score); shared by systems that the paired test does not tell apart from the first of them" };
const WHERE = [
  { name: "machine", heading: "machine", group: "where", first: true, better: "lower", help: "What ran the tasks; speed and memory may be of another machine, which is named above the table" },
  { name: "commit", heading: "commit", group: "where", better: "lower", help: "Of skill-bench, which ran the tasks; in brackets of how many records, where they differ; changed: with changes that were not committed" },
];

function orderBy(column) {
  const first = column.name === "title" || column.better === "lower";
  Object.assign(state, state.sort === column.name ? { up: !state.up } : { sort: column.name, up: first });
  changed();
  const again = document.querySelector(`[data-sort="${CSS.escape(column.name)}"]`);
  if (again) again.focus();
}

function heading(column) {
  const sorted = state.sort === column.name;
  const name = column.unit ? column.heading.slice(0, -column.unit.length) : column.heading;
  const text = [name, el("small", {}, column.unit || "\u00a0")];
  const button = el("button", { type: "button", "data-sort": column.name, onclick: () => orderBy(column) }, column.group === "where" ? column.heading : text,
    sorted ? el("span", { class: "arrow", "aria-hidden": "true" }, state.up ? "▲" : "▼") : null);
  if (column.help) onAsked(button, () => showTip(button, column.help));
  return el("th", { scope: "col", class: `${column.first ? "group" : ""} ${column.aside ? "aside" : ""} ${column.group === "where" ? "text" : ""}`, "aria-sort": sorted ? (state.up ? "ascending" : "descending") : null }, button);
}

// The best and the second best number of each column, as printed, among the rows shown; of those with a rank where some
// have one, and none in tasks that do not count.
function honours(columns, shownRows) {
  const ranked = shownRows.filter((row) => row.get("rank") !== null);
  const list = ranked.length ? ranked : shownRows;
  return new Map(columns.map((column) => {
    const numbers = list.filter((row) => row.get(column.name) !== null).map((row) => shown(row, column)[0]);
    numbers.sort((a, b) => (column.better === "higher" ? b - a : a - b));
    const judged = !column.aside && (column.group === "task" || column.kind === "score");
    const [first, second] = numbers;
    if (!judged || numbers.every((one) => one === first)) return [column.name, []];
    return [column.name, second === first ? [first] : [first, second]];
  }));
}

function cell(row, column, honour) {
  const value = row.get(column.name), [text, around] = shown(row, column);
  const classes = [column.group, column.first ? "group" : "", column.aside ? "aside" : "", value === null ? "absent" : "", value !== null && text === honour[0] ? "best" : "",
    value !== null && text === honour[1] ? "second" : ""].filter(Boolean).join(" ");
  return el("td", { class: classes, role: "gridcell", "data-column": column.name, "data-label": column.heading.replace(/ (?=[%↑↓])/g, "\u00a0") }, el("span", {}, text,
    around ? el("span", { class: "pm" }, ` ${around}`) : null));
}

// Listeners a table, not a cell: 500 rows stay quick.
function explained(body, columns) {
  const byName = new Map(columns.map((column) => [column.name, column]));
  onAsked(body, (event) => {
    const node = event.target.closest("td");
    const column = node && byName.get(node.dataset.column);
    if (column) showTip(node, explain(rows[node.parentNode.dataset.row], column));
  });
  body.addEventListener("change", (event) => { if (event.target.matches(".pin")) pin(Number(event.target.closest("tr").dataset.row), event.target.checked); });
  body.addEventListener("click", (event) => { if (event.target.matches(".name")) openDetails(rows[event.target.closest("tr").dataset.row]); });
}

function tableRow(row, columns, best) {
  const what = [roleOf(row), isPublished(row) ? row.get("teacher") && `of ${row.get("teacher")}` : row.get("origin") === "run" && sourceOf(row),
    row.n_trainings > 1 ? `${row.n_trainings} trainings` : null].filter(Boolean).join(" · ");
  const box = el("input", { type: "checkbox", class: "pin", "aria-label": `Put ${row.label} side by side` });
  box.checked = state.beside.includes(row.index);
  return el("tr", { "data-row": row.index, role: "row" },
    el("th", { scope: "row", role: "rowheader", class: "system" }, el("div", {}, box,
      el("span", { class: `mark ${isPublished(row) ? "published" : ""}`, style: { "--mark": colour(row) }, "aria-hidden": "true" }),
      el("span", {}, el("button", { type: "button", class: "name" }, row.get("title")), el("span", { class: "what" }, what)))),
    isRanked(section()) ? el("td", { class: "main", role: "gridcell", "data-column": "rank", "data-label": "rank" }, rankText(row)) : null,
    columns.map((column) => cell(row, column, best.get(column.name))),
    WHERE.map(({ name, first }) => el("td", { class: `more text ${first ? "group" : ""}`, role: "gridcell", "data-label": name }, row.get(name) || "–")));
}

function caption(list, columns) {
  const one = section(), said = [...one.said];
  if (list.some((row) => columns.some((column) => interval(row, column.name)))) said.push("± is half of the 95 % interval over test items and seeds.");
  said.push(...one.remarks.map((remark) => `${remark}.`));
  if (one.machines.length) said.push(`Speed and memory measured on ${one.machines.join("; ")}.`);
  return said.filter(Boolean).join(" ");
}

function drawTable() {
  const list = sorted(visibleRows()), n = rowsOf(section()).length;
  const columns = section().columns.map((column, index, other) => ({ ...column, first: index > 0 && other[index - 1].group !== column.group }));
  const ranks = isRanked(section()) ? [RANK] : [];
  const best = section().synthetic ? new Map(columns.map((column) => [column.name, []])) : honours(columns, list);
  const body = el("tbody", {}, list.map((row) => tableRow(row, columns, best)));
  const title = heading({ name: "title", heading: "system", better: "lower", help: "Press a name for its records, utterance by utterance; tick to put systems side by side" });
  title.classList.add("system");
  const head = el("thead", {}, el("tr", {}, title, [...ranks, ...columns, ...WHERE].map(heading)));
  const holder = byId("table-body"), old = holder.querySelector(".scroll");
  const scroll = el("div", { class: `scroll ${list.length > 15 ? "" : "few"}`, tabindex: "-1" }, el("table", { role: "grid", "aria-labelledby": "table-title" }, head, body));
  const at = old ? old.scrollLeft : 0;
  holder.replaceChildren(list.length ? scroll : el("p", { class: "empty" }, "No row fits these filters."));
  scroll.scrollLeft = at;
  scroll.addEventListener("scroll", () => fade(scroll), { passive: true });
  fade(scroll);
  explained(body, [...ranks, ...columns]);
  walk(body, ranks.length + columns.length + WHERE.length);
  const hidden = isRanked(section()) && !state.partial ? rowsOf(section()).filter((row) => row.get("rank") === null).length : 0;
  byId("count").textContent = `${list.length} of ${n} systems${hidden ? `; ${hidden} without every task hidden` : ""}`;
  byId("table-caption").textContent = caption(list, columns);
  byId("help-signs").textContent = section().synthetic ? "" : "Bold is the best of the rows shown that have a rank, underlined the second. A mean needs every task that counts, a rank every task of the teacher. Tasks in italics are not in the mean. A cell's tooltip says how sure it is, over speakers too.";
  byId("help-body").replaceChildren(...[...ranks, ...columns, ...WHERE].flatMap((column) => [el("dt", {}, column.heading), el("dd", {}, column.help)]));
}

function drawFinding() {
  const one = data.sections.find((other) => other.finding || other.best);
  const node = byId("finding");
  node.hidden = !one;
  if (!one) return;
  const texts = [one.finding, one.best].filter(Boolean).map((text) => text.replaceAll("± ", "±\u00a0")), sure = texts.join().includes("±");
  node.replaceChildren(...texts.map((text, index) => el("p", { class: index ? "" : "first" }, text)),
    el("p", { class: "caption" }, `From ${one.label}${sure ? "; ± is half of the 95 % interval over test items and seeds, or over whole speakers and seeds where it says so" : ""}.`));
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

drawers.push(drawFinding, drawTable);
