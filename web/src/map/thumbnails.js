// Thumbnails over the points in view: at most 150, none over another, drawn on the canvas above the map.

import { thumbnailOf } from "../api.js";
import { seenBox, toScreen } from "./view.js";

const MOST = 150;
const CROWD = 2500; // points in view, up to which thumbnails are shown
const KEPT = 1200; // pictures in memory
const LOADING = 12; // at a time
const GAP = 6;

export function createThumbnails(redraw) {
  const pictures = new Map(); // id -> { image, ready }; the least recently wanted first
  let waiting = [];
  let loading = 0;

  function load() {
    while (loading < LOADING && waiting.length) {
      const id = waiting.pop();
      if (pictures.has(id)) continue;
      const entry = { image: new Image(), ready: false };
      pictures.set(id, entry);
      loading++;
      entry.image.src = thumbnailOf(id);
      entry.image.decode().then(() => (entry.ready = true), () => {}).finally(() => {
        loading--;
        redraw();
        load();
      });
    }
    for (const id of pictures.keys()) {
      if (pictures.size <= KEPT) break;
      pictures.delete(id);
    }
  }

  function pictureOf(id) {
    const entry = pictures.get(id);
    if (!entry) return null;
    pictures.delete(id);
    pictures.set(id, entry);
    return entry.ready ? entry.image : null;
  }

  /** Which points get a thumbnail in a view, with its place: [{ id, left, top, side }]. */
  function placed(view, places, accepted) {
    const seen = inView(view, places, accepted);
    if (!seen) return [];
    const side = Math.round(Math.min(84, Math.max(38, 300 / Math.sqrt(seen.length))));
    const taken = {};
    const found = [];
    for (const { id, x, y } of seen) {
      const [left, top] = toScreen(view, x, y);
      if (!free(taken, left, top, side + GAP)) continue;
      found.push({ id, left: Math.round(left - side / 2), top: Math.round(top - side / 2), side });
      if (found.length === MOST) break;
    }
    waiting = found.map(({ id }) => id).filter((id) => !pictures.has(id)).reverse();
    load();
    return found;
  }

  return { placed, pictureOf };
}

/** The accepted points in view in an order that does not change as one pans; null where there are too many. */
function inView(view, places, accepted) {
  const seen = [];
  places.within(seenBox(view, 20), (id, x, y) => {
    if (accepted(id)) seen.push({ id, x, y, order: Math.imul(id + 1, 0x9e3779b1) >>> 0 });
    return seen.length <= CROWD;
  });
  return seen.length > CROWD ? null : seen.sort((one, other) => one.order - other.order);
}

/** Whether a square fits among those that are placed; then it takes its place. Cells are as large as a square. */
function free(taken, left, top, side) {
  const [column, row] = [Math.floor(left / side), Math.floor(top / side)];
  for (let down = -1; down <= 1; down++) {
    for (let across = -1; across <= 1; across++) {
      const other = taken[`${column + across},${row + down}`];
      if (other && Math.abs(other[0] - left) < side && Math.abs(other[1] - top) < side) return false;
    }
  }
  taken[`${column},${row}`] = [left, top];
  return true;
}
