// Elements, tooltips and numbers. Text only ever becomes a text node: titles come from other people's files.

const byId = (id) => document.getElementById(id);

// Shows or hides a section, and the link to it.
function present(id, there) {
  byId(id).hidden = !there;
  document.querySelector(`.sections [href="#${id}"]`).hidden = !there;
}

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "style") for (const [key, v] of Object.entries(value)) node.style.setProperty(key, v);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return node;
}

const el = (name, attributes = {}, ...children) => fill(document.createElement(name), attributes, children);
const number = (value, digits) => (value === null || value === undefined ? "–" : value.toFixed(digits));

function short(value) {
  if (value === 0) return "0";
  const size = Math.abs(value);
  return size >= 1000 ? value.toLocaleString("en", { maximumFractionDigits: 0 }) : String(Number(value.toPrecision(3)));
}

function option(select, value, text) {
  select.append(el("option", { value }, text));
}

function picker(parent, label, entries, chosen, onchange) {
  const select = el("select", { onchange: () => onchange(select.value) });
  for (const [value, text] of entries) option(select, value, text);
  if (entries.some(([value]) => value === chosen)) select.value = chosen;
  parent.append(el("label", { class: "field" }, el("span", { class: "caption", style: { margin: "0" } }, label), select));
  return select.value;
}

// A tooltip on hover, on focus and on touch; screen readers get the same words as the node's label.
const tooltip = byId("tooltip");
let tipNode = null; // the node that it is about
let pointerAt = ""; // where it was last seen to move to

const whereOf = (event) => `${event.screenX} ${event.screenY}`;

function showTip(node, text) {
  tipNode = node;
  tooltip.textContent = text;
  tooltip.hidden = false;
  const at = node.getBoundingClientRect();
  const own = tooltip.getBoundingClientRect();
  const left = Math.min(Math.max(8, at.left + at.width / 2 - own.width / 2), innerWidth - own.width - 8);
  const above = at.top - own.height - 8;
  tooltip.style.left = `${left}px`;
  tooltip.style.top = `${above > 8 ? above : at.bottom + 8}px`;
}

const hideTip = () => { tooltip.hidden = true; };

// Calls `show` when somebody asks: a pointer that rests while the page moves below it does not.
function onAsked(node, show) {
  node.addEventListener("mouseover", (event) => { if (whereOf(event) !== pointerAt) show(event); });
  node.addEventListener("mouseout", (event) => { if (whereOf(event) !== pointerAt) hideTip(); });
  node.addEventListener("focusin", show);
  node.addEventListener("focusout", hideTip);
}

addEventListener("mousemove", (event) => { pointerAt = whereOf(event); });
addEventListener("keydown", (event) => { if (event.key === "Escape") hideTip(); });
addEventListener("scroll", () => {
  if (tooltip.hidden) return;
  if (tipNode.matches(":focus-visible")) showTip(tipNode, tooltip.textContent); // taking the focus scrolls the page
  else hideTip();
}, { passive: true, capture: true });
