// The map: points, what lies over them, and how one moves about and selects.

import { colourOf, paletteOf } from "../colours.js";
import { debounced, h, perFrame } from "../dom.js";
import { createFlatRenderer } from "./flat.js";
import { createGestures } from "./gestures.js";
import { createHover } from "./hover.js";
import { createLegend } from "./legend.js";
import { createOverlay } from "./overlay.js";
import { createRenderer, pointSize } from "./renderer.js";
import { createThumbnails } from "./thumbnails.js";
import { createTools } from "./tools.js";
import { createView, moved, scaleOf, toMap, toScreen, zoomed } from "./view.js";

const HELP = "Map of the images. Arrow keys move it, plus and minus zoom, 0 shows all, Enter selects what is in view.";
const [WIDE, LEGEND, TOOLS] = [560, 206, 44]; // from so many pixels on, some are left to the legend and the tools
const STILL = 180; // milliseconds without a move, after which all points are drawn; more where that takes long
const REACH = 8; // pixels from a point within which it is meant

export function createMap(app) {
  const { store } = app;
  const view = createView();
  const points = h("canvas", { class: "points" });
  const over = h("canvas", { class: "over" });
  const stage = h("div", { class: "stage", tabindex: 0, role: "application", "aria-label": HELP }, points, over);
  const renderer = createRenderer(points) ?? createFlatRenderer(points);
  let [ratio, thumbs, dots, quick] = [1, [], true, false];

  const legend = createLegend(app);
  const thumbnails = createThumbnails(() => redraw());
  const overlay = createOverlay(app, over, view, thumbnails);
  const accepted = (id) => store.values.shownMask === null || store.values.shownMask[id] === 1;

  const draw = perFrame(() => {
    if (!app.points) return;
    if (dots) {
      renderer.draw(view, ratio, app.grey(), quick);
      [dots, quick] = [false, false];
      if (renderer.partly()) rest(renderer.partly());
      document.documentElement.dataset.painted = "yes";
    }
    thumbs = store.values.thumbnails && app.places ? thumbnails.placed(view, app.places, accepted) : [];
    overlay.draw(ratio, thumbs, gestures.lasso());
  });
  let resting = 0;
  function rest(cost) {
    clearTimeout(resting);
    resting = setTimeout(() => redraw(true), Math.max(STILL, cost / 2));
  }
  const redraw = (changed = false) => {
    dots ||= changed;
    draw();
  };

  const remembered = debounced(() => store.set({ x: view.x, y: view.y, zoom: view.zoom }), 120);
  function look(next) {
    Object.assign(view, next);
    quick = true;
    hover.hide();
    redraw(true);
    remembered();
  }

  function resize() {
    ratio = Math.min(2, devicePixelRatio || 1);
    const [width, height] = [stage.clientWidth || 1, stage.clientHeight || 1];
    const before = width > WIDE ? LEGEND : 0;
    if (before !== view.before) legend.unfold(before > 0);
    Object.assign(view, { width, height, before, behind: TOOLS });
    for (const canvas of [points, over]) {
      canvas.width = Math.round(view.width * ratio);
      canvas.height = Math.round(view.height * ratio);
    }
    redraw(true);
  }

  /** The image at a place of the window: by its thumbnail, or the nearest point. */
  function imageAt(left, top) {
    const inside = ({ left: x, top: y, side }) => left >= x && left <= x + side && top >= y && top <= y + side;
    const thumb = thumbs.findLast(inside);
    if (thumb) return thumb.id;
    if (!app.places) return null;
    const reach = (REACH + pointSize(app.places.images, view.zoom) / 2) / scaleOf(view);
    return app.places.nearest(...toMap(view, left, top), reach, accepted);
  }

  const hover = createHover(app, stage, (id) => {
    overlay.point(id);
    redraw();
  });
  const gestures = createGestures(app, stage, { view, look, imageAt, hover, redraw });

  function colour() {
    const { column, theme, highlight } = store.values;
    renderer.set({ codes: column?.codes ?? null, palette: paletteOf(column, theme) });
    overlay.colours((id) => colourOf(column, column ? column.codes[id] : 0, theme));
    flags(column, highlight);
  }

  function flags(column, highlight) {
    const { shownMask } = store.values;
    const lit = highlight !== null && column ? column.codes.map((code) => (code === highlight ? 1 : 0)) : null;
    const both = lit && shownMask ? lit.map((one, id) => one & shownMask[id]) : (lit ?? shownMask);
    renderer.set({ flags: both });
    redraw(true);
  }

  function place(values) {
    if (values.x === view.x && values.y === view.y && values.zoom === view.zoom) return;
    Object.assign(view, { x: values.x, y: values.y, zoom: values.zoom });
    redraw(true);
  }

  /** Moves the map so that an image which is open is in sight. */
  function reveal(id) {
    if (typeof id !== "number" || !app.points) return;
    const [x, y] = [app.points[2 * id], app.points[2 * id + 1]];
    const [left, top] = toScreen(view, x, y);
    if (left < 20 || top < 20 || left > view.width - 20 || top > view.height - 20) look({ x, y, zoom: view.zoom });
  }

  const zoom = (factor) => look(zoomed(view, factor));
  const tools = createTools(app, legend, { zoom, fit: () => look({ x: 0, y: 0, zoom: 1 }), inView: gestures.selectInView });
  stage.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: [60, 0], ArrowRight: [-60, 0], ArrowUp: [0, 60], ArrowDown: [0, -60] }[event.key];
    if (step) look(moved(view, ...step));
    else if (event.key === "+" || event.key === "=") zoom(1.4);
    else if (event.key === "-") zoom(1 / 1.4);
    else if (event.key === "0") look({ x: 0, y: 0, zoom: 1 });
    else if (event.key === "Enter") gestures.selectInView();
    else return;
    event.preventDefault();
  });

  points.addEventListener("again", () => redraw(true));
  new ResizeObserver(resize).observe(stage);
  store.on("column theme", colour);
  store.on("shownMask highlight", ({ column, highlight }) => flags(column, highlight));
  store.on("x y zoom", place);
  store.on("image", ({ image }) => reveal(image));
  store.on("image results tab tool thumbnails yes no", () => redraw());
  Object.assign(view, { x: store.values.x, y: store.values.y, zoom: store.values.zoom });

  function start() {
    renderer.set({ points: app.points });
    colour();
  }
  const element = h("section", { class: "map", "aria-label": "Map" }, stage, tools, hover.element);
  return { element, start, redraw, load: legend.load };
}
