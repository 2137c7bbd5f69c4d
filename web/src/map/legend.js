// What the colours mean: a choice of the column, then names with counts, or a scale. A name selects its images.

import { ApiError } from "../api.js";
import { categoryColour, missingColour, scaleColour, MISSING } from "../colours.js";
import { colourable } from "../columns.js";
import { count, h, iconButton, number, time, visible } from "../dom.js";
import { categorySelection } from "../selection.js";

const FOUND = { score: ["scores", "score of the examples"], odd: ["odd", "oddness"] }; // columns that are not of the index
const FOLD = "M4 6l4 4 4-4";

export function createLegend(app) {
  const { store, index } = app;
  const names = colourable(index).map(({ name }) => name);
  const choice = h(
    "select",
    { id: "colour", onchange: () => store.set({ color: choice.value }) },
    h("option", { value: "none" }, "nothing"),
    names.map((name) => h("option", { value: name }, visible(name))),
  );
  const body = h("div", { class: "legend-body" });
  const title = h("label", { for: "colour" }, "Colour ");
  const folding = iconButton(FOLD, "Show or hide what the colours mean", () => unfold(body.hidden), { "aria-expanded": "true" });
  const element = h("div", { class: "legend" }, h("div", { class: "legend-title" }, title, choice, folding), body);

  function unfold(open) {
    body.hidden = !open;
    folding.setAttribute("aria-expanded", open);
  }

  async function load() {
    const wanted = store.values.color || names[0] || "none";
    choice.value = wanted;
    if (wanted === "none") return store.set({ column: null, highlight: null });
    if (wanted in FOUND && !names.includes(wanted)) return store.set({ column: store.values[FOUND[wanted][0]], highlight: null });
    body.setAttribute("aria-busy", "true");
    try {
      const column = await app.columns.load(wanted);
      if ((store.values.color || names[0]) === wanted) store.set({ column, highlight: null });
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      body.replaceChildren(h("p", { class: "error" }, error.message));
    }
    body.removeAttribute("aria-busy");
  }

  function show({ column, theme }) {
    if (column === null) return body.replaceChildren();
    body.replaceChildren(...(column.type === "category" ? entries(app, column, theme) : [scale(column, theme)]));
  }

  function offer(values) {
    for (const [name, [key, title]] of Object.entries(FOUND)) {
      const option = [...choice.options].find((each) => each.dataset.found === name);
      if (!values[key]) option?.remove();
      else if (!option) choice.append(h("option", { value: name, "data-found": name }, title));
    }
    choice.value = store.values.color || names[0];
  }

  store.on("color", load);
  store.on("scores odd", offer);
  store.on("column theme", show);
  return { element, load, unfold };
}

function entries(app, column, theme) {
  const rows = column.order.filter((code) => column.counts[code] > 0).map((code, place) => {
    const name = column.name === "cluster" ? `Cluster ${column.names[code]}` : column.names[code] || "(none)";
    return entry(app, column, code, name, categoryColour(place, theme));
  });
  if (column.counts[MISSING]) rows.push(entry(app, column, MISSING, "unknown", missingColour(theme)));
  return [h("ul", { class: "entries" }, rows)];
}

function entry(app, column, code, name, colour) {
  const light = (highlight) => () => app.store.set({ highlight });
  const select = () => app.store.set({ sel: categorySelection(column.name, code === MISSING ? null : column.names[code]), tab: "images" });
  const swatch = h("span", { class: "swatch", "aria-hidden": "true" });
  swatch.style.background = colour;
  const seen = { onmouseenter: light(code), onmouseleave: light(null), onfocus: light(code), onblur: light(null) };
  const button = h(
    "button",
    { type: "button", class: "entry", title: `Select ${visible(name)}`, onclick: select, ...seen },
    swatch,
    h("span", { class: "name" }, visible(name)),
    h("span", { class: "muted" }, count(column.counts[code])),
  );
  return h("li", {}, button);
}

function scale(column, theme) {
  const bar = h("canvas", { class: "scale", width: 200, height: 10, role: "img", "aria-label": `Scale of ${column.name}` });
  const context = bar.getContext("2d");
  for (let left = 0; left < 200; left++) {
    context.fillStyle = scaleColour(left / 199, theme);
    context.fillRect(left, 0, 1, 10);
  }
  const text = column.type === "time" ? time : number;
  const clipped = (end, value) => (value !== null && value !== undefined && Math.abs(value - end) > 1e-6 * Math.abs(end || 1));
  const ends = [
    (clipped(column.low, column.min) ? "≤ " : "") + text(column.low),
    (clipped(column.high, column.max) ? "≥ " : "") + text(column.high),
  ];
  return h("div", {}, bar, h("div", { class: "scale-ends muted" }, h("span", {}, ends[0]), h("span", {}, ends[1])));
}
