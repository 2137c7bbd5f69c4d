// A grid of thumbnails of which only those on the screen exist, so that hundreds of thousands scroll as few do.
// The focus stays on the grid; the tile that keys act on is named by aria-activedescendant.

import { knownName, namesOf, thumbnailOf } from "./api.js";
import { debounced, h, perFrame, shortNameOf, visible } from "./dom.js";

const WIDE = 118; // pixels of a tile at least
const TEXT = 54; // pixels of the texts below a picture
const TALLEST = 15e6; // pixels that every browser scrolls
const LETTERS = 17; // of a name
let grids = 0;

export function createGrid(app, { label, captionOf = () => "", boxOf = () => null }) {
  const { store } = app;
  const prefix = `grid${grids++}`;
  const inner = h("div", { class: "grid-inner", role: "presentation" });
  const element = h(
    "div",
    { class: "grid", tabindex: 0, role: "listbox", "aria-label": label, "aria-multiselectable": true },
    inner,
  );
  const tiles = new Map(); // place -> element
  let [ids, active, first, columns, side, height] = [[], 0, 0, 1, WIDE, WIDE + TEXT];

  function measure() {
    const width = element.clientWidth - 16;
    if (width <= 0) return;
    columns = Math.max(1, Math.floor(width / WIDE));
    side = Math.floor(width / columns);
    height = side - 12 + TEXT;
    inner.style.height = `${Math.min(TALLEST, Math.ceil(ids.length / columns) * height)}px`;
    clear();
    draw();
  }

  function clear() {
    for (const tile of tiles.values()) tile.remove();
    tiles.clear();
  }

  const draw = perFrame(() => {
    const from = Math.max(0, Math.floor(element.scrollTop / height) - 1) * columns;
    const to = Math.min(ids.length, (Math.ceil((element.scrollTop + element.clientHeight) / height) + 1) * columns);
    for (const [place, tile] of tiles) {
      if (place >= from && place < to) continue;
      tile.remove();
      tiles.delete(place);
    }
    for (let place = from; place < to; place++) if (!tiles.has(place)) add(place);
    mark();
    name(from, to);
  });

  function add(place) {
    const id = ids[place];
    const picture = h("span", { class: "picture" }, h("img", { src: thumbnailOf(id), alt: "", decoding: "async", draggable: "false" }));
    const box = boxOf(id);
    if (box) picture.append(boxElement(box, picture.firstChild));
    const tile = h(
      "div",
      { class: "tile", role: "option", id: `${prefix}-${place}`, "aria-setsize": ids.length, "aria-posinset": place + 1 },
      picture,
      h("span", { class: "name" }),
      h("span", { class: "caption" }, captionOf(id)),
      h("span", { class: "tick", "aria-hidden": "true" }),
    );
    tile.style.width = `${side}px`;
    tile.style.height = `${height}px`;
    tile.style.transform = `translate(${(place % columns) * side}px, ${Math.floor(place / columns) * height}px)`;
    picture.style.height = `${side - 12}px`;
    tiles.set(place, tile);
    inner.append(tile);
    write(tile, id);
  }

  function write(tile, id) {
    const path = knownName(id);
    const name = tile.querySelector(".name");
    name.textContent = path === undefined ? "" : shortNameOf(path, LETTERS);
    tile.title = path === undefined ? "" : visible(path);
  }

  const name = debounced(async (from, to) => {
    const wanted = Array.from(ids.slice(from, to)).filter((id) => knownName(id) === undefined);
    if (wanted.length) await namesOf(wanted).catch(() => null);
    for (const [place, tile] of tiles) if (!tile.title) write(tile, ids[place]);
  }, 50);

  function mark() {
    const { picked, image, yes, no } = store.values;
    for (const [place, tile] of tiles) {
      const id = ids[place];
      tile.setAttribute("aria-selected", picked.has(id));
      tile.classList.toggle("active", place === active);
      tile.classList.toggle("open", id === image);
      tile.classList.toggle("yes", yes.includes(id));
      tile.classList.toggle("no", no.includes(id));
    }
    if (tiles.has(active)) element.setAttribute("aria-activedescendant", `${prefix}-${active}`);
    else element.removeAttribute("aria-activedescendant");
  }

  function go(place) {
    if (!ids.length) return;
    active = Math.max(0, Math.min(ids.length - 1, place));
    const top = Math.floor(active / columns) * height;
    if (top < element.scrollTop) element.scrollTop = top;
    else if (top + height > element.scrollTop + element.clientHeight) element.scrollTop = top + height - element.clientHeight;
    draw();
  }

  function pick(place, range = false) {
    const picked = new Set(store.values.picked);
    const [from, to] = range ? [Math.min(first, place), Math.max(first, place)] : [place, place];
    const wanted = range || !picked.has(ids[place]);
    for (let each = from; each <= to; each++) wanted ? picked.add(ids[each]) : picked.delete(ids[each]);
    if (!range) first = place;
    store.set({ picked });
  }

  function key(event) {
    const page = Math.max(1, Math.floor(element.clientHeight / height)) * columns;
    const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns, k: -columns, j: columns, PageUp: -page, PageDown: page };
    if (event.key === "a" && (event.ctrlKey || event.metaKey)) pickAll();
    else if (event.ctrlKey || event.metaKey || event.altKey) return;
    else if (event.key in steps) go(active + steps[event.key]);
    else if (event.key === "Home") go(0);
    else if (event.key === "End") go(ids.length - 1);
    else if (event.key === "Enter" && ids.length) store.set({ image: ids[active] });
    else if (event.key === " " && ids.length) pick(active, event.shiftKey);
    else return;
    event.preventDefault();
  }

  function click(event) {
    const tile = event.target.closest(".tile");
    const place = [...tiles].find(([, each]) => each === tile)?.[0];
    if (place === undefined) return;
    active = place;
    if (event.shiftKey || event.ctrlKey || event.metaKey || event.target.closest(".tick")) pick(place, event.shiftKey);
    else store.set({ image: ids[place] });
    draw();
  }

  const pickAll = () => store.set({ picked: new Set(ids) });
  element.addEventListener("scroll", draw, { passive: true });
  element.addEventListener("keydown", key);
  element.addEventListener("click", click);
  new ResizeObserver(measure).observe(element);
  store.on("picked image yes no", mark);

  /** Shows other images; stays where it is if `keep`. */
  function show(next, keep = false) {
    ids = next;
    if (!keep) [active, first, element.scrollTop] = [0, 0, 0];
    measure();
  }
  return { element, show, pickAll, ids: () => ids, activeId: () => (ids.length ? ids[active] : null) };
}

/** A frame at fractions [x0, y0, x1, y1] of a picture that is fitted into a square. */
export function boxElement([x0, y0, x1, y1], image) {
  const frame = h("span", { class: "box", "aria-hidden": "true", hidden: true });
  const place = () => {
    const part = 1 / Math.max(image.naturalWidth, image.naturalHeight);
    const [wide, high] = [image.naturalWidth * part, image.naturalHeight * part];
    const at = (fraction, size) => `${100 * ((1 - size) / 2 + fraction * size)}%`;
    Object.assign(frame.style, { left: at(x0, wide), top: at(y0, high), width: `${100 * (x1 - x0) * wide}%`, height: `${100 * (y1 - y0) * high}%` });
    frame.hidden = false;
  };
  image.addEventListener("load", place);
  return frame;
}
