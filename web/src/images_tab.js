// The tab of the images that are shown: sorted, picked, exported.

import { ApiError } from "./api.js";
import { columnsOf } from "./columns.js";
import { count, counted, h, iconButton, visible } from "./dom.js";
import { exportButtons } from "./export.js";
import { createGrid } from "./grid.js";
import { sorted } from "./selection.js";
import { valueText } from "./values.js";

const ORDER = "M5 3v10M5 13l-2.5-2.5M5 13l2.5-2.5M9.5 4H14M9.5 8h3M9.5 12h1.5";

const HASHES = ["content_hash", "pixel_hash"]; // whose order says nothing

export function createImagesTab(app) {
  const { store, index } = app;
  let column = null; // that the grid is sorted by
  const grid = createGrid(app, { label: "Images", captionOf: (id) => valueText(column, id) });
  const choice = h(
    "select",
    { id: "sort", onchange: () => store.set({ sort: choice.value }) },
    h("option", { value: "" }, "stored order"),
    columnsOf(index).filter(({ name }) => !HASHES.includes(name)).map(({ name }) => h("option", { value: name }, visible(name))),
  );
  const reverse = iconButton(ORDER, "Reverse the order", () => {
    const { sort } = store.values;
    store.set({ sort: sort.startsWith("-") ? sort.slice(1) : `-${sort || ""}` });
  }, { "aria-pressed": "false" });
  const size = h("p", { class: "size" });
  const clear = h("button", { type: "button", class: "small", onclick: () => store.set({ sel: "" }) }, "Show all");
  const none = h("button", { type: "button", class: "small", onclick: () => store.set({ picked: new Set() }) }, "Pick none");
  const all = h("button", { type: "button", class: "small", onclick: grid.pickAll }, "Pick all");
  const files = exportButtons(app, () => (store.values.picked.size ? [...store.values.picked] : [...store.values.shown]));
  const nothing = h("p", { class: "empty", hidden: true });

  async function fill(keep = false) {
    const { shown, sort } = store.values;
    const falling = sort.startsWith("-");
    const name = falling ? sort.slice(1) : sort;
    choice.value = name;
    reverse.setAttribute("aria-pressed", falling);
    column = name ? await loaded(name) : null;
    if (store.values.shown !== shown || store.values.sort !== sort) return;
    const ids = column ? sorted(shown, column, falling) : falling ? shown.slice().reverse() : shown;
    grid.show(ids, keep);
    tell();
  }

  async function loaded(name) {
    try {
      return await app.columns.load(name);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      app.fail(error);
      return null;
    }
  }

  function tell() {
    const { shown, picked, sel, where } = store.values;
    const part = shown.length < app.n;
    size.textContent = part ? `${count(shown.length)} of ${counted(app.n, "image")}` : counted(app.n, "image");
    if (picked.size) size.textContent += `, ${count(picked.size)} picked`;
    clear.hidden = !sel;
    none.disabled = !picked.size;
    files.name(picked.size ? counted(picked.size, "picked image") : counted(shown.length, "image"));
    nothing.hidden = shown.length > 0;
    grid.element.hidden = shown.length === 0;
    nothing.textContent = where && !sel ? "No image fulfils the filter: change it above, or clear it." : "The selection is empty: draw a lasso around points of the map, or show all.";
  }

  store.on("shown sort", () => fill());
  store.on("picked", tell);
  const element = h(
    "div",
    { class: "tab-body" },
    h("div", { class: "bar" }, size, clear),
    h("div", { class: "bar" }, h("label", { for: "sort" }, "Sort by ", choice), reverse, all, none, files.element),
    nothing,
    grid.element,
  );
  return { element, grid };
}
