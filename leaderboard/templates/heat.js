// Matrices as colours: layer weights by task, and the similarity of layers with its dendrogram.

function shade(share) {
  const whole = Math.round(100 * Math.min(1, Math.max(0, share)));
  return `color-mix(in oklab, var(--heat-high) ${whole}%, var(--heat-low))`;
}

function grid(cells, { x, y, size, tall, share, words }) {
  const nodes = cells.flatMap((line, i) => line.map((value, j) => tip(svg("rect", {
    class: "cell", role: "img", "aria-label": words(i, j, value), x: x + j * size, y: y + i * tall, width: size - 1, height: tall - 1, rx: 1,
    style: { fill: shade(share(value)) } }), () => words(i, j, value))));
  const across = cells[0].length;
  roving(nodes, (index, key) => index + { ArrowRight: 1, ArrowLeft: -1, ArrowDown: across, ArrowUp: -across }[key]);
  return nodes;
}

let weightsOf = "";
const MOST_TILES = 6;

function meanWeights(row) {
  const byTask = new Map();
  for (const record of row.detail ? row.detail.records : []) {
    if (record.layer_weights) byTask.set(record.task, [...(byTask.get(record.task) || []), record.layer_weights]);
  }
  return [...byTask].map(([task, seeds]) => [task, seeds[0].map((_, layer) => seeds.reduce((sum, one) => sum + one[layer], 0) / seeds.length)]);
}

function drawWeights() {
  const controls = byId("layers-controls"), holder = byId("layers-body");
  controls.replaceChildren();
  const list = sorted(visibleRows()).filter((row) => meanWeights(row).length);
  present("layers", list.length > 0);
  if (!list.length) return;
  const entries = [["", list.length > MOST_TILES ? `first ${MOST_TILES} of the table` : "all"], ...list.map((row) => [String(row.index), `${row.get("title")} (${sourceOf(row)})`])];
  weightsOf = picker(controls, "System", entries, weightsOf, (value) => { weightsOf = value; drawWeights(); });
  const shown = weightsOf ? list.filter((row) => String(row.index) === weightsOf) : list.slice(0, MOST_TILES);
  // A task that chose one layer has no weights to compare: it would make all others pale.
  const chose = (weights) => Math.max(...weights) > 0.999;
  const summed = shown.flatMap((row) => meanWeights(row).map(([, weights]) => weights)).filter((weights) => !chose(weights));
  const most = Math.max(...summed.flat(), 0) || 1;
  const single = shown.some((row) => meanWeights(row).some(([, weights]) => chose(weights)));
  const tiles = el("div", { class: "tiles" });
  holder.replaceChildren(tiles);
  const room = Math.min(560, shown.length > 1 && holder.clientWidth > 860 ? holder.clientWidth / 2 - 20 : roomFor(holder));
  for (const row of shown) {
    const lines = meanWeights(row), layers = lines[0][1].length;
    const left = 42, size = (room - left - 2) / layers, tall = 26;
    const nodes = grid(lines.map(([, weights]) => weights), { x: left, y: 0, size, tall, share: (value) => value / most,
      words: (i, j, value) => `${row.get("title")}\n${lines[i][0].toUpperCase()}, hidden state h${j}: weight ${value.toFixed(3)}` });
    const text = [...lines.map(([task], i) => svg("text", { x: left - 8, y: i * tall + 17, "text-anchor": "end" }, task.toUpperCase())),
      ...lines[0][1].map((_, j) => (layers > 16 && j % 4 ? null : svg("text", { class: "quiet", x: left + (j + 0.5) * size, y: lines.length * tall + 15, "text-anchor": "middle" }, size > 24 ? `h${j}` : String(j))))];
    tiles.append(el("figure", { style: { margin: "0" } }, el("h3", {}, row.get("title")), chart(room, lines.length * tall + 20, `Layer weights of ${row.get("title")}`, nodes, text)));
  }
  byId("layers-caption").textContent = `Weight of each hidden state in the sum that feeds the head, mean over seeds; dark is ${most.toFixed(2)}, light is 0, equal weights would be one over the number of states. `
    + (single ? "A task with a single dark cell, as QbE, uses that one state. " : "")
    + "States are not normalised before the sum, so a small weight on a large state may still count.";
}

let alikeOf = "";

function mean(values) {
  return values.length ? values.reduce((sum, value) => sum + value, 0) / values.length : null;
}

// How alike the layers of each group are among themselves, and to all others.
function groupTable(matrix, groups) {
  const lines = groups.map((group, index) => {
    const others = matrix.map((_, layer) => layer).filter((layer) => !group.includes(layer));
    const within = group.flatMap((a) => group.filter((b) => b > a).map((b) => matrix[a][b]));
    const without = group.flatMap((a) => others.map((b) => matrix[a][b]));
    return el("tr", {}, [String(index + 1), group.map((layer) => `h${layer}`).join(" "), number(mean(within), 3), number(mean(without), 3)].map((text) => el("td", {}, text)));
  });
  return el("div", { class: "scroll plain" }, el("table", {},
    el("thead", {}, el("tr", {}, ["group", "hidden states", "mean similarity within", "to the others"].map((text) => el("th", { scope: "col" }, text)))),
    el("tbody", {}, lines)));
}

// Heights of the merges, drawn over the layers they join; neighbours that merge early are alike.
function tree(merges, layers, { x, size, top, bottom }) {
  const order = [];
  const children = new Map(merges.map(([a, b], index) => [layers + index, [a, b]]));
  const visit = (node) => (children.has(node) ? children.get(node).forEach(visit) : order.push(node));
  visit(layers + merges.length - 1);
  const highest = Math.max(...merges.map((merge) => merge[2])) || 1;
  const level = (height) => bottom - (height / highest) * (bottom - top);
  const middle = new Map(order.map((layer, index) => [layer, [x + (index + 0.5) * size, bottom]]));
  const lines = merges.map(([a, b, height], index) => {
    const [one, two] = [middle.get(a), middle.get(b)], up = level(height);
    middle.set(layers + index, [(one[0] + two[0]) / 2, up]);
    return svg("path", { class: "tree", d: `M${one[0]} ${one[1]}V${up}H${two[0]}V${two[1]}` });
  });
  return { order, lines };
}

function drawSimilarity() {
  const controls = byId("similarity-controls"), holder = byId("similarity-body");
  controls.replaceChildren();
  const list = rows.filter((row, index) => row.detail && row.detail.similarity && rows.findIndex((other) => other.get("identity") === row.get("identity")) === index);
  present("similarity", list.length > 0);
  if (!list.length) return;
  alikeOf = picker(controls, "Student", list.map((row) => [String(row.index), row.get("title")]), alikeOf, (value) => { alikeOf = value; drawSimilarity(); });
  const row = list.find((one) => String(one.index) === alikeOf), { matrix, groups, tree: merges, measure } = row.detail.similarity;
  const layers = matrix.length, room = Math.min(640, roomFor(holder)), left = 36, size = (room - left - 2) / layers, above = merges.length ? 90 : 0;
  const { order, lines } = merges.length ? tree(merges, layers, { x: left, size, top: 8, bottom: above - 4 }) : { order: matrix.map((_, layer) => layer), lines: [] };
  const lowest = Math.min(...matrix.flat());
  const nodes = grid(order.map((a) => order.map((b) => matrix[a][b])), { x: left, y: above, size, tall: size, share: (value) => (value - lowest) / (1 - lowest || 1),
    words: (i, j, value) => `h${order[i]} and h${order[j]}: ${value.toFixed(3)}` });
  const name = (layer) => (size > 24 ? `h${layer}` : String(layer));
  const text = order.flatMap((layer, index) => [svg("text", { x: left - 7, y: above + (index + 0.5) * size + 4, "text-anchor": "end" }, name(layer)),
    svg("text", { class: "quiet", x: left + (index + 0.5) * size, y: above + layers * size + 16, "text-anchor": "middle" }, name(layer))]);
  const frames = groups.map((group) => {
    const first = Math.min(...group.map((layer) => order.indexOf(layer)));
    return svg("rect", { class: "group", x: left + first * size, y: above + first * size, width: group.length * size - 1, height: group.length * size - 1, rx: 2 });
  });
  const picture = chart(room, above + layers * size + 24, `Similarity of layers, ${row.get("title")}`, lines, nodes, frames, text);
  picture.style.maxWidth = `${room}px`;
  holder.replaceChildren(el("div", { class: "tiles pair" }, picture, groupTable(matrix, groups)));
  byId("similarity-caption").textContent = `${{ cka: "Linear CKA", cosine: "Frame-wise cosine", mutual_knn: "Mutual nearest neighbours" }[measure] || measure} between the teacher's hidden states, from ${lowest.toFixed(2)} (light) to 1 (dark); `
    + `above, the order in which they merge. Frames are the ${groups.length} groups that ${row.get("title")} was distilled by: the student's average over a group learns the teacher's.`;
}

drawers.push(drawWeights, drawSimilarity);
