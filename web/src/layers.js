// What is laid over the picture of the detail panel: a value for each patch, in colours.

import { ApiError, getJson } from "./api.js";
import { scaleColour } from "./colours.js";
import { h, number } from "./dom.js";

const OPACITY = 0.72;
const [FROM, TO] = [1, 8]; // standard deviations above normal patches, where the colour of odd places begins and ends
const ROUTES = { energy: "energy", odd: "odd" };

/** Values { rows, columns, values, frame } over a picture that fills a canvas. */
export function paint(context, { rows, columns, values, frame: part = [0, 0, 1, 1] }, layer) {
  const { width, height } = context.canvas;
  const [low, high] = layer === "odd" ? [FROM, TO] : [Math.min(...values), Math.max(...values)];
  const at = (x, y) => [(part[0] + (part[2] - part[0]) * x) * width, (part[1] + (part[3] - part[1]) * y) * height];
  values.forEach((value, place) => {
    const [row, column] = [Math.floor(place / columns), place % columns];
    const [left, top] = at(column / columns, row / rows).map(Math.round);
    const [right, bottom] = at((column + 1) / columns, (row + 1) / rows).map(Math.round);
    const fraction = high > low ? Math.max(0, Math.min(1, (value - low) / (high - low))) : 1;
    context.globalAlpha = layer === "odd" ? OPACITY * Math.sqrt(fraction) : OPACITY;
    context.fillStyle = scaleColour(layer === "odd" ? 0.25 + 0.75 * fraction : fraction, "dark");
    context.fillRect(left, top, right - left, bottom - top);
  });
  context.globalAlpha = 1;
}

/** The choice of a layer, and what was asked of the server for it. */
export function createLayers(app, changed) {
  const { store } = app;
  const choice = h("select", { id: "layer", onchange: () => store.set({ layer: choice.value }) });
  const told = h("p", { class: "muted layer-told", role: "status", hidden: true });
  const element = h("div", { class: "layers" }, h("label", { for: "layer", class: "muted" }, "Over it "), choice);
  let [image, known] = [null, new Map()];

  function offer() {
    const kinds = [["none", "nothing"], ["similarity", "similarity to the patch under the pointer"], ["energy", "energy"], ["odd", "odd places"]];
    const there = { similarity: app.index.patches, odd: store.values.odd !== null };
    choice.replaceChildren(...kinds.filter(([name]) => there[name] !== false).map(([name, title]) => h("option", { value: name }, title)));
    const { layer } = store.values;
    if (there[layer] === false) store.set({ layer: app.index.patches ? "similarity" : "none" });
    choice.value = store.values.layer;
  }

  async function ask() {
    const { layer } = store.values;
    choice.value = layer;
    told.hidden = true;
    if (image === null || !(layer in ROUTES)) return;
    if (!known.has(layer)) await fetched(layer, image);
    tell();
    changed();
  }

  async function fetched(layer, of) {
    const base = typeof of === "string" ? `/api/uploads/${of}` : `/api/images/${of}`;
    try {
      const found = await getJson(`${base}/${ROUTES[layer]}`);
      if (of === image) known.set(layer, { found });
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (of === image) known.set(layer, { sentence: error.message });
    }
  }

  function tell() {
    const { found, sentence } = known.get(store.values.layer) ?? {};
    told.hidden = !found && !sentence;
    told.classList.toggle("error", Boolean(sentence));
    if (sentence) told.textContent = sentence;
    else if (found && store.values.layer === "odd") told.textContent = `Score ${number(found.score)}; colour from ${FROM} standard deviation above normal patches, strongest from ${TO}.`;
    else if (found) told.textContent = `Energy ${Math.min(...found.values).toFixed(3)} (dark) to ${Math.max(...found.values).toFixed(3)} (bright).`;
  }

  store.on("layer", ask);
  store.on("odd", () => {
    known.delete("odd");
    offer();
    ask();
  });
  offer();
  function show(next) {
    [image, known] = [next, new Map()];
    ask();
  }
  return { element, told, show, found: () => known.get(store.values.layer)?.found ?? null };
}
