// The picture of the detail panel, and a layer over it: the patch under the pointer compared with all others, the energy
// of each patch, or where it is odd. A box that is drawn is searched for, and can be asked about.

import { ApiError, getJson, pictureOf } from "./api.js";
import { createLayers, paint } from "./layers.js";
import { h, perFrame } from "./dom.js";

const LABEL =
  "Picture. Arrow keys move over its patches, Shift and arrow keys draw a box, Enter searches with the box.";
const LEAST = 0.02; // of a side, below which a drag is no box
const STEP = 0.04;

export function createPicture(app) {
  const image = h("img", { alt: "", draggable: "false" });
  const canvas = h("canvas", {});
  const failure = h("p", { class: "empty error", hidden: true });
  const frame = h("div", { class: "picture-frame", tabindex: 0, role: "application", "aria-label": LABEL }, image, canvas);
  const element = h("div", { class: "picture-stage" }, frame, failure);
  const context = canvas.getContext("2d");
  const maps = new Map(); // patch -> answer of the server, of the image that is shown
  let [shown, grid, point, box, heat, asking, from, broken] = [null, null, null, null, null, null, null, false];

  const draw = perFrame(() => {
    const ratio = Math.min(2, devicePixelRatio || 1);
    canvas.width = Math.max(1, Math.round(frame.clientWidth * ratio));
    canvas.height = Math.max(1, Math.round(frame.clientHeight * ratio));
    const layer = app.store.values.layer === "similarity" ? point && heat : layers.found();
    frame.classList.toggle("compared", Boolean(layer));
    if (layer) paint(context, layer, app.store.values.layer);
    if (box) drawBox(ratio);
  });
  const layers = createLayers(app, draw);

  function drawBox(ratio) {
    const [x, y] = [box[0] * canvas.width, box[1] * canvas.height];
    const [wide, high] = [(box[2] - box[0]) * canvas.width, (box[3] - box[1]) * canvas.height];
    for (const [colour, width] of [["#ffffff", 4], [app.accent(), 2]]) {
      context.strokeStyle = colour;
      context.lineWidth = width * ratio;
      context.strokeRect(x, y, wide, high);
    }
  }

  /** The patch under a point, once the grid is known; before, the point itself. */
  function keyOf([x, y]) {
    if (!grid) return "first";
    const { rows, columns, frame: part = [0, 0, 1, 1] } = grid;
    const column = Math.floor(((x - part[0]) / (part[2] - part[0])) * columns);
    const row = Math.floor(((y - part[1]) / (part[3] - part[1])) * rows);
    const inside = (value, most) => Math.max(0, Math.min(most - 1, value));
    return `${inside(row, rows)},${inside(column, columns)}`;
  }

  async function compare() {
    if (!point || broken || !app.index.patches || app.store.values.layer !== "similarity" || asking) return;
    const [key, of] = [keyOf(point), shown];
    if (maps.has(key)) {
      heat = maps.get(key);
      return draw();
    }
    const [x, y] = point;
    const base = typeof of === "string" ? `/api/uploads/${of}` : `/api/images/${of}`;
    asking = key;
    try {
      const found = await getJson(`${base}/similarity?x=${x.toFixed(4)}&y=${y.toFixed(4)}`);
      if (of === shown) {
        grid = found;
        maps.set(keyOf([x, y]), found);
      }
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      broken = true;
      if (typeof of !== "string") app.fail(error);
    } finally {
      asking = null;
    }
    compare();
  }

  const placeOf = (event) => {
    const area = frame.getBoundingClientRect();
    const inside = (value) => Math.max(0, Math.min(1, value));
    return [inside((event.clientX - area.left) / area.width), inside((event.clientY - area.top) / area.height)];
  };

  function stretch(one, other) {
    box = [Math.min(one[0], other[0]), Math.min(one[1], other[1]), Math.max(one[0], other[0]), Math.max(one[1], other[1])];
  }

  function search() {
    if (!box || box[2] - box[0] < LEAST || box[3] - box[1] < LEAST) {
      box = null;
      app.store.set({ drawn: null });
      return draw();
    }
    app.store.set({ drawn: { image: shown, box } });
    if (!app.index.patches) return app.say("This index has no patches, so boxes cannot be searched for: give openjepa index again with --patches.");
    app.queries.similar(shown, box.map((side) => Number(side.toFixed(4))));
  }

  frame.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    frame.setPointerCapture(event.pointerId);
    from = placeOf(event);
    box = null;
  });
  frame.addEventListener("pointermove", (event) => {
    point = placeOf(event);
    if (from) stretch(from, point);
    else compare();
    draw();
  });
  frame.addEventListener("pointerup", () => {
    if (!from) return;
    from = null;
    search();
  });
  frame.addEventListener("pointerleave", () => {
    if (!from) point = null;
    draw();
  });

  function key(event) {
    const step = { ArrowLeft: [-STEP, 0], ArrowRight: [STEP, 0], ArrowUp: [0, -STEP], ArrowDown: [0, STEP] }[event.key];
    if (step) {
      const start = point ?? [0.5, 0.5];
      if (event.shiftKey && !from) from = start;
      point = start.map((value, axis) => Math.max(0, Math.min(1, value + step[axis])));
      if (event.shiftKey) stretch(from, point);
      else [from, box] = [null, null];
      compare();
      draw();
    } else if (event.key === "Enter" && box) {
      from = null;
      search();
    } else if (event.key === "Escape" && (box || point)) [from, box, point] = [null, null, null];
    else return;
    draw();
    event.preventDefault();
    event.stopPropagation();
  }
  frame.addEventListener("keydown", key);
  frame.addEventListener("blur", () => ([from, point] = [null, null]));

  image.addEventListener("load", () => {
    frame.classList.toggle("enlarged", image.naturalWidth < 260);
    draw();
  });
  image.addEventListener("error", async () => {
    frame.hidden = true;
    failure.hidden = false;
    failure.textContent = "The picture cannot be read.";
    const sentence = await getJson(pictureOf(shown, 1024)).then(() => null, (error) => error);
    if (sentence instanceof ApiError) failure.textContent = sentence.message;
  });
  new ResizeObserver(draw).observe(frame);
  app.store.on("layer", draw);
  app.store.on("query", ({ query, drawn }) => {
    box = boxOf(query, shown) ?? boxOf(drawn, shown);
    draw();
  });

  function show(next) {
    if (next === shown) return;
    [shown, grid, point, box, heat, from, broken] = [next, null, null, null, null, null, false];
    maps.clear();
    box = boxOf(app.store.values.query, next);
    app.store.set({ drawn: box ? { image: next, box } : null });
    layers.show(next);
    [frame.hidden, failure.hidden] = [false, true];
    image.src = pictureOf(next, 1024);
    draw();
  }
  return { element, show, layers };
}

/** The box of a query or drawing, if it is of an image. */
function boxOf(found, image) {
  return image !== null && found?.image === image ? (found.box ?? null) : null;
}
