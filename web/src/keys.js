// Keys that hold for the whole page, and pictures that are dropped on it or pasted.

import { h, typing } from "./dom.js";
import { mark } from "./examples.js";
import { showHelp } from "./help.js";

export function addKeys(app, { tabs, detail }) {
  const { store } = app;
  const first = (selector) => [...document.querySelectorAll(selector)].find((element) => element.checkVisibility());
  const focus = (selector) => () => first(selector)?.focus();

  /** The image that keys act on: that in the focused grid or list, or the open one. */
  function meant() {
    const here = document.activeElement;
    const tab = tabs.find(({ grid }) => grid?.element === here);
    if (tab) return tab.grid.activeId();
    return here?.dataset?.id ? Number(here.dataset.id) : store.values.image;
  }

  function onImage(work) {
    const image = meant();
    if (image === null) app.say("Open an image first.");
    else work(image);
  }

  function escape() {
    if (store.values.image !== null) {
      const inside = detail.element.contains(document.activeElement);
      store.set({ image: null });
      if (inside) focus(".side .grid, .side .rows button[tabindex='0']")();
    } else if (store.values.sel) store.set({ sel: "" });
  }

  const works = {
    "/": focus("#where"),
    "?": showHelp,
    m: focus(".stage"),
    g: focus(".side .grid, .side .rows button[tabindex='0']"),
    p: focus(".picture-frame"),
    l: () => store.set({ tool: store.values.tool === "lasso" ? "move" : "lasso" }),
    t: () => store.set({ thumbnails: !store.values.thumbnails }),
    s: () => onImage((image) => app.queries.similar(image)),
    y: () => onImage((image) => mark(app, image, "yes")),
    n: () => onImage((image) => mark(app, image, "no")),
    e: () => detail.expect(),
    Escape: escape,
  };
  tabs.forEach(({ name }, place) => (works[place + 1] = () => store.set({ tab: name })));

  addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
    if (document.querySelector("dialog[open]")) return;
    if (typing(event)) return event.key === "Escape" && event.target.blur();
    const work = works[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!work) return;
    event.preventDefault();
    work();
  });
}

export function addDropping(app) {
  const veil = h("div", { class: "veil", hidden: true }, h("p", {}, "Drop the picture to search with it"));
  document.body.append(veil);
  const holds = (event) => event.dataTransfer?.types.includes("Files");
  addEventListener("dragover", (event) => {
    if (!holds(event)) return;
    event.preventDefault();
    veil.hidden = false;
  });
  addEventListener("dragleave", (event) => {
    if (event.relatedTarget === null) veil.hidden = true;
  });
  addEventListener("drop", (event) => {
    veil.hidden = true;
    if (!holds(event)) return;
    event.preventDefault();
    app.queries.withFile(event.dataTransfer.files[0]);
  });
  addEventListener("paste", (event) => {
    const [file] = event.clipboardData?.files ?? [];
    if (!file) return;
    event.preventDefault();
    app.queries.withFile(file);
  });
}
