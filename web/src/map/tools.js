// The buttons on the map, beside the legend of its colours.

import { h, iconButton } from "../dom.js";

const ICONS = {
  move: "M8 1.5v13M1.5 8h13M8 1.5 6 3.5M8 1.5l2 2M8 14.5l-2-2M8 14.5l2-2M1.5 8l2-2M1.5 8l2 2M14.5 8l-2-2M14.5 8l-2 2",
  lasso: "M8 2.5c3.6 0 6 1.7 6 4s-2.4 4-6 4-6-1.7-6-4 2.4-4 6-4ZM4.6 9.8c-1.5.6-1.7 2 .1 2.4 1.3.3 1.6 1.2.6 2",
  inView: "M2 5V2h3M11 2h3v3M14 11v3h-3M5 14H2v-3M5.5 5.5h5v5h-5z",
  plus: "M8 3v10M3 8h10",
  minus: "M3 8h10",
  fit: "M6 2H2v4M10 2h4v4M6 14H2v-4M10 14h4v-4",
  pictures: "M2 3h12v10H2zM2.5 11l3.5-4 3 3 2-2 2.5 3M10.5 5.6h.01",
};

export function createTools(app, legend, { zoom, fit, inView }) {
  const { store } = app;
  const toggle = (path, label, name, value, off) =>
    iconButton(path, label, () => store.set({ [name]: store.values[name] === value ? off : value }), { "aria-pressed": "false" });
  const move = iconButton(ICONS.move, "Drag to move the map", () => store.set({ tool: "move" }));
  const lasso = toggle(ICONS.lasso, "Lasso: drag around images to select them (L, or Shift and drag)", "tool", "lasso", "move");
  const pictures = toggle(ICONS.pictures, "Thumbnails on the map (T)", "thumbnails", true, false);
  const show = () => {
    move.setAttribute("aria-pressed", store.values.tool === "move");
    lasso.setAttribute("aria-pressed", store.values.tool === "lasso");
    pictures.setAttribute("aria-pressed", store.values.thumbnails);
  };
  store.on("tool thumbnails", show);
  show();
  const buttons = h(
    "div",
    { class: "tools", role: "toolbar", "aria-label": "Map tools", "aria-orientation": "vertical" },
    h("div", { class: "tool-group" }, move, lasso, iconButton(ICONS.inView, "Select what is in view", inView)),
    h("div", { class: "tool-group" }, iconButton(ICONS.plus, "Zoom in", () => zoom(1.6)), iconButton(ICONS.minus, "Zoom out", () => zoom(1 / 1.6)), iconButton(ICONS.fit, "Show all (0)", fit)),
    h("div", { class: "tool-group" }, pictures),
  );
  return h("div", { class: "on-map" }, legend.element, buttons);
}
