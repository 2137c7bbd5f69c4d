// The page of openjepa explore.

import { createAnomaliesTab } from "./anomalies.js";
import { ApiError, getBytes, getJson, keepThumbnails } from "./api.js";
import { missingColour } from "./colours.js";
import { createColumns } from "./columns.js";
import { createDetail } from "./detail.js";
import { h, visible } from "./dom.js";
import { createExamplesTab } from "./examples.js";
import { createHeader } from "./header.js";
import { createImagesTab } from "./images_tab.js";
import { addDropping, addKeys } from "./keys.js";
import { createClustersTab, createDuplicatesTab, createOutliersTab } from "./lists.js";
import { createMap } from "./map/map.js";
import { createPlaces } from "./map/places.js";
import { createQueries, createSearchTab } from "./search.js";
import { createSelection } from "./selection.js";
import { createStore } from "./store.js";
import "./style/main.css";
import { createTabs } from "./tabs.js";
import { currentTheme, followTheme, rgb, switchTheme, variable } from "./theme.js";

const root = document.getElementById("page");

function createApp(index, store) {
  const status = h("p", { class: "unseen", role: "status" });
  const note = h("p", { class: "toast", "aria-hidden": "true", hidden: true });
  const words = h("span", {});
  const away = h("button", { type: "button", class: "small", onclick: () => (alarm.hidden = true) }, "Close");
  const alarm = h("div", { class: "alarm", role: "alert", hidden: true }, words, away);
  let timer = 0;

  function say(text) {
    status.textContent = note.textContent = text;
    note.hidden = false;
    clearTimeout(timer);
    timer = setTimeout(() => (note.hidden = true), 4000);
  }

  function fail(error) {
    if (!(error instanceof ApiError)) throw error;
    words.textContent = error.message;
    alarm.hidden = false;
  }

  const colours = { paper: "paper", ink: "ink", accent: "run", good: "good", bad: "bad" };
  const app = { index, store, root, n: index.images, columns: createColumns(index.images), say, fail, points: null, places: null };
  for (const [name, of] of Object.entries(colours)) app[name] = () => variable(of);
  app.grey = () => rgb(missingColour(store.values.theme));
  app.switchTheme = () => switchTheme(store);
  app.messages = [alarm, status, note];
  return app;
}

/** Draws the points of an address, and only then finds out where which are. */
async function placePoints(app, map, address) {
  app.points = new Float32Array(await getBytes(address));
  map.start();
  await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
  app.places = createPlaces(app.points);
  map.redraw();
}

async function refineMap(app, map) {
  if (app.index.map_ready !== false) return;
  app.say("A better map is being computed: it will replace this one.");
  await placePoints(app, map, "/api/points");
  app.store.set({ sel: app.store.values.sel.startsWith("lasso:") ? "" : app.store.values.sel });
}

async function start() {
  const store = createStore();
  const derived = { theme: currentTheme(), tool: "move", thumbnails: true, layer: "similarity", drawn: null, column: null, highlight: null };
  const lists = { mask: null, selected: null, shownMask: null, shown: null, results: null, scores: null, odd: null, picked: new Set(), whereError: "" };
  store.set({ ...derived, ...lists }, { remember: false });
  followTheme(store);
  const index = await getJson("/api/index");
  keepThumbnails(index.opened);
  document.title = `${visible(index.name)} · openjepa explore`;
  if (index.images === 0) return empty("This index has no images: run openjepa index MODEL DATA --out with a folder of images, then open it again.");
  await build(createApp(index, store));
}

async function build(app) {
  app.selection = createSelection(app);
  app.queries = createQueries(app);
  const map = createMap(app);
  const images = createImagesTab(app);
  const search = createSearchTab(app);
  const lists = [createDuplicatesTab(app), createOutliersTab(app), createClustersTab(app)];
  const examples = createExamplesTab(app);
  const anomalies = createAnomaliesTab(app);
  const detail = createDetail(app);
  const panels = [
    { name: "images", title: "Images", ...images },
    { name: "search", title: "Search", ...search },
    { name: "duplicates", title: "Duplicates", ...lists[0] },
    { name: "outliers", title: "Outliers", ...lists[1] },
    { name: "clusters", title: "Clusters", ...lists[2] },
    { name: "label", title: "Label", ...examples },
    { name: "anomalies", title: "Anomalies", ...anomalies },
  ];
  root.replaceChildren(createHeader(app), ...app.messages, h("main", {}, map.element, createTabs(app, panels), detail.element));
  addKeys(app, { tabs: panels, detail });
  addDropping(app);
  const colours = map.load();
  await placePoints(app, map, app.index.map_ready === false ? "/api/points?map=pca" : "/api/points");
  await Promise.all([app.selection.start(), colours]);
  for (const part of [...lists, examples, anomalies, detail]) part.start();
  document.documentElement.dataset.ready = "yes";
  await refineMap(app, map);
}

function empty(sentence) {
  const again = h("button", { type: "button", onclick: () => location.reload() }, "Try again");
  root.replaceChildren(h("main", { class: "alone" }, h("h1", {}, "openjepa explore"), h("p", { role: "alert" }, sentence), again));
}

start().catch((error) => {
  if (!(error instanceof ApiError)) {
    empty("The page could not be shown by this browser: open it in a current one.");
    throw error;
  }
  empty(error.message);
});
