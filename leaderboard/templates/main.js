// Controls, theme, and the first drawing.

function roles() {
  const select = byId("role");
  select.replaceChildren();
  option(select, "", "all");
  const present = new Set(rowsOf(section()).map(roleOf));
  for (const role of [...ROLES, "published"].filter((one) => present.has(one))) option(select, role, role);
  state.role = present.has(state.role) ? state.role : "";
  select.value = state.role;
}

function chooseSection(index) {
  Object.assign(state, { section: index, sort: "rank", up: true });
  roles();
  changed();
}

function theme(name) {
  document.documentElement.dataset.theme = name;
}

function wire() {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  theme(dark.matches ? "dark" : "light");
  dark.addEventListener("change", () => theme(dark.matches ? "dark" : "light"));
  byId("theme").addEventListener("click", () => theme(document.documentElement.dataset.theme === "dark" ? "light" : "dark"));
  if (!data.sections.length) {
    byId("table-body").replaceChildren(el("p", { class: "empty" }, "No records yet."));
    return;
  }
  data.sections.forEach((one, index) => option(byId("section"), String(index), one.label));
  byId("controls").hidden = false;
  byId("section").addEventListener("change", () => chooseSection(Number(byId("section").value)));
  let waiting;
  const later = (change) => { change(); clearTimeout(waiting); waiting = setTimeout(changed, 120); };
  byId("search").addEventListener("input", () => later(() => { state.search = byId("search").value; }));
  byId("role").addEventListener("change", () => { state.role = byId("role").value; changed(); });
  byId("limit").addEventListener("input", () => later(() => { state.limit = byId("limit").value === "" ? null : Number(byId("limit").value); }));
  byId("complete").addEventListener("change", () => { state.complete = byId("complete").checked; changed(); });
  let width = innerWidth;
  addEventListener("resize", () => { if (innerWidth !== width) { width = innerWidth; later(() => {}); } });
  chooseSection(0);
}

wire();
