// What stands behind a row: its records with links, or its source.

function openDetails(row) {
  hideTip();
  const dialog = byId("details");
  const facts = [["role", roleOf(row)], ["suite", row.get("section")]];
  if (isPublished(row)) facts.push(["source", row.get("origin")]);
  if (row.detail) facts.push(...Object.entries(row.detail.about));
  if (row.get("measured_on")) facts.push(["speed and memory on", row.get("measured_on")]);
  if (row.get("compressed_on")) facts.push(["compressed on", row.get("compressed_on")]);
  if (row.get("notes")) facts.push(["notes", row.get("notes")]);
  dialog.replaceChildren(
    el("div", { class: "head" }, el("h2", { id: "details-title" }, row.get("title")),
      el("button", { type: "button", onclick: () => dialog.close() }, "Close")),
    el("dl", {}, facts.map(([name, value]) => [el("dt", {}, name), el("dd", {}, String(value))])),
    row.detail ? recordTable(row.detail.records) : "");
  dialog.showModal();
}

// What makes a mark in a chart open its row.
function opens(row) {
  const onkeydown = (event) => {
    if (event.key !== "Enter") return;
    event.preventDefault();
    openDetails(row);
  };
  return { onclick: () => openDetails(row), onkeydown };
}

function recordTable(records) {
  const names = ["record", "result", "counts", "learning rate", "test utterances", "data"];
  return el("div", { class: "scroll" }, el("table", {},
    el("thead", {}, el("tr", {}, names.map((name) => el("th", { scope: "col" }, name)))),
    el("tbody", {}, records.map((record) => el("tr", {},
      el("td", {}, record.href ? el("a", { href: record.href }, `${record.task}, seed ${record.seed}`) : `${record.task}, seed ${record.seed}`),
      el("td", {}, record.error || `${record.metric} ${number(record.value, 2)}`),
      el("td", {}, record.denominator ? `${short(record.numerator)} / ${short(record.denominator)}` : "–"),
      el("td", {}, record.learning_rate === undefined ? "–" : record.learning_rate.toExponential()),
      el("td", {}, record.n_test === undefined ? "–" : String(record.n_test)),
      el("td", {}, record.data === undefined ? "–" : `${record.data}, version ${record.version}`))))));
}

byId("details").addEventListener("click", (event) => { if (event.target === byId("details")) byId("details").close(); });
