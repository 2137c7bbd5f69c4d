// The head of the page: what the index is, how its model was judged, the filter, and what holds for the whole page.

import { count, counted, h, iconButton, number, visible } from "./dom.js";
import { showHelp } from "./help.js";

const KINDS = {
  healthy: "good",
  weak: "warn",
  "not learning": "warn",
  collapsed: "bad",
  "positional collapse": "bad",
  "dimensional collapse": "bad",
  unstable: "bad",
};
const ICONS = {
  light: "M8 5a3 3 0 1 0 0 6 3 3 0 0 0 0-6ZM8 1v1.5M8 13.5V15M1 8h1.5M13.5 8H15M3 3l1 1M12 12l1 1M13 3l-1 1M4 12l-1 1",
  dark: "M13.5 9.5A6 6 0 0 1 6.5 2.5a6 6 0 1 0 7 7Z",
  help: "M8 14.5a6.5 6.5 0 1 0 0-13 6.5 6.5 0 0 0 0 13ZM6 6.2C6.1 5 7 4.4 8 4.4s2 .7 2 1.8c0 1.3-2 1.4-2 2.9M8 11.4v.2",
};

export function createHeader(app) {
  const { index } = app;
  const model = visible(String(index.model).split("/").at(-1));
  const about = [counted(index.images, "image"), model, `${count(index.dimensions)} dimensions`];
  const title = h("div", { class: "title" }, h("h1", {}, visible(index.name)), h("p", { class: "muted", title: visible(index.model) }, about.join(" · ")));
  return h("header", { class: "head" }, title, verdict(index.run), createFilter(app), buttons(app));
}

function verdict(run) {
  if (!run?.verdict) return h("span", { class: "verdict" });
  const badge = h("span", { class: `badge ${KINDS[run.verdict] ?? "calm"}`, title: "How the run of the model was judged" }, visible(run.verdict));
  const known = run.rank !== null && run.rank !== undefined;
  const rank = known && h("span", { class: "muted", title: "Effective rank of the model's embeddings: how many directions they use" }, `rank ${number(Math.round(run.rank * 10) / 10)}`);
  return h("p", { class: "verdict" }, badge, rank);
}

function buttons(app) {
  const choose = h("input", { type: "file", accept: "image/*", class: "unseen", tabindex: -1, "aria-hidden": "true", "aria-label": "Picture" });
  choose.addEventListener("change", () => {
    app.queries.withFile(choose.files[0]);
    choose.value = "";
  });
  const file = h("button", { type: "button", class: "with-icon", title: "Or drop or paste a picture anywhere", onclick: () => choose.click() }, "Search with a picture");
  const theme = iconButton(ICONS.dark, "Dark", app.switchTheme);
  const show = () => {
    const next = app.store.values.theme === "dark" ? "light" : "dark";
    theme.replaceChildren(iconButton(ICONS[next], "", null).firstChild);
    theme.title = next === "dark" ? "Dark colours" : "Light colours";
    theme.setAttribute("aria-label", theme.title);
  };
  app.store.on("theme", show);
  show();
  const help = iconButton(ICONS.help, "Keys and help (?)", () => showHelp());
  return h("div", { class: "buttons" }, file, choose, theme, help);
}

function createFilter(app) {
  const { store, index } = app;
  const example = exampleOf(index);
  const field = h("input", {
    id: "where",
    type: "text",
    placeholder: example,
    autocomplete: "off",
    spellcheck: "false",
    maxlength: 2000,
    "aria-describedby": "where-error",
  });
  const error = h("p", { id: "where-error", class: "error", role: "alert" });
  const clear = h("button", { type: "button", class: "small", onclick: () => { field.value = ""; app.selection.filter(""); } }, "Clear");
  const submit = (event) => {
    event.preventDefault();
    app.selection.filter(field.value.trim());
  };
  const line = h("div", { class: "filter-line" }, h("label", { for: "where" }, "Filter"), field, h("button", { class: "small" }, "Apply"), clear);
  function show({ where, whereError }) {
    error.textContent = whereError;
    error.hidden = !whereError;
    field.setAttribute("aria-invalid", whereError !== "");
    clear.disabled = !where && !field.value;
    if (!whereError && document.activeElement !== field) field.value = where;
  }
  field.addEventListener("input", () => (clear.disabled = !field.value && !store.values.where));
  store.on("where whereError", show);
  field.value = store.values.where;
  show(store.values);
  return h("form", { class: "filter", role: "search", onsubmit: submit }, line, error);
}

function exampleOf({ columns, labels }) {
  const [label] = labels;
  const wide = columns.some(({ name }) => name === "width") ? "width >= 640" : "";
  const named = label ? `${label} = '…'` : "folder like 'a%'";
  return [wide, named].filter(Boolean).join(" and ");
}
