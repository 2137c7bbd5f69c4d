// Odd images beside some that are normal: a detector is fitted in the server, and all images are ranked by it.

import { ApiError, getBytes, getJson, learnNames, postJson, remove } from "./api.js";
import { scoreColumn } from "./columns.js";
import { count, counted, h, number } from "./dom.js";
import { createGrid } from "./grid.js";
import { titleOf } from "./search.js";
import { sorted } from "./selection.js";

const HOW =
  "Select images that are normal: with a lasso on the map, a name of the legend, a filter, or by picking them. A detector is fitted on them, and all other images are ranked by how far their oddest patches are from the normal ones.";
const EVERY = 400; // milliseconds between two looks at how far the detector has come
const TABLE = "/api/detector/table";

export function createAnomaliesTab(app) {
  const { store } = app;
  let [column, watched, told] = [null, false, null];
  const scoreOf = (id) => (column ? column.values[id] : NaN);
  const grid = createGrid(app, { label: "Images by oddness", captionOf: (id) => `score ${number(scoreOf(id))}` });
  const fit = h("button", { type: "button", class: "small primary", onclick: begin }, "These are normal");
  const aligned = h("input", { type: "checkbox", id: "aligned" });
  const same = h("label", { for: "aligned", class: "check", title: "For images of one kind of part, taken in one way: a patch is also compared with those at its place" }, aligned, " Same part at the same place");
  const stop = h("button", { type: "button", class: "small", onclick: forget }, "Stop");
  const bar = h("progress", { max: 1, value: 0, "aria-label": "Images that were read" });
  const state = h("p", { class: "size", role: "status" });
  const running = h("div", { class: "bar" }, state, bar, stop);
  const size = h("p", { class: "size" });
  const colour = h("button", { type: "button", class: "small", onclick: () => store.set({ color: "odd", column }) }, "Colour the map");
  const table = h("a", { class: "button small", href: TABLE, download: "odd.csv" }, "Export CSV");
  const away = h("button", { type: "button", class: "small", onclick: forget }, "Forget");
  const results = h("div", { class: "bar" }, size, colour, table, away);
  const lines = h("div", { class: "lines muted" });
  const message = h("p", { class: "empty", role: "status" }, HOW);
  const element = h("div", { class: "tab-body" }, h("div", { class: "bar" }, fit, same), running, results, lines, message, grid.element);

  /** The images that are meant to be normal: those picked, or else those selected or filtered. */
  function normals() {
    const { picked, shown, shownMask } = store.values;
    if (picked.size) return [...picked];
    return shownMask && shown ? [...shown] : [];
  }

  function offer() {
    const [ids, { picked }] = [normals(), store.values];
    fit.disabled = ids.length < 2 || Boolean(told && ["fitting", "scoring"].includes(told.state));
    fit.textContent = ids.length ? `${counted(ids.length, picked.size ? "picked image" : "selected image")}: these are normal` : "These are normal";
    fit.title = ids.length ? "Fit a detector on them" : "Select or pick images first";
  }

  async function begin() {
    try {
      tell(await postJson("/api/detector", { normals: normals(), aligned: aligned.checked }));
      watch();
    } catch (error) {
      fail(error);
    }
  }

  async function forget() {
    try {
      tell(await remove("/api/detector"));
    } catch (error) {
      app.fail(error);
    }
  }

  async function watch() {
    if (watched) return;
    watched = true;
    while (told && ["fitting", "scoring"].includes(told.state)) {
      await new Promise((done) => setTimeout(done, EVERY));
      try {
        tell(await getJson("/api/detector"));
      } catch (error) {
        watched = false;
        return fail(error);
      }
    }
    watched = false;
  }

  function fail(error) {
    if (!(error instanceof ApiError)) throw error;
    [message.textContent, message.hidden] = [error.message, false];
    message.classList.add("error");
  }

  function tell(found) {
    told = found;
    const busy = ["fitting", "scoring"].includes(found.state);
    running.hidden = !busy;
    state.textContent = found.state === "fitting" ? `Learning from ${counted(found.normals, "normal image")}…` : `Scoring ${counted(found.total, "image")}…`;
    bar.value = found.total ? found.done / found.total : 0;
    message.textContent = found.error ?? HOW;
    message.classList.toggle("error", Boolean(found.error));
    message.hidden = busy || found.state === "done";
    offer();
    if (found.state === "done") show(found);
    else clear();
  }

  function clear() {
    column = null;
    results.hidden = lines.hidden = grid.element.hidden = true;
    store.set({ odd: null, ...(store.values.color === "odd" && { column: null }) });
  }

  async function show(found) {
    try {
      const values = new Float32Array(await getBytes("/api/detector/scores"));
      if (told !== found) return;
      column = scoreColumn("odd", values);
    } catch (error) {
      return fail(error);
    }
    learnNames(found.suspects);
    size.textContent = counted(found.scored, "scored image");
    lines.replaceChildren(...linesOf(app, found));
    results.hidden = lines.hidden = false;
    store.set({ odd: column, ...(store.values.color === "odd" && { column }) });
    fill();
  }

  function fill() {
    const there = column && store.values.shown;
    grid.element.hidden = !there;
    if (there) grid.show(Array.from(sorted(store.values.shown, column, true)).filter((id) => !Number.isNaN(scoreOf(id))));
  }

  store.on("picked shown", offer);
  store.on("shown", fill);
  async function start() {
    clear();
    running.hidden = true;
    offer();
    try {
      tell(await getJson("/api/detector"));
      watch();
    } catch (error) {
      fail(error);
    }
  }
  return { element, grid, start };
}

function linesOf(app, found) {
  const drawn = found.given > found.normals ? `, drawn from ${count(found.given)}` : "";
  const late = found.late ? " Its time was over before all were scored; those that were are drawn at random." : "";
  const how = h("p", {}, `By ${found.reads} of ${counted(found.normals, "normal image")}${drawn}, in standard deviations above them.${late}`);
  if (!found.suspects.length) return [how];
  const named = found.suspects.map(({ id, above }) =>
    h("button", { type: "button", class: "link", onclick: () => app.store.set({ image: id }) }, `${titleOf(id)} (${above.toFixed(1)})`),
  );
  const separated = named.flatMap((button, place) => (place ? [", ", button] : [button]));
  return [how, h("p", {}, "Far from all other normal images, so look whether they are normal: ", ...separated)];
}
