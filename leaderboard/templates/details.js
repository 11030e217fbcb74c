// What stands behind a row: all its numbers, its records, and each utterance; all of it is in this file.

// Compressed: records, utterances and charts, which the table does not need.
let unpacking = null;
let more = null;

function unpacked() {
  unpacking = unpacking || (async () => {
    const bytes = Uint8Array.from(atob(byId("more").textContent), (one) => one.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    more = JSON.parse(await new Response(stream).text());
    return more;
  })();
  return unpacking;
}

async function openDetails(row) {
  hideTip();
  state.row = row.index;
  remember();
  const dialog = byId("details"), { details } = await unpacked();
  const detail = details[row.index];
  const facts = [["role", roleOf(row)], ["section", row.get("section")], ["rank", rankText(row)]];
  if (isPublished(row)) facts.push(["source", row.get("origin")]);
  if (detail) facts.push(...Object.entries(detail.about));
  for (const [name, key] of [["speed and memory on", "measured_on"], ["compressed on", "compressed_on"], ["notes", "notes"]]) if (row.get(key)) facts.push([name, row.get(key)]);
  const columns = data.sections.find((one) => one.label === row.get("section")).columns.filter((column) => row.get(column.name) !== null);
  dialog.replaceChildren(
    el("div", { class: "head" }, el("h2", { id: "details-title" }, row.label),
      el("button", { type: "button", onclick: () => dialog.close() }, "Close")),
    el("h3", {}, "Numbers"), el("dl", { class: "pairs" }, columns.map((column) => [el("dt", {}, column.heading), el("dd", {}, shown(row, column).join(" ").trim())])),
    el("h3", {}, "Where they are from"), el("dl", {}, facts.map(([name, value]) => [el("dt", {}, name), el("dd", {}, String(value))])),
    ...(detail ? [el("h3", {}, "Records"), el("p", { class: "caption" }, ofItems(row, detail.records)), recordTable(row, detail.records), el("div", { id: "utterances" })] : []));
  if (!dialog.open) dialog.showModal();
  dialog.scrollTop = 0;
}

// Which records can be read item by item, and which not for lack of room.
function ofItems(row, records) {
  const tasks = [...new Set(records.map((record) => record.task))], names = (list) => list.map((task) => task.toUpperCase()).join(", ");
  const there = tasks.filter((task) => more.answers[`${row.index}/${task}`]), without = tasks.filter((task) => more.without.includes(`${row.index}/${task}`));
  return [there.length ? `Press a record for its test items one by one: the first record of ${names(there)}. Other seeds are in the predictions beside their records.` : "",
    without.length ? `This page has no room for those of ${names(without)}, which are in the predictions beside the records.` : ""].filter(Boolean).join(" ");
}

function recordTable(row, records) {
  const names = ["record", "result", "counts", "learning rate", "test items", "data"];
  const said = new Set();
  return el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Records" }, el("table", {},
    el("thead", {}, el("tr", {}, names.map((name) => el("th", { scope: "col" }, name)))),
    el("tbody", {}, records.map((record) => {
      const label = `${record.task}, ${record.of}, seed ${record.seed}`;
      const answers = more.answers[`${row.index}/${record.task}`];
      const here = answers && answers.record === `${record.of} on ${record.task}, seed ${record.seed}` && !said.has(record.task);
      if (here) said.add(record.task);
      return el("tr", {},
        el("td", {}, here ? el("button", { type: "button", class: "link", "data-task": record.task, onclick: () => showUtterances(row, record.task) }, label) : label),
        el("td", {}, record.error || `${record.metric} ${number(record.value, 2)}`),
        el("td", {}, record.denominator ? `${short(record.numerator)} / ${short(record.denominator)}` : "–"),
        el("td", {}, record.learning_rate === undefined ? "–" : record.learning_rate.toExponential()),
        el("td", {}, record.n_test === undefined ? "–" : String(record.n_test)),
        el("td", {}, record.data === undefined ? "–" : `${record.data}, version ${record.version}`));
    }))));
}

// Item by item, the worst first; where answers are labels, what was taken for what.
function showUtterances(row, task) {
  const answers = more.answers[`${row.index}/${task}`], items = more.items[`${data.sections.findIndex((one) => one.label === row.get("section"))}/${task}`];
  const { threshold, scores } = answers;
  const list = items.map(([id, target], index) => {
    const [n, of] = [answers.numerators[index], answers.denominators[index]];
    const share = of ? n / of : 0, wrong = answers.higher_is_better ? 1 - share : share;
    return { id, target, said: answers.said[index] ?? target, n, of, wrong, score: scores ? scores[index] : null };
  }).sort((a, b) => b.wrong - a.wrong || (scores ? Math.abs(b.score - threshold) - Math.abs(a.score - threshold) : 0));
  const right = list.filter((one) => one.wrong <= 0).length;
  const pairs = new Map();
  for (const one of list) if (one.said !== one.target && one.target.length < 24 && answers.item !== "query") pairs.set(`${one.target} → ${one.said}`, (pairs.get(`${one.target} → ${one.said}`) || 0) + 1);
  const often = [...pairs].filter(([, n]) => n > 1).sort((a, b) => b[1] - a[1]).slice(0, 8).map(([text, n]) => `${text} (${n})`);
  const decided = threshold === undefined ? "" : threshold === null ? " Nothing is taken for a hit: at any threshold false ones would cost more." : ` Decided at a score of ${threshold}, the best threshold for all.`;
  byId("utterances").replaceChildren(
    el("h3", { tabindex: "-1" }, `${task.toUpperCase()}, ${answers.item} by ${answers.item}`),
    el("p", { class: "caption" }, `${answers.record}: ${right} of ${list.length} without an error.${decided}${often.length ? ` Most often taken for another: ${often.join(", ")}.` : ""}`),
    el("div", { class: "scroll tall", tabindex: "0", role: "region", "aria-label": "Item by item" }, el("table", { class: "texts" },
      el("thead", {}, el("tr", {}, [answers.item, answers.higher_is_better ? "right" : "errors", "target", "answer", scores && "score"].filter(Boolean).map((name) => el("th", { scope: "col" }, name)))),
      el("tbody", {}, list.map((one) => el("tr", {}, [one.id, `${short(one.n)} / ${short(one.of)}`, one.target, one.said, scores && String(one.score)].filter((text) => text !== undefined).map((text) => el("td", {}, text))))))));
  const title = byId("utterances").querySelector("h3");
  title.focus({ preventScroll: true });
  title.scrollIntoView({ block: "start" });
}

byId("details").addEventListener("click", (event) => { if (event.target === byId("details")) byId("details").close(); });
byId("details").addEventListener("close", () => { state.row = null; remember(); });
