// Controls, theme, and the first drawing.

function roles() {
  const select = byId("role");
  select.replaceChildren();
  option(select, "", "all");
  const there = new Set(rowsOf(section()).map(roleOf));
  for (const role of ROLES.filter((one) => there.has(one))) option(select, role, role);
  state.role = there.has(state.role) ? state.role : "";
  select.value = state.role;
}

// What the controls show is what is chosen, whether here or by the address.
function controls() {
  roles();
  byId("section").value = String(state.section);
  byId("search").value = state.search;
  byId("limit").value = state.limit === null ? "" : String(state.limit);
  byId("partial").checked = state.partial;
  byId("partial").closest(".field").hidden = !isRanked(section()) || rowsOf(section()).every((row) => row.get("rank") !== null);
}

function choose(change) {
  Object.assign(state, change);
  controls();
  changed();
}

function theme(name) {
  document.documentElement.dataset.theme = name;
  if (data.sections.length) changed();
}

function fromAddress() {
  if (location.hash && !location.hash.includes("=")) return; // an anchor
  read();
  choose({});
  if (state.row !== null) openDetails(rows[state.row]);
}

function wire() {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  document.documentElement.dataset.theme = dark.matches ? "dark" : "light";
  dark.addEventListener("change", () => theme(dark.matches ? "dark" : "light"));
  byId("theme").addEventListener("click", () => theme(document.documentElement.dataset.theme === "dark" ? "light" : "dark"));
  if (!data.sections.length) {
    byId("table-body").replaceChildren(el("p", { class: "empty" }, "No records yet."));
    byId("help").hidden = true;
    for (const kind of Object.keys(CAPTIONS)) present(kind, false);
    return;
  }
  data.sections.forEach((one, index) => option(byId("section"), String(index), one.label));
  byId("controls").hidden = false;
  byId("section").addEventListener("change", () => choose({ section: Number(byId("section").value), sort: "", up: true }));
  let waits;
  const later = (change) => { change(); clearTimeout(waits); waits = setTimeout(changed, 120); };
  byId("search").addEventListener("input", () => later(() => { state.search = byId("search").value; }));
  byId("role").addEventListener("change", () => choose({ role: byId("role").value }));
  byId("limit").addEventListener("input", () => later(() => { state.limit = byId("limit").value === "" ? null : Number(byId("limit").value); }));
  byId("partial").addEventListener("change", () => choose({ partial: byId("partial").checked }));
  let width = innerWidth;
  addEventListener("resize", () => { if (innerWidth !== width) { width = innerWidth; later(() => {}); } });
  addEventListener("hashchange", fromAddress);
  fromAddress();
  if (location.hash && !location.hash.includes("=")) choose({});
}

wire();
