// Systems side by side, a column each: of any section, with what may be compared and what may not.

const MOST_BESIDE = 6;

function pin(index, on) {
  state.beside = on ? [...state.beside.filter((one) => one !== index), index].slice(-MOST_BESIDE) : state.beside.filter((one) => one !== index);
  changed();
}

function drawBeside() {
  const list = state.beside.map((index) => rows[index]);
  present("beside", list.length > 0);
  if (!list.length) return;
  const labels = [...new Set(list.map((row) => row.get("section")))];
  const own = data.sections.filter((one) => labels.includes(one.label));
  const columns = [...new Map(own.flatMap((one) => one.columns).map((column) => [column.name, column])).values()];
  const facts = [["role", roleOf], ["source", sourceOf], ["measured on", (row) => row.get("section")], ["teacher", (row) => row.get("teacher") || "–"], ["rank", rankText]];
  const line = (name, texts) => el("tr", {}, el("th", { scope: "row" }, name), texts.map((text) => el("td", {}, text)));
  const number = columns.filter((column) => list.some((row) => row.get(column.name) !== null))
    .map((column) => line(column.heading, list.map((row) => shown(row, column).join(" ").trim())));
  byId("beside-caption").textContent = labels.length > 1
    ? "Measured on different speech: compare what they cost, not their scores. What they keep of their teacher is over the tasks of their own section."
    : "Of one section: every number may be compared, with its interval.";
  byId("beside-body").replaceChildren(el("div", { class: "scroll plain", tabindex: "0", role: "region", "aria-label": "Systems side by side" }, el("table", {},
    el("thead", {}, el("tr", {}, el("td", {}), list.map((row) => el("th", { scope: "col" }, row.label, " ",
      el("button", { type: "button", class: "remove", "aria-label": `Take ${row.label} away`, onclick: () => pin(row.index, false) }, "✕"))))),
    el("tbody", {}, facts.map(([name, text]) => line(name, list.map(text))), number))));
}

drawers.push(drawBeside);
