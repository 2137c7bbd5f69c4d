// Label by example: a few images are marked yes or no, and all are ranked by how well they fit.

import { ApiError, namesOf, postForBytes, thumbnailOf } from "./api.js";
import { scoreColumn } from "./columns.js";
import { count, counted, debounced, h } from "./dom.js";
import { save } from "./export.js";
import { createGrid } from "./grid.js";
import { titleOf } from "./search.js";
import { sorted } from "./selection.js";

const HOW = "Mark a few images that have the label, and some that have not: open an image, or go to it in a grid, and press Y or N. All others are then ranked.";

/** Marks an image "yes" or "no"; a second time takes the mark away. */
export function mark(app, image, answer) {
  if (typeof image !== "number") return app.say("Only images of the index can be examples.");
  const { yes, no } = app.store.values;
  const lists = { yes: yes.filter((id) => id !== image), no: no.filter((id) => id !== image) };
  const there = app.store.values[answer].includes(image);
  if (!there) lists[answer] = [...lists[answer], image];
  app.store.set(lists);
  app.say(there ? `${titleOf(image)}: mark taken away` : `${titleOf(image)}: ${answer}`);
}

export function createExamplesTab(app) {
  const { store } = app;
  let column = null;
  const scoreOf = (id) => (column ? column.values[id] : NaN);
  const grid = createGrid(app, { label: "Images by score", captionOf: (id) => `score ${scoreOf(id).toFixed(3)}` });
  const [yes, no] = [examples(app, "yes", "Yes"), examples(app, "no", "No")];
  const message = h("p", { class: "empty", role: "status" }, HOW);
  const name = h("input", { id: "label-name", type: "text", value: "label", maxlength: 60, autocomplete: "off", spellcheck: "false" });
  const least = h("input", { id: "least", type: "number", min: 0, max: 1, step: 0.05, value: 0.5, oninput: () => tell() });
  const enough = h("p", { class: "size" });
  const chosen = () => grid.ids().filter((id) => scoreOf(id) >= Number(least.value));
  const table = h("button", { type: "button", class: "small", onclick: () => save(app, chosen(), "csv", name.value.trim() || "label") }, "Export CSV");
  const colour = h("button", { type: "button", class: "small", onclick: () => store.set({ color: "score", column }) }, "Colour the map");
  const form = h(
    "div",
    { class: "bar" },
    h("label", { for: "label-name" }, "Label ", name),
    h("label", { for: "least" }, "Score at least ", least),
    enough,
    table,
    colour,
  );

  const rank = debounced(async () => {
    const given = { yes: store.values.yes, no: store.values.no };
    try {
      const values = new Float32Array(await postForBytes("/api/examples", given));
      if (store.values.yes === given.yes && store.values.no === given.no) show(scoreColumn("score", values));
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      show(null, error.message);
    }
  }, 200);

  function show(next, failure = "") {
    column = next;
    message.textContent = failure || HOW;
    message.classList.toggle("error", failure !== "");
    form.hidden = grid.element.hidden = next === null;
    message.hidden = next !== null;
    store.set({ scores: next, ...(store.values.color === "score" && { column: next }) });
    fill();
  }

  function fill(keep = false) {
    if (!column || !store.values.shown) return;
    grid.show(Array.from(sorted(store.values.shown, column, true)), keep);
    tell();
  }

  function tell() {
    enough.textContent = column ? `${count(chosen().length)} of ${counted(grid.ids().length, "image")}` : "";
  }

  function marked() {
    yes.show(store.values.yes);
    no.show(store.values.no);
    if (store.values.yes.length) rank();
    else show(null);
  }

  store.on("yes no", marked);
  store.on("shown", () => fill());
  const element = h("div", { class: "tab-body" }, h("div", { class: "examples" }, yes.element, no.element), form, message, grid.element);
  return { element, grid, start: marked };
}

/** The images that are marked with one answer; a click takes the mark away. */
function examples(app, answer, title) {
  const strip = h("div", { class: "strip" });
  const size = h("span", { class: "muted" });
  async function show(ids) {
    size.textContent = ids.length ? count(ids.length) : "none yet";
    await namesOf(ids).catch(() => null);
    strip.replaceChildren(
      ...ids.map((id) => {
        const label = `${titleOf(id)}: take the mark away`;
        return h("button", { type: "button", class: "mark", title: label, "aria-label": label, onclick: () => mark(app, id, answer) }, h("img", { src: thumbnailOf(id), alt: "" }));
      }),
    );
  }
  return { element: h("section", { class: `answers ${answer}` }, h("h2", {}, title, " ", size), strip), show };
}
