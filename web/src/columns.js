// Columns of the index by name: their values, and a code 0 to 254 of each image by which it is coloured (255: missing).

import { getBytes, getJson } from "./api.js";
import { MISSING } from "./colours.js";

const COMPUTED = [
  { name: "cluster", type: "category" },
  { name: "outlier", type: "number" },
];
const LEVELS = 254;
const SAMPLED = 10000; // values that the ends of a scale are found in
const TAIL = 0.01; // of the values at each end take the colour of the end

export function columnsOf(index) {
  const known = new Set(index.columns.map(({ name }) => name));
  return [...index.columns, ...COMPUTED.filter(({ name }) => !known.has(name))];
}

/** The columns that points can be coloured by, labels first. */
export function colourable(index) {
  const first = new Map(index.labels.map((name, place) => [name, place - index.labels.length]));
  const order = ["folder", "cluster", "outlier", "captured"];
  const rank = ({ name }) => first.get(name) ?? (order.includes(name) ? order.indexOf(name) : order.length);
  return columnsOf(index)
    .filter(({ type }) => type !== "text")
    .sort((one, other) => rank(one) - rank(other));
}

export function createColumns(images) {
  const known = new Map();
  function load(name) {
    if (!known.has(name)) {
      const found = fetched(name, images);
      found.catch(() => known.delete(name));
      known.set(name, found);
    }
    return known.get(name);
  }
  return { load };
}

async function fetched(name, images) {
  const address = `/api/columns/${encodeURIComponent(name)}`;
  const about = await getJson(address);
  const values = await getBytes(`${address}/values`);
  if (about.type === "category") return category(about, new Uint8Array(values));
  return scale(about, about.type === "time" ? new Float64Array(values) : new Float32Array(values), images);
}

function category(about, codes) {
  const counts = new Uint32Array(256);
  for (const code of codes) counts[code]++;
  const names = about.categories ?? [];
  const order = names.map((_, code) => code).sort((one, other) => counts[other] - counts[one]);
  if (about.name === "cluster") order.sort((one, other) => one - other);
  const places = [];
  order.forEach((code, place) => (places[code] = place));
  return { ...about, type: "category", values: codes, codes, counts, order, places, names };
}

/** Codes spread evenly between two ends, beyond which few values lie. */
function scale(about, values) {
  const [low, high] = ends(values);
  const codes = new Uint8Array(values.length);
  const factor = high > low ? LEVELS / (high - low) : 0;
  for (let id = 0; id < values.length; id++) {
    const value = values[id];
    codes[id] = value !== value ? MISSING : Math.max(0, Math.min(LEVELS, (value - low) * factor));
  }
  return { ...about, values, codes, low, high };
}

function ends(values) {
  const step = Math.max(1, Math.floor(values.length / SAMPLED));
  const some = [];
  for (let id = 0; id < values.length; id += step) if (!Number.isNaN(values[id])) some.push(values[id]);
  if (!some.length) return [0, 0];
  some.sort((one, other) => one - other);
  const [low, high] = [TAIL, 1 - TAIL].map((part) => some[Math.round(part * (some.length - 1))]);
  return high > low ? [low, high] : [some[0], some.at(-1)];
}

/** A column of scores that the page computed or was given, as one of numbers. */
export function scoreColumn(name, values) {
  return scale({ name, type: "number" }, values);
}
