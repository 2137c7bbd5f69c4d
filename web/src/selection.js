// Which images are shown: those of the selection for which the filter holds. Both are kept in the address.

import { ApiError, postForBytes } from "./api.js";
import { MISSING } from "./colours.js";

/** The selection of the images of one category of a column; null: of those without a value. */
export function categorySelection(column, name) {
  const parts = name === null ? ["missing", column] : ["is", column, name];
  return parts.map(encodeURIComponent).join(":");
}

const OPTION = /^--where:? /; // of the command line, whose sentence it is

export function createSelection(app) {
  const { store } = app;
  let filtered = ""; // the condition that the mask in the store is of

  /** Shows only the images for which a condition holds; a wrong one changes nothing but the sentence shown. */
  async function filter(where) {
    if (where === filtered) return store.set({ whereError: "", where });
    try {
      const mask = where ? new Uint8Array(await postForBytes("/api/where", { where })) : null;
      filtered = where;
      store.set({ mask, where, whereError: "" });
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      store.set({ whereError: error.message.replace(OPTION, "") });
    }
  }

  async function chosen(text) {
    const [kind, ...parts] = text.split(":");
    if (kind === "lasso") return app.places.inPolygon(parts[0].split(",").map(Number));
    if (kind === "ids") return maskOf(app.n, parts[0].split(",").map(Number));
    if (kind === "is" || kind === "missing") return ofCategory(kind, ...parts.map(decodeURIComponent));
    return null;
  }

  async function ofCategory(kind, name, category) {
    const column = await app.columns.load(name);
    const code = kind === "missing" ? MISSING : column.names?.indexOf(category);
    if (column.type !== "category" || code === -1) return null;
    return column.codes.map((each) => (each === code ? 1 : 0));
  }

  async function select({ sel }) {
    const selected = sel ? await chosen(sel).catch(() => null) : null;
    if (store.values.sel === sel) store.set({ selected });
  }

  function combine({ mask, selected }) {
    const both = mask && selected ? mask.map((one, id) => one & selected[id]) : (mask ?? selected);
    store.set({ shownMask: both, shown: idsOf(both, app.n) });
  }

  store.on("sel", select);
  store.on("where", ({ where }) => filter(where));
  store.on("mask selected", combine);

  async function start() {
    store.set({ shown: idsOf(null, app.n) });
    await Promise.all([store.values.where && filter(store.values.where), select(store.values)]);
  }
  return { filter, start };
}

function maskOf(images, ids) {
  const mask = new Uint8Array(images);
  for (const id of ids) if (id < images) mask[id] = 1;
  return mask;
}

function idsOf(mask, images) {
  const ids = new Uint32Array(images);
  let count = 0;
  for (let id = 0; id < images; id++) if (mask === null || mask[id]) ids[count++] = id;
  return ids.slice(0, count);
}

/** The ids in the order of a column, or its reverse; unknown values last. */
export function sorted(ids, column, falling) {
  const place = column.type === "category" ? rankOfNames(column) : null;
  const keys = place ? (id) => place[column.codes[id]] : (id) => column.values[id];
  const sign = falling ? -1 : 1;
  const known = ids.filter((id) => !Number.isNaN(keys(id)));
  const unknown = ids.filter((id) => Number.isNaN(keys(id)));
  known.sort((one, other) => sign * (keys(one) - keys(other)) || one - other);
  const all = new Uint32Array(ids.length);
  all.set(known);
  all.set(unknown, known.length);
  return all;
}

function rankOfNames(column) {
  const ranks = new Float32Array(256).fill(NaN);
  const order = column.names.map((_, code) => code);
  order.sort((one, other) => column.names[one].localeCompare(column.names[other], "en", { numeric: true }));
  order.forEach((code, rank) => (ranks[code] = rank));
  return ranks;
}
