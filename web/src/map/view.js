// The part of the map that is seen: its middle (x, y), how far it is enlarged, and the size of the window in pixels.
// `before` and `behind` it are pixels that the legend and the tools lie over: the map is fitted between them.

const MARGIN = 0.94; // of the shorter side of the window are the map at zoom 1
export const MOST_ZOOM = 4000;
const LEAST_ZOOM = 0.5;

export function createView() {
  return { x: 0, y: 0, zoom: 1, width: 1, height: 1, before: 0, behind: 0 };
}

/** Pixels of a unit of the map. */
export function scaleOf(view) {
  return (Math.min(view.width - view.before - view.behind, view.height) / 2) * MARGIN * view.zoom;
}

function middle(view) {
  return (view.width + view.before - view.behind) / 2;
}

export function toScreen(view, x, y) {
  const scale = scaleOf(view);
  return [(x - view.x) * scale + middle(view), view.height / 2 - (y - view.y) * scale];
}

export function toMap(view, left, top) {
  const scale = scaleOf(view);
  return [(left - middle(view)) / scale + view.x, (view.height / 2 - top) / scale + view.y];
}

/** [left, bottom, right, top] of what is seen, with a rim of some pixels around it. */
export function seenBox(view, rim = 0) {
  const [left, top] = toMap(view, -rim, -rim);
  const [right, bottom] = toMap(view, view.width + rim, view.height + rim);
  return [left, bottom, right, top];
}

/** The view after enlarging by `factor` about a place of the window, which stays where it is. */
export function zoomed(view, factor, left = middle(view), top = view.height / 2) {
  const zoom = Math.min(MOST_ZOOM, Math.max(LEAST_ZOOM, view.zoom * factor));
  const [x, y] = toMap(view, left, top);
  const [nextX, nextY] = toMap({ ...view, zoom }, left, top);
  return bounded({ x: view.x + x - nextX, y: view.y + y - nextY, zoom });
}

export function moved(view, right, down) {
  const scale = scaleOf(view);
  return bounded({ x: view.x - right / scale, y: view.y + down / scale, zoom: view.zoom });
}

/** The middle stays on the map, so that nobody loses it. */
function bounded({ x, y, zoom }) {
  const inside = (value) => Math.min(1.1, Math.max(-1.1, value));
  return { x: inside(x), y: inside(y), zoom };
}
