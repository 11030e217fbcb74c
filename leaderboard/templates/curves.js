// Training: loss and sparsity of each stage of a student.

let learntBy = "";

function lineChart(holder, stage, name, width) {
  const height = 240, [left, right, top, bottom] = [56, width - 12, 28, height - 48];
  const x = linear([stage.update[0], stage.update.at(-1)], [left, right]), y = linear(spread(stage[name]), [bottom, top]);
  const points = stage.update.map((update, index) => [x(update), y(stage[name][index])]);
  const dot = svg("circle", { class: "ring", r: 5, cx: -9, cy: -9 });
  const words = (index) => `update ${short(stage.update[index])}\n${name} ${stage[name][index].toFixed(4)}`;
  const nearest = (event) => {
    const box = picture.getBoundingClientRect(), at = ((event.clientX - box.left) / box.width) * width;
    return points.reduce((best, point, index) => (Math.abs(point[0] - at) < Math.abs(points[best][0] - at) ? index : best), 0);
  };
  let at = points.length - 1;
  const show = (index) => {
    at = index;
    dot.setAttribute("cx", points[at][0]);
    dot.setAttribute("cy", points[at][1]);
    dot.style.stroke = "var(--ink)";
    showTip(dot, words(at));
  };
  const picture = chart(width, height, `${name} of stage ${stage.stage}, from ${stage[name][0].toFixed(3)} to ${stage[name].at(-1).toFixed(3)}`,
    axes({ x, y, left, right, top, bottom, xLabel: "update", yLabel: name }),
    svg("polyline", { class: "curve", points: points.map((point) => point.join(",")).join(" "), style: { stroke: name === "loss" ? "var(--student)" : "var(--teacher)" } }), dot);
  picture.setAttribute("tabindex", "0");
  picture.addEventListener("pointermove", (event) => show(nearest(event)));
  picture.addEventListener("pointerleave", hideTip);
  picture.addEventListener("blur", hideTip);
  picture.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step) return;
    event.preventDefault();
    show(Math.min(points.length - 1, Math.max(0, at + step)));
  });
  holder.append(picture);
}

function drawCurves() {
  const controls = byId("training-controls"), holder = byId("training-body");
  controls.replaceChildren();
  const list = rows.filter((row, index) => row.detail && row.detail.curves && rows.findIndex((other) => other.get("identity") === row.get("identity")) === index);
  present("training", list.length > 0);
  if (!list.length) return;
  learntBy = picker(controls, "Student", list.map((row) => [String(row.index), row.get("title")]), learntBy, (value) => { learntBy = value; drawCurves(); });
  const stages = list.find((row) => String(row.index) === learntBy).detail.curves;
  holder.replaceChildren(el("div", { class: "tiles pair" }));
  const wide = holder.clientWidth > 860, room = Math.min(620, wide ? holder.clientWidth / 2 - 20 : roomFor(holder));
  for (const stage of stages) {
    const tile = el("figure", { style: { margin: "0" } }, el("h3", {}, { joint: "Distillation and pruning together", final: "Distillation alone" }[stage.stage] || stage.stage));
    holder.firstChild.append(tile);
    for (const name of ["loss", "sparsity"]) if (stage[name]) lineChart(tile, stage, name, room);
  }
  const width = Math.max(...stages.map((stage) => stage.updates_per_point));
  const penalty = stages.some((stage) => stage.sparsity) ? "The loss of the first stage contains the penalty that drives the sparsity to its target. " : "";
  byId("training-caption").textContent = penalty + (width > 1 ? `Each point is the mean of up to ${width} updates.` : "Each point is one update.");
}

drawers.push(drawCurves);
