// What is shown beside the pointer: the thumbnail and the name of the image under it.

import { knownName, namesOf, thumbnailOf } from "../api.js";
import { debounced, h, nameOf } from "../dom.js";
import { valueText } from "../values.js";

export function createHover(app, stage, changed) {
  const picture = h("img", { alt: "", width: 96, height: 96 });
  const name = h("span", { class: "name" });
  const value = h("span", { class: "muted" });
  const element = h("div", { class: "hover", hidden: true }, picture, name, value);
  let current = null;

  const ask = debounced(async (id) => {
    await namesOf([id]).catch(() => null);
    if (id === current) write(id);
  }, 60);

  function write(id) {
    const path = knownName(id);
    name.textContent = path === undefined ? "" : nameOf(path);
    value.textContent = valueText(app.store.values.column, id);
    if (path === undefined) ask(id);
  }

  function show(id, left, top) {
    stage.classList.toggle("on-image", id !== null);
    if (id === null) return hide();
    if (id !== current) {
      current = id;
      picture.src = thumbnailOf(id);
      write(id);
      changed(id);
    }
    element.hidden = false;
    const [width, height] = [element.offsetWidth, element.offsetHeight];
    const x = left + 18 + width > stage.clientWidth ? left - width - 14 : left + 18;
    const y = Math.max(4, Math.min(top - 20, stage.clientHeight - height - 4));
    element.style.transform = `translate(${Math.round(x)}px, ${Math.round(y)}px)`;
  }

  function hide() {
    if (current === null) return;
    current = null;
    element.hidden = true;
    changed(null);
  }

  return { element, show, hide };
}
