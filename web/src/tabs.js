// The tabs beside the map.

import { h } from "./dom.js";

/** Tabs of panels { name, title, element }; the one that is open is in the store. */
export function createTabs(app, panels) {
  const { store } = app;
  const tabs = panels.map(({ name, title }) =>
    h("button", { type: "button", role: "tab", id: `tab-${name}`, "aria-controls": `panel-${name}`, onclick: () => store.set({ tab: name }) }, title),
  );
  const bodies = panels.map(({ name, element }) =>
    h("div", { role: "tabpanel", id: `panel-${name}`, "aria-labelledby": `tab-${name}`, class: "panel" }, element),
  );

  function show({ tab }) {
    const open = Math.max(0, panels.findIndex(({ name }) => name === tab));
    tabs.forEach((each, place) => {
      each.setAttribute("aria-selected", place === open);
      each.tabIndex = place === open ? 0 : -1;
      if (place === open) each.scrollIntoView({ block: "nearest", inline: "nearest" });
    });
    bodies.forEach((each, place) => (each.hidden = place !== open));
  }

  function key(event) {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step) return;
    const next = (tabs.indexOf(event.target) + step + tabs.length) % tabs.length;
    store.set({ tab: panels[next].name });
    tabs[next].focus();
    event.preventDefault();
  }

  const list = h("div", { role: "tablist", class: "tabs", "aria-label": "Lists", onkeydown: key }, tabs);
  store.on("tab", show);
  show(store.values);
  return h("section", { class: "side", "aria-label": "Images and lists" }, list, bodies);
}
