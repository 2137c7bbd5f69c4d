// The value of a column of an image, as text.

import { MISSING } from "./colours.js";
import { number, time, visible } from "./dom.js";

export function valueText(column, id) {
  if (!column || column.type === "text") return "";
  if (column.type === "category") {
    const code = column.codes[id];
    if (code === MISSING) return `${column.name}: unknown`;
    return column.name === "cluster" ? `cluster ${column.names[code]}` : visible(column.names[code]);
  }
  const value = column.values[id];
  return `${column.name} ${column.type === "time" ? time(value, true) : number(value)}`;
}
