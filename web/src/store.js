// What the page shows, in one place. What belongs in the address is kept there, so that a view can be sent.

import { debounced } from "./dom.js";

const LISTS = ["like", "unlike", "yes", "no"];
const NUMBERS = ["x", "y", "zoom"];
const TEXTS = ["color", "where", "sel", "tab", "sort"];
const STEPS = new Set(["image", "tab", "sel", "query", "where"]); // a change of these is a step that Back undoes
const FEW = 200; // ids of a list that the address keeps

export const EMPTY = {
  x: 0,
  y: 0,
  zoom: 1,
  color: "",
  where: "",
  sel: "",
  tab: "images",
  sort: "",
  image: null,
  query: null,
  yes: [],
  no: [],
};

const imageFrom = (text) => (/^u\d+$/.test(text) ? text : /^\d+$/.test(text) ? Number(text) : null);
const imagesFrom = (text) => text.split(",").map(imageFrom).filter((image) => image !== null).slice(0, FEW);

/** The values that an address has; what it lacks or what makes no sense is as it is at first. */
export function fromAddress(hash) {
  const found = new URLSearchParams(hash.replace(/^#/, ""));
  const values = { ...EMPTY };
  for (const name of NUMBERS) {
    const value = Number(found.get(name) ?? EMPTY[name]);
    values[name] = Number.isFinite(value) ? value : EMPTY[name];
  }
  for (const name of TEXTS) values[name] = found.get(name) ?? EMPTY[name];
  values.image = imageFrom(found.get("image") ?? "");
  for (const name of ["yes", "no"]) values[name] = imagesFrom(found.get(name) ?? "");
  values.query = queryFrom(found);
  return values;
}

function queryFrom(found) {
  const [image, like, unlike] = ["q", "like", "unlike"].map((name) => imagesFrom(found.get(name) ?? ""));
  if (!image.length && !like.length) return null;
  const box = (found.get("box") ?? "").split(",").map(Number);
  const whole = box.length !== 4 || box.some((side) => !(side >= 0 && side <= 1));
  return { image: image[0] ?? null, like, unlike, box: whole ? null : box };
}

export function toAddress(values) {
  const parts = new URLSearchParams();
  const rounded = { ...values, x: values.x.toFixed(4), y: values.y.toFixed(4), zoom: values.zoom.toFixed(3) };
  for (const name of [...NUMBERS, ...TEXTS]) {
    if (values[name] !== EMPTY[name]) parts.set(name, String(rounded[name]));
  }
  if (values.image !== null) parts.set("image", values.image);
  const { image = null, box = null } = values.query ?? {};
  const lists = { ...values, ...values.query };
  if (image !== null) parts.set("q", image);
  for (const name of LISTS) if (lists[name]?.length) parts.set(name, lists[name].slice(0, FEW).join(","));
  if (box) parts.set("box", box.map((side) => side.toFixed(4)).join(","));
  return parts.toString().replaceAll("%2C", ",").replaceAll("%3A", ":");
}

export function createStore() {
  const values = fromAddress(location.hash);
  const listeners = [];
  let step = false;

  const write = debounced(() => {
    const address = toAddress(values);
    if (address === location.hash.slice(1)) return;
    history[step ? "pushState" : "replaceState"](null, "", address ? `#${address}` : location.pathname);
    step = false;
  }, 150);

  function set(changes, { remember = true } = {}) {
    const changed = Object.keys(changes).filter((name) => values[name] !== changes[name]);
    if (!changed.length) return;
    Object.assign(values, changes);
    if (remember) {
      step ||= changed.some((name) => STEPS.has(name));
      write();
    }
    for (const { names, listener } of [...listeners]) if (names.some((name) => changed.includes(name))) listener(values);
  }

  function on(names, listener) {
    listeners.push({ names: names.split(" "), listener });
  }

  const back = () => set(fromAddress(location.hash), { remember: false });
  addEventListener("popstate", back);
  addEventListener("hashchange", back);
  return { values, set, on };
}
