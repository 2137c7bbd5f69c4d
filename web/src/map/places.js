// Where the points are: a grid of cells with the ids in each, to find those near a place, in a box or in a lasso.

const LARGEST = 512; // cells along a side

export function createPlaces(points) {
  const images = points.length / 2;
  const side = Math.max(1, Math.min(LARGEST, Math.round(Math.sqrt(images / 4))));
  const along = (value) => Math.max(0, Math.min(side - 1, Math.floor(((value + 1) / 2) * side)));
  const starts = new Uint32Array(side * side + 1);
  const cells = new Uint32Array(images);
  for (let id = 0; id < images; id++) {
    cells[id] = along(points[2 * id + 1]) * side + along(points[2 * id]);
    starts[cells[id] + 1]++;
  }
  for (let cell = 0; cell < side * side; cell++) starts[cell + 1] += starts[cell];
  const next = starts.slice();
  const order = new Uint32Array(images);
  for (let id = 0; id < images; id++) order[next[cells[id]]++] = id;

  /** Calls visit(id, x, y) for every point in a box until it returns false. */
  function within([left, bottom, right, top], visit) {
    for (let row = along(bottom); row <= along(top); row++) {
      const first = starts[row * side + along(left)];
      const last = starts[row * side + along(right) + 1];
      for (let place = first; place < last; place++) {
        const id = order[place];
        const [x, y] = [points[2 * id], points[2 * id + 1]];
        if (x >= left && x <= right && y >= bottom && y <= top && visit(id, x, y) === false) return;
      }
    }
  }

  /** The id of the nearest point within a radius for which accepted(id) holds, or null. */
  function nearest(x, y, radius, accepted) {
    let [best, closest] = [null, radius * radius];
    within([x - radius, y - radius, x + radius, y + radius], (id, left, top) => {
      const distance = (left - x) ** 2 + (top - y) ** 2;
      if (distance <= closest && accepted(id)) [best, closest] = [id, distance];
    });
    return best;
  }

  /** The points within a closed polygon [x, y, x, y, ...]: uint8 [n]. */
  function inPolygon(polygon) {
    const inside = new Uint8Array(images);
    within(boxOf(polygon), (id, x, y) => {
      inside[id] = holds(polygon, x, y) ? 1 : 0;
    });
    return inside;
  }

  return { within, nearest, inPolygon, images };
}

function boxOf(polygon) {
  const box = [Infinity, Infinity, -Infinity, -Infinity];
  for (let place = 0; place < polygon.length; place += 2) {
    box[0] = Math.min(box[0], polygon[place]);
    box[1] = Math.min(box[1], polygon[place + 1]);
    box[2] = Math.max(box[2], polygon[place]);
    box[3] = Math.max(box[3], polygon[place + 1]);
  }
  return box;
}

function holds(polygon, x, y) {
  let inside = false;
  for (let place = 0, before = polygon.length - 2; place < polygon.length; before = place, place += 2) {
    const [x0, y0, x1, y1] = [polygon[place], polygon[place + 1], polygon[before], polygon[before + 1]];
    if (y0 > y !== y1 > y && x < ((x1 - x0) * (y - y0)) / (y1 - y0) + x0) inside = !inside;
  }
  return inside;
}
