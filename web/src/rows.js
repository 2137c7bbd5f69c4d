// Rows of images to go through by keyboard: j, k and the arrows go to other rows, left and right along one, Enter opens.

import { thumbnailOf } from "./api.js";
import { h, shortNameOf, visible } from "./dom.js";

const LETTERS = [10, 14]; // of a name below a small and a large picture

/** A picture in a row; `note` stands below its name. */
export function item(app, { id, path }, { note = "", kind = "", large = false } = {}) {
  const name = path === undefined ? `image ${id}` : shortNameOf(path, LETTERS[large ? 1 : 0]);
  return h(
    "button",
    { type: "button", class: `item ${large ? "large" : ""}`, tabindex: -1, "data-id": id, title: path === undefined ? null : visible(path), onclick: () => app.store.set({ image: id }) },
    h("span", { class: "picture" }, h("img", { src: thumbnailOf(id), alt: "", loading: "lazy", decoding: "async" })),
    h("span", { class: "name" }, name),
    note && h("span", { class: `note ${kind}` }, note),
  );
}

/** A list of rows, each an element with items and buttons. */
export function createRows(app, label) {
  const element = h("ol", { class: "rows", "aria-label": label });
  const parts = (row) => [...row.querySelectorAll(".item"), ...row.querySelectorAll(".small")];
  let current = null;

  function focus(button) {
    if (!button) return;
    if (current) current.tabIndex = -1;
    current = button;
    button.tabIndex = 0;
    button.focus({ preventScroll: true });
    button.closest("li").scrollIntoView({ block: "nearest" });
    if (app.store.values.image !== null && button.dataset.id) app.store.set({ image: Number(button.dataset.id) });
  }

  function key(event) {
    const row = event.target.closest("li");
    if (!row || event.ctrlKey || event.metaKey || event.altKey) return;
    const [buttons, rows] = [parts(row), [...element.children]];
    const [place, at] = [buttons.indexOf(event.target), rows.indexOf(row)];
    const other = (next) => rows[next] && parts(rows[next])[0];
    const found = {
      j: () => other(at + 1),
      ArrowDown: () => other(at + 1),
      k: () => other(at - 1),
      ArrowUp: () => other(at - 1),
      Home: () => other(0),
      End: () => other(rows.length - 1),
      ArrowRight: () => buttons[place + 1],
      ArrowLeft: () => buttons[place - 1],
    }[event.key];
    if (!found) return;
    event.preventDefault();
    focus(found());
  }

  function show(rows) {
    element.replaceChildren(...rows);
    for (const button of element.querySelectorAll("button")) button.tabIndex = -1;
    current = element.querySelector(".item");
    if (current) current.tabIndex = 0;
  }

  element.addEventListener("keydown", key);
  element.addEventListener("focusin", (event) => {
    if (event.target === current || event.target.tagName !== "BUTTON") return;
    if (current) current.tabIndex = -1;
    current = event.target;
    current.tabIndex = 0;
  });
  const mark = () => {
    const { image, picked } = app.store.values;
    for (const button of element.querySelectorAll("[data-id]")) {
      button.classList.toggle("open", Number(button.dataset.id) === image);
      button.classList.toggle("picked", picked.has(Number(button.dataset.id)));
    }
  };
  app.store.on("image picked", mark);
  return { element, show: (rows) => { show(rows); mark(); } };
}

/** A tab that loads its rows when it is first opened. `load` returns { rows, told, buttons } of the list. */
export function createListTab(app, { name, label, waiting, nothing, load }) {
  const rows = createRows(app, label);
  const bar = h("div", { class: "bar" });
  const message = h("p", { class: "empty", role: "status" });
  const element = h("div", { class: "tab-body" }, bar, message, h("div", { class: "scroll" }, rows.element));
  let state = "new";

  async function open() {
    if (state !== "new") return;
    state = "loading";
    [message.textContent, message.hidden] = [waiting, false];
    try {
      const found = await load();
      rows.show(found.rows);
      bar.replaceChildren(h("p", { class: "size" }, found.told), ...(found.buttons ?? []));
      [message.textContent, message.hidden, state] = [nothing, found.rows.length > 0, "there"];
      message.classList.remove("error");
    } catch (error) {
      state = "new";
      message.classList.add("error");
      const again = h("button", { type: "button", class: "small", onclick: open }, "Try again");
      message.replaceChildren(h("span", {}, error.message, " "), again);
    }
  }
  const opened = ({ tab }) => tab === name && open();
  app.store.on("tab", opened);
  return { element, start: () => opened(app.store.values) };
}
