// The page: images come in by choosing, dropping or pasting, and go to the worker; what it finds is shown.
import { cosine, openGallery } from "./gallery.js";
import { dropZone, make, tile } from "./view.js";

const part = (id) => document.getElementById(id);
const worker = new Worker("worker.js", { type: "module" });
const waiting = new Map(); // by id: {zone, image}
const MOST_SHOWN = 12;
let facts;
let gallery;
let zones = [];
let opened = false;

function say(text, bad = false) {
  part("status").textContent = text;
  part("status").classList.toggle("bad", bad);
}

function send(zone, image) {
  zone.show(image);
  zone.vector = undefined;
  const id = crypto.randomUUID?.() ?? String(Math.random());
  waiting.set(id, zone);
  zone.latest = id;
  mark(undefined);
  say("Computing…");
  worker.postMessage({ kind: "embed", id, image });
}

// ---- results

function mark(place) {
  for (const one of part("all").children) one.setAttribute("aria-pressed", String(one.dataset.place === String(place)));
}

function neighbours(found, heading) {
  const tiles = found.slice(0, MOST_SHOWN).map(({ name, place, cosine: value }) =>
    tile(gallery.thumbnail(place), name, value, () => choose(place)));
  part("result").replaceChildren(make("h2", {}, heading), make("div", { className: "tiles" }, ...tiles));
}

function choose(place) {
  zones[0].showThumbnail(gallery.thumbnail(place), gallery.images[place]);
  zones[0].latest = undefined;
  mark(place);
  neighbours(gallery.nearestTo(place), "Nearest to it");
  if (opened) say("");
  part("stage").scrollIntoView({ block: "nearest" });
}

function pair() {
  const [one, other] = zones.map((zone) => zone.vector);
  if (!one || !other) {
    part("result").replaceChildren(make("p", { className: "muted" }, "Two images are needed."));
    return;
  }
  const value = cosine(one, other);
  part("result").replaceChildren(
    make("p", { className: "number" }, value.toFixed(3)),
    bar(value),
    make("p", { className: "muted" }, "Cosine of the two embeddings: 1 is equal. Compare it with that of other pairs; " +
      "of two images that have little in common it is seldom 0."),
  );
}

function bar(value) {
  const filled = make("div");
  filled.style.width = `${100 * Math.max(0, value)}%`;
  return make("div", { className: "bar", ariaHidden: "true" }, filled);
}

function embedded(zone, vector, ms) {
  zone.vector = vector;
  say(`Computed in ${Math.round(ms).toLocaleString("en")} ms.`);
  if (gallery) neighbours(gallery.nearest(vector), "Nearest images");
  else pair();
}

// ---- the worker

const heard = {
  loading({ done, total }) {
    part("progress").hidden = false;
    part("progress").value = done / total;
    say(`Loading the encoder: ${megabytes(done)} of ${megabytes(total)}`);
  },
  ready() {
    opened = true;
    part("progress").hidden = true;
    say("Ready.");
    for (const zone of zones) if (zone.image) send(zone, zone.image);
  },
  seen({ id, ...crop }) {
    if (waiting.get(id)?.latest === id) waiting.get(id).showSeen(crop);
  },
  embedded({ id, vector, ms }) {
    const zone = waiting.get(id);
    waiting.delete(id);
    if (zone?.latest === id) embedded(zone, vector, ms);
  },
  failed({ id, why }) {
    part("progress").hidden = true;
    waiting.delete(id);
    say(why.charAt(0).toUpperCase() + why.slice(1) + ".", true);
  },
};
worker.onmessage = ({ data }) => heard[data.kind](data);
worker.onerror = () => say("The worker of this page could not be started.", true);

const megabytes = (bytes) => `${(bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0)} MB`;

// ---- setting up

function weightsChoice() {
  for (const { name, file, bytes } of facts.weights) {
    const radio = make("input", { type: "radio", name: "weights", value: file, checked: file === facts.weights[0].file });
    radio.onchange = () => {
      say("Loading the encoder…");
      worker.postMessage({ kind: "open", file });
    };
    part("weights").append(make("label", {}, radio, `${name}, ${megabytes(bytes)}`));
  }
}

function factsList() {
  const [rows, columns] = facts.image_size;
  const rest = [
    ["encoder", facts.name],
    ["parameters", `${(facts.parameters / 1e6).toFixed(1)} million`],
    ["input", `${rows}×${columns} px${facts.channels === 1 ? ", grey" : ""}`],
    ["embedding", `${facts.embed_dim} numbers`],
    ["licence of the weights", facts.licence ?? "not stated"],
    ["computed by", `onnxruntime-web ${facts.runtime}, on the CPU`],
  ];
  part("facts").append(...rest.flatMap(([term, value]) => [make("dt", {}, term), make("dd", {}, value)]));
}

function arrange() {
  const labels = gallery ? ["Your image"] : ["First image", "Second image"];
  zones = labels.map((label) => dropZone(label, (image) => send(zones[labels.indexOf(label)], image)));
  part("queries").replaceChildren(...zones.map((zone) => zone.element));
  part("stage").classList.toggle("pair", !gallery);
  part("stage").hidden = false;
  if (!gallery) return pair();
  part("result").replaceChildren(make("p", { className: "muted" }, "What is nearest to your image appears here."));
  part("all").replaceChildren(...gallery.images.map((name, place) => {
    const one = tile(gallery.thumbnail(place), name, undefined, () => choose(place));
    one.dataset.place = place;
    return one;
  }));
  part("shelf").hidden = false;
}

function takeAnywhere() {
  const free = () => zones.find((zone) => !zone.image) ?? zones[zones.length - 1];
  const first = (files) => [...files].find((file) => file.type.startsWith("image/"));
  addEventListener("paste", (event) => {
    const image = first(event.clipboardData.files);
    if (image) send(free(), image);
  });
  addEventListener("dragover", (event) => event.preventDefault()); // a file that misses is not opened by the browser
  addEventListener("drop", (event) => event.preventDefault());
}

try {
  facts = await (await fetch("page.json")).json();
  if (facts.gallery) gallery = await openGallery();
  const title = gallery ? "Which images are nearest?" : "How alike are two images?";
  document.title = part("title").textContent = title;
  part("what").textContent = (gallery
    ? `Your image is compared with ${gallery.images.length} others by an encoder that runs in this browser.`
    : "Two images are compared by an encoder that runs in this browser.") + " No image is sent anywhere.";
  factsList();
  weightsChoice();
  arrange();
  takeAnywhere();
  worker.postMessage({ kind: "open", file: facts.weights[0].file });
} catch {
  say("The files of this page could not be loaded: serve its folder, as by python -m http.server.", true);
}
