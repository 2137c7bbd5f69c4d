// Pointer gestures on the map: drag to move, wheel or two fingers to zoom, lasso to select, click to open an image.

import { moved, seenBox, toMap, zoomed } from "./view.js";

const CLICK = 4; // pixels that a click may move
const CORNERS = 90; // of a lasso, which the address keeps

export function createGestures(app, stage, { view, look, imageAt, hover, redraw }) {
  const { store } = app;
  const fingers = new Map(); // pointers that are down: id -> [left, top]
  let [drag, line] = [null, null];

  const at = (event) => {
    const box = stage.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };

  function down(event) {
    if (event.button !== 0) return;
    stage.focus({ preventScroll: true });
    stage.setPointerCapture(event.pointerId);
    fingers.set(event.pointerId, at(event));
    drag = { from: at(event), far: fingers.size > 1 };
    if (fingers.size === 1 && (store.values.tool === "lasso" || event.shiftKey)) line = [at(event)];
    hover.hide();
  }

  function move(event) {
    const [left, top] = at(event);
    if (!fingers.has(event.pointerId)) return hover.show(imageAt(left, top), left, top);
    const before = fingers.get(event.pointerId);
    if (fingers.size === 2) pinch(event.pointerId, before, [left, top]);
    else if (line) extend(left, top);
    else if (drag.far || far(drag.from, [left, top])) {
      drag.far = true;
      look(moved(view, left - before[0], top - before[1]));
    }
    fingers.set(event.pointerId, [left, top]);
  }

  function pinch(pointer, before, now) {
    const [other] = [...fingers].filter(([id]) => id !== pointer).map(([, place]) => place);
    const apart = (one) => Math.hypot(one[0] - other[0], one[1] - other[1]) || 1;
    look(zoomed(view, apart(now) / apart(before), (now[0] + other[0]) / 2, (now[1] + other[1]) / 2));
  }

  function extend(left, top) {
    if (far(line.at(-1), [left, top], 2)) line.push([left, top]);
    redraw();
  }

  function up(event) {
    if (!fingers.delete(event.pointerId) || fingers.size) return;
    const [left, top] = at(event);
    if (line && line.length > 2) select(line.flatMap((place) => toMap(view, ...place)));
    else if (!drag.far && event.type === "pointerup") open(imageAt(left, top));
    line = drag = null;
    redraw();
  }

  function open(id) {
    if (id !== null) store.set({ image: id });
  }

  /** Selects the images within a polygon [x, y, ...] of the map. */
  function select(polygon) {
    const step = Math.max(1, Math.ceil(polygon.length / 2 / CORNERS));
    const kept = polygon.filter((_, place) => Math.floor(place / 2) % step === 0);
    const digits = Math.min(6, 3 + Math.ceil(Math.log10(Math.max(1, view.zoom))));
    store.set({ sel: `lasso:${kept.map((value) => Number(value.toFixed(digits))).join(",")}`, tab: "images" });
  }

  function selectInView() {
    const [left, bottom, right, top] = seenBox(view);
    select([left, bottom, right, bottom, right, top, left, top]);
  }

  stage.addEventListener("pointerdown", down);
  stage.addEventListener("pointermove", move);
  stage.addEventListener("pointerup", up);
  stage.addEventListener("pointercancel", up);
  stage.addEventListener("pointerleave", () => hover.hide());
  stage.addEventListener("dblclick", (event) => look(zoomed(view, 2, ...at(event))));
  const wheel = (event) => {
    event.preventDefault();
    const lines = event.deltaMode === 1 ? 30 : 1;
    const speed = event.ctrlKey ? 0.01 : 0.0022;
    look(zoomed(view, Math.exp(-Math.max(-240, Math.min(240, event.deltaY * lines)) * speed), ...at(event)));
  };
  stage.addEventListener("wheel", wheel, { passive: false });
  return { lasso: () => line, selectInView };
}

function far(one, other, least = CLICK) {
  return Math.hypot(one[0] - other[0], one[1] - other[1]) >= least;
}
