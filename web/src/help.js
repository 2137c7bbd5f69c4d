// The keys, in a dialog.

import { h } from "./dom.js";

const KEYS = [
  ["/", "filter"],
  ["M", "map: arrows move it, + and − zoom, 0 shows all, Enter selects what is in view"],
  ["L", "lasso or moving, by dragging; Shift and drag is always a lasso"],
  ["T", "thumbnails on the map"],
  ["G", "grid or list: arrows or J and K move, Enter opens, Space picks, Ctrl A picks all"],
  ["1 to 7", "tabs"],
  ["S", "find images similar to the open one, or to that in the grid"],
  ["Y, N", "label by example: yes, no"],
  ["P", "the picture: arrows move over its patches, Shift and arrows draw a box, Enter searches with it"],
  ["E", "what the model expects in the box that was drawn"],
  ["Esc", "closes the image, then shows all images again"],
  ["?", "this list"],
];

export function showHelp() {
  if (document.querySelector("dialog[open]")) return;
  const rows = KEYS.flatMap(([key, text]) => [h("dt", {}, h("kbd", {}, key)), h("dd", {}, text)]);
  const close = h("button", { type: "button", class: "small", onclick: () => dialog.close() }, "Close");
  const outside = h(
    "p",
    { class: "muted" },
    "Drop or paste a picture anywhere to search with it. The address of this page keeps what you see: send it to someone on this machine, or keep it as a bookmark.",
  );
  const dialog = h("dialog", { "aria-labelledby": "help-title" }, h("h2", { id: "help-title" }, "Keys"), h("dl", { class: "keys" }, rows), outside, close);
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}
