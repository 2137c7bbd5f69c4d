// Search: by an image, a box of it, several that results are to be like or unlike, within the filter.

import { ApiError, knownName, learnNames, namesOf, postJson, thumbnailOf, upload } from "./api.js";
import { counted, h, nameOf, visible } from "./dom.js";
import { exportButtons } from "./export.js";
import { createGrid } from "./grid.js";

const TOPS = [50, 200, 500];
const NOTHING = "Nothing is searched for. Open an image and press “Find similar”, draw a box in its picture, or drop, paste or choose a picture from outside.";

/** Percentile and cosine of a result; one of a box has no percentile. */
export function captionOf({ percentile, cosine }) {
  const parts = [cosine.toFixed(3)];
  if (percentile !== null && percentile !== undefined) parts.unshift(percentText(percentile));
  return parts.join(" · ");
}

/** A percentile without claiming more than all pairs: 99.97 stays below 100. */
export function percentText(percentile) {
  const digits = percentile > 99 && percentile < 100 ? 2 : 1;
  const text = Math.min(percentile, percentile < 100 ? 99.99 : 100).toFixed(digits);
  return `${Number(text)} %`;
}

/** The name of an image of the index, or what an uploaded one is called. */
export function titleOf(image) {
  if (typeof image === "string") return "your picture";
  const path = knownName(image);
  return path === undefined ? `image ${image}` : nameOf(path);
}

/** Changes of what is searched for, from anywhere in the page. */
export function createQueries(app) {
  const { store } = app;
  const search = (query) => store.set({ query, tab: "search" });
  const without = (list, image) => list.filter((each) => each !== image);

  function similar(image, box = null) {
    search({ image, like: [], unlike: [], box });
  }

  function more(image) {
    const query = store.values.query ?? { image: null, like: [], unlike: [] };
    if (query.image === image) return search({ ...query, box: null });
    search({ ...query, box: null, like: [...without(query.like, image), image], unlike: without(query.unlike, image) });
  }

  function less(image) {
    const { query } = store.values;
    if (!query) return app.say("Choose first what results are to be like: find similar images, then take away what you do not want.");
    const image0 = query.image === image ? null : query.image;
    if (image0 === null && !without(query.like, image).length) return app.say("This is the only image that results are to be like.");
    search({ image: image0, box: null, like: without(query.like, image), unlike: [...without(query.unlike, image), image] });
  }

  function remove(image) {
    const { query } = store.values;
    const left = { ...query, like: without(query.like, image), unlike: without(query.unlike, image) };
    if (left.image === image) Object.assign(left, { image: null, box: null });
    search(left.image === null && !left.like.length ? null : left);
  }

  async function withFile(file) {
    if (!file) return;
    app.say(`Searching with ${visible(file.name || "the picture")}`);
    try {
      const { upload: name } = await upload(file);
      store.set({ image: name });
      similar(name);
    } catch (error) {
      app.fail(error);
    }
  }
  return { similar, more, less, remove, withFile };
}

export function createSearchTab(app) {
  const { store } = app;
  let [running, top, found] = [null, TOPS[0], new Map()];
  const grid = createGrid(app, {
    label: "Results",
    captionOf: (id) => captionOf(found.get(id) ?? { cosine: 0 }),
    boxOf: (id) => found.get(id)?.box ?? null,
  });
  const asked = h("div", { class: "chips" });
  const message = h("p", { class: "empty" }, NOTHING);
  const size = h("p", { class: "size" });
  const most = h(
    "select",
    { id: "top", onchange: () => { top = Number(most.value); run(); } },
    TOPS.map((each) => h("option", { value: each }, each)),
  );
  const files = exportButtons(app, () => (store.values.picked.size ? [...store.values.picked] : [...found.keys()]));
  files.name("the results, or of what is picked");
  const numbers = h("p", { class: "muted" });
  const bar = h("div", { class: "bar" }, h("div", { class: "told" }, size, numbers), h("label", { for: "top" }, "At most ", most), files.element);

  async function run() {
    const { query, where } = store.values;
    running?.abort();
    tellQuery(query);
    if (!query) return show([], NOTHING);
    running = new AbortController();
    message.textContent = "Searching…";
    message.hidden = found.size > 0;
    try {
      const { results } = await postJson("/api/search", { ...query, where: where || null, top }, running.signal);
      show(results, where ? "No other image fulfils the filter." : "There is no other image to find.");
    } catch (error) {
      if (error instanceof ApiError) show([], error.message, true);
      else if (error.name !== "AbortError") throw error;
    }
  }

  function show(results, nothing, failed = false) {
    learnNames(results);
    found = new Map(results.map((each) => [each.id, each]));
    message.textContent = nothing;
    message.classList.toggle("error", failed);
    message.hidden = results.length > 0;
    bar.hidden = grid.element.hidden = !results.length;
    size.textContent = counted(results.length, "result") + (store.values.where ? " within the filter" : "");
    const ranked = results.length && results[0].percentile !== null && results[0].percentile !== undefined;
    numbers.textContent = ranked ? "percentile · cosine" : "cosine";
    numbers.title = ranked ? "How many of all pairs of images are less similar, and the cosine of the two embeddings" : "Mean cosine of the patches of the box to the best of each result";
    store.set({ results });
    grid.show([...found.keys()]);
  }

  async function tellQuery(query) {
    const { image = null, like = [], unlike = [], box = null } = query ?? {};
    const all = [...(image === null ? [] : [image]), ...like, ...unlike];
    await namesOf(all.filter((each) => typeof each === "number")).catch(() => null);
    if (store.values.query !== query) return;
    const word = box ? "a box of" : "like";
    const chips = [...(image === null ? [] : [chip(app, image, word)]), ...like.map((each) => chip(app, each, "like")), ...unlike.map((each) => chip(app, each, "unlike"))];
    asked.replaceChildren(...chips);
    asked.hidden = !chips.length;
  }

  store.on("query where", run);
  run();
  return { element: h("div", { class: "tab-body" }, asked, bar, message, grid.element), grid };
}

function chip(app, image, word) {
  const open = h(
    "button",
    { type: "button", class: "chip-open", title: "Open it", onclick: () => app.store.set({ image }) },
    h("img", { src: thumbnailOf(image), alt: "" }),
    h("span", {}, h("span", { class: "muted" }, `${word} `), titleOf(image)),
  );
  const label = `Leave out ${titleOf(image)}`;
  const away = h("button", { type: "button", class: "chip-away", "aria-label": label, title: label, onclick: () => app.queries.remove(image) }, "×");
  return h("span", { class: `chip ${word === "unlike" ? "unlike" : ""}` }, open, away);
}
