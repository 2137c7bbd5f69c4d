// Lists of images as files that the browser saves.

import { postForFile } from "./api.js";
import { h } from "./dom.js";

const ENDINGS = { csv: "csv", paths: "txt" };

/** Saves a list of images: "csv" with their facts, or "paths". A label's `name` becomes a column. */
export async function save(app, ids, format, name = null) {
  try {
    const file = await postForFile("/api/export", { ids, format, name });
    const address = URL.createObjectURL(file);
    h("a", { href: address, download: `${name || "images"}.${ENDINGS[format]}` }).click();
    setTimeout(() => URL.revokeObjectURL(address), 10_000);
  } catch (error) {
    app.fail(error);
  }
}

export function exportButtons(app, idsOf, nameOf = () => null) {
  const button = (format, text) =>
    h("button", { type: "button", class: "small", onclick: () => save(app, idsOf(), format, nameOf()) }, text);
  const [table, list] = [button("csv", "Export CSV"), button("paths", "Paths")];
  const element = h("span", { class: "exports" }, table, list);
  function name(what) {
    table.title = `Save ${what} as a table with their facts`;
    list.title = `Save the paths of ${what}, one a line`;
  }
  return { element, name };
}
