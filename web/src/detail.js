// The panel of one image: its picture, facts and labels, nearest neighbours, and what can be done with it.

import { ApiError, getJson, learnNames, postJson } from "./api.js";
import { bytes, h, iconButton, nameOf, number, visible } from "./dom.js";
import { mark } from "./examples.js";
import { createExpectation } from "./expectation.js";
import { createPicture } from "./picture.js";
import { item } from "./rows.js";
import { captionOf } from "./search.js";

const NEIGHBOURS = 12;
const CLOSE = "M4 4l8 8M12 4l-8 8";

export function createDetail(app) {
  const { store } = app;
  const picture = createPicture(app);
  const name = h("h2", { tabindex: -1 });
  const folder = h("p", { class: "muted folder" });
  const close = iconButton(CLOSE, "Close (Esc)", () => store.set({ image: null }));
  const facts = h("dl", { class: "facts" });
  const near = h("div", { class: "items neighbours", role: "group", "aria-label": "Nearest neighbours" });
  const hint = h("p", { class: "muted hint" });
  const expectation = createExpectation(app);
  const button = (text, title, work, kind = "") =>
    h("button", { type: "button", class: `small ${kind}`, title, onclick: () => work(store.values.image) }, text);
  const [yes, no] = ["yes", "no"].map((answer) =>
    button(answer === "yes" ? "Yes" : "No", `Label by example: ${answer} (${answer[0].toUpperCase()})`, (image) => mark(app, image, answer), answer),
  );
  const pick = button("Pick", "Pick it for an export (Space)", (image) => toggle(image));
  const own = h("span", { class: "buttons" }, pick, yes, no);
  const actions = h(
    "div",
    { class: "buttons" },
    button("Find similar", "Search with this image (S)", (image) => app.queries.similar(image), "primary"),
    button("More like this", "Results are also to be like this image", (image) => app.queries.more(image)),
    button("Less like this", "Results are not to be like this image", (image) => app.queries.less(image)),
    own,
  );
  const neighbours = h("section", {}, h("h3", {}, "Nearest neighbours ", h("span", { class: "muted" }, "percentile · cosine")), near);
  const element = h(
    "section",
    { class: "detail", "aria-label": "Image", hidden: true },
    h("header", {}, h("div", {}, name, folder), close),
    h("div", { class: "detail-body" }, picture.element, h("div", { class: "under" }, hint, picture.layers.element, picture.layers.told), expectation.ask, actions, expectation.element, facts, neighbours),
  );

  function toggle(image) {
    const picked = new Set(store.values.picked);
    if (!picked.delete(image)) picked.add(image);
    store.set({ picked });
  }

  async function show({ image }) {
    element.hidden = image === null;
    app.root.classList.toggle("with-detail", image !== null);
    if (image === null) return;
    const outside = typeof image === "string";
    picture.show(image);
    own.hidden = outside;
    hint.textContent = app.index.patches ? "Drag a box in the picture to search for what is in it." : "Drag a box in the picture to ask what the model expects there.";
    marks();
    if (outside) title("Your picture", "It is kept in memory while the server runs, and no longer.");
    await Promise.all([outside ? facts.replaceChildren() : tellFacts(image), tellNeighbours(image)]);
  }

  function title(text, below) {
    name.textContent = text;
    folder.textContent = below;
  }

  async function tellFacts(image) {
    try {
      const found = await getJson(`/api/images/${image}/facts`);
      if (store.values.image !== image) return;
      learnNames([found]);
      title(nameOf(found.path), visible(found.path));
      facts.replaceChildren(...factRows(found).flatMap(([term, text]) => [h("dt", {}, term), h("dd", {}, text)]));
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      title(`Image ${image}`, "");
      facts.replaceChildren(h("dd", { class: "error" }, error.message));
    }
  }

  async function tellNeighbours(image) {
    near.setAttribute("aria-busy", "true");
    try {
      const { results } = await postJson("/api/search", { image, like: [], unlike: [], box: null, where: null, top: NEIGHBOURS });
      if (store.values.image !== image) return;
      learnNames(results);
      near.replaceChildren(...results.map((result) => item(app, result, { note: captionOf(result) })));
      for (const each of near.children) each.tabIndex = 0;
      if (!results.length) near.replaceChildren(h("p", { class: "muted" }, "There is no other image."));
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (store.values.image === image) near.replaceChildren(h("p", { class: "error" }, error.message));
    }
    near.removeAttribute("aria-busy");
  }

  function marks() {
    const { image, picked, yes: positive, no: negative } = store.values;
    pick.setAttribute("aria-pressed", picked.has(image));
    yes.setAttribute("aria-pressed", positive.includes(image));
    no.setAttribute("aria-pressed", negative.includes(image));
  }

  store.on("image", show);
  store.on("picked yes no", marks);
  return { element, toggle, expect: expectation.expect, start: () => show(store.values) };
}

function factRows(found) {
  const labels = Object.entries(found.labels ?? {}).filter(([, value]) => value !== null);
  return [
    ...labels.map(([name, value]) => [visible(name), visible(value)]),
    ["Size", `${number(found.width)} × ${number(found.height)} px, ${bytes(found.bytes)}`],
    found.captured ? ["Captured", visible(String(found.captured).replace("T", " ").slice(0, 19))] : null,
    ["Brightness", number(found.brightness)],
    ["Contrast", number(found.contrast)],
    ["Sharpness", number(found.sharpness)],
  ].filter(Boolean);
}
