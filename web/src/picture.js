// The picture of the detail panel. The patch under the pointer is compared with all others; a box drawn is searched for.

import { ApiError, getJson, pictureOf } from "./api.js";
import { scaleColour } from "./colours.js";
import { h, perFrame } from "./dom.js";

const LABEL =
  "Picture. Arrow keys move over its patches, Shift and arrow keys draw a box, Enter searches with the box.";
const LEAST = 0.02; // of a side, below which a drag is no box
const STEP = 0.04;
const OPACITY = 0.72;

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
    const compared = heat && point && app.store.values.similarity;
    frame.classList.toggle("compared", Boolean(compared));
    if (compared) drawHeat();
    if (box) drawBox(ratio);
  });

  function drawHeat() {
    const { rows, columns, values, frame: part = [0, 0, 1, 1] } = heat;
    const [low, high] = [Math.min(...values), Math.max(...values)];
    const at = (x, y) => [(part[0] + (part[2] - part[0]) * x) * canvas.width, (part[1] + (part[3] - part[1]) * y) * canvas.height];
    context.globalAlpha = OPACITY;
    values.forEach((value, place) => {
      const [row, column] = [Math.floor(place / columns), place % columns];
      const [left, top] = at(column / columns, row / rows).map(Math.round);
      const [right, bottom] = at((column + 1) / columns, (row + 1) / rows).map(Math.round);
      context.fillStyle = scaleColour(high > low ? (value - low) / (high - low) : 1, "dark");
      context.fillRect(left, top, right - left, bottom - top);
    });
    context.globalAlpha = 1;
  }

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
    if (!point || broken || !app.index.patches || !app.store.values.similarity || asking) return;
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
      return draw();
    }
    if (!app.index.patches) {
      box = null;
      draw();
      return app.say("This index has no patches, so boxes cannot be searched for: give openjepa index again with --patches.");
    }
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
  app.store.on("similarity", draw);
  app.store.on("query", ({ query }) => {
    box = shown !== null && query?.image === shown ? query.box : null;
    draw();
  });

  function show(next) {
    if (next === shown) return;
    [shown, grid, point, box, heat, from, broken] = [next, null, null, null, null, null, false];
    maps.clear();
    const { query } = app.store.values;
    if (query?.image === next) box = query.box;
    [frame.hidden, failure.hidden] = [false, true];
    image.src = pictureOf(next, 1024);
    draw();
  }
  return { element, show };
}
