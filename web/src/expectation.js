// What the model expects in a hidden box of a picture, told by the real patches that are nearest to it.

import { ApiError, learnNames, pictureOf, postJson, thumbnailOf } from "./api.js";
import { h, nameOf, number, visible } from "./dom.js";
import { boxElement } from "./grid.js";

const TOP = 5;
const [FINE, ROWS] = [64, 24]; // hidden patches up to which originals are drawn; that are listed
const SIDE = 512; // pixels of the picture that is filled
const [PATCH, ORIGINAL] = [56, 512];

export function createExpectation(app) {
  const { store } = app;
  let asked = 0;
  const ask = h("button", { type: "button", class: "small", hidden: true, title: "Hide the box, and find the real patches that the model expects there (E)", onclick: () => expect() }, "What the model expects here");
  const message = h("p", { class: "muted", role: "status" });
  const body = h("div", {});
  const element = h("section", { class: "expectation", "aria-label": "What the model expects", hidden: true }, h("h3", {}, "What the model expects"), message, body);

  function offer() {
    const { drawn, image } = store.values;
    ask.hidden = drawn === null || drawn.image !== image;
  }

  function hide() {
    asked += 1;
    element.hidden = true;
    offer();
  }

  async function expect() {
    const { drawn, image } = store.values;
    if (drawn === null || drawn.image !== image) return app.say("Draw a box in the picture first.");
    const mine = ++asked;
    element.hidden = false;
    body.replaceChildren();
    message.classList.remove("error");
    message.textContent = "Hiding the box, and comparing what is expected there with real patches…";
    element.scrollIntoView({ block: "nearest" });
    try {
      const found = await postJson("/api/expectation", { image, box: drawn.box.map((side) => Number(side.toFixed(4))), top: TOP });
      if (mine === asked) show(image, found);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (mine !== asked) return;
      message.textContent = error.message;
      message.classList.add("error");
    }
  }

  function show(image, found) {
    for (const { nearest } of found.patches) learnNames(nearest);
    const seen = found.seen < 0.995 ? [`The model sees ${Math.round(100 * found.seen)} % of the box.`] : [];
    message.textContent = "";
    const lines = [...found.lines, ...seen].map((line) => h("p", { class: "muted" }, visible(line[0].toUpperCase() + line.slice(1))));
    const chosen = spread(found.patches, ROWS);
    const left = found.patches.length - chosen.length;
    const more = left ? h("p", { class: "muted" }, `${left} more hidden patches are not listed.`) : null;
    body.replaceChildren(h("div", { class: "filled" }, ...filled(image, found)), ...lines, energies(found.contents), rows(app, image, chosen), ...(more ? [more] : []));
    element.scrollIntoView({ block: "nearest" });
  }

  store.on("image", hide);
  store.on("drawn", () => (offer(), (element.hidden = element.hidden || store.values.drawn === null)));
  return { element, ask, expect };
}

function spread(list, most) {
  if (list.length <= most) return list;
  return Array.from({ length: most }, (_, place) => list[Math.round((place * (list.length - 1)) / (most - 1))]);
}

function loaded(source) {
  return new Promise((done, failed) => {
    const picture = new Image();
    picture.onload = () => done(picture);
    picture.onerror = failed;
    picture.src = source;
  });
}

/** The picture with its box hidden, filled by the nearest real patches, and as it is. */
function filled(image, found) {
  const kinds = [["hidden", "What the model sees"], ["nearest", "Nearest real patches"], ["true", "What is there"]];
  const original = loaded(pictureOf(image, ORIGINAL));
  return kinds.map(([kind, caption]) => {
    const canvas = h("canvas", { role: "img", "aria-label": caption });
    original.then((picture) => draw(canvas, picture, kind, found), () => canvas.replaceWith(h("span", { class: "muted" }, "no picture")));
    return h("figure", {}, canvas, h("figcaption", {}, caption));
  });
}

async function draw(canvas, picture, kind, found) {
  const scale = SIDE / Math.max(picture.naturalWidth, picture.naturalHeight);
  [canvas.width, canvas.height] = [Math.round(picture.naturalWidth * scale), Math.round(picture.naturalHeight * scale)];
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(picture, 0, 0, canvas.width, canvas.height);
  const area = pixels(found.box, canvas.width, canvas.height);
  if (kind === "hidden") {
    context.fillStyle = "#7d8794";
    context.fillRect(...area);
  }
  if (kind === "nearest") await Promise.all(found.patches.map((patch) => fill(context, patch, found.patches.length)));
  context.strokeStyle = "#ffffff";
  context.lineWidth = 3;
  context.strokeRect(...area);
}

async function fill(context, { box, nearest }, hidden) {
  const [first] = nearest;
  const to = pixels(box, context.canvas.width, context.canvas.height);
  context.fillStyle = "#7d8794";
  context.fillRect(...to);
  if (!first) return;
  const small = () => loaded(thumbnailOf(first.id));
  const source = await (hidden <= FINE ? loaded(pictureOf(first.id, ORIGINAL)).catch(small) : small()).catch(() => null);
  if (source) context.drawImage(source, ...pixels(first.box, source.naturalWidth, source.naturalHeight), ...to);
}

function pixels([x0, y0, x1, y1], width, height) {
  const [left, top] = [Math.round(x0 * width), Math.round(y0 * height)];
  return [left, top, Math.max(1, Math.round(x1 * width) - left), Math.max(1, Math.round(y1 * height) - top)];
}

function energies(contents) {
  const head = h("tr", {}, ["In the box", "Energy", "Of the draws", "Over the true one"].map((text) => h("th", { scope: "col" }, text)));
  const body = contents.map(({ name, energy, low, high, ratio }) =>
    h("tr", {}, h("th", { scope: "row" }, visible(name)), h("td", {}, energy.toFixed(3)), h("td", {}, `${low.toFixed(3)} to ${high.toFixed(3)}`), h("td", {}, ratio === null ? "" : ratio.toFixed(2))),
  );
  return h("table", { class: "energies" }, h("thead", {}, head), h("tbody", {}, body));
}

function rows(app, image, patches) {
  return h("ol", { class: "expected", "aria-label": "Hidden patches" }, patches.map((patch, place) => row(app, image, patch, place)));
}

function row(app, image, { box, energy, closer_than: closer, nearest }, place) {
  const canvas = h("canvas", { width: PATCH, height: PATCH, class: "patch", role: "img", "aria-label": `Hidden patch ${place + 1}` });
  loaded(pictureOf(image, ORIGINAL)).then((picture) => canvas.getContext("2d").drawImage(picture, ...pixels(box, picture.naturalWidth, picture.naturalHeight), 0, 0, PATCH, PATCH), () => null);
  const truth = h("span", { class: "truth" }, canvas, h("span", { class: "note" }, `energy ${number(energy)}`));
  const near = nearest.map((one) => {
    const picture = h("span", { class: "picture" }, h("img", { src: thumbnailOf(one.id), alt: "", loading: "lazy" }));
    picture.append(boxElement(one.box, picture.firstChild));
    return h("button", { type: "button", class: "item", title: visible(one.path), "data-id": one.id, onclick: () => app.store.set({ image: one.id }) }, picture, h("span", { class: "name" }, nameOf(one.path)), h("span", { class: "note" }, number(one.energy)));
  });
  const better = `nearer than ${(Math.floor(1000 * closer) / 10).toFixed(1)} %`;
  return h("li", {}, truth, h("div", { class: "items" }, near), h("span", { class: "muted closer" }, better));
}
