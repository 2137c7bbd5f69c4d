// Elements and texts. Every text reaches the page by textContent; names of files have unseen characters spelled out.

const UNSEEN = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}\p{Cn}\p{Co}]/gu;

/** An element: h("button", { class: "small", onclick: f, "aria-label": "Close" }, "x"); null and false are left out. */
export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** A drawing of 16 by 16 units from the `d` of a path, drawn as a line. */
export function icon(path) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 16 16");
  svg.setAttribute("aria-hidden", "true");
  svg.setAttribute("class", "icon");
  const line = document.createElementNS("http://www.w3.org/2000/svg", "path");
  line.setAttribute("d", path);
  svg.append(line);
  return svg;
}

export function iconButton(path, label, onclick, more = {}) {
  return h("button", { type: "button", class: "icon-button", "aria-label": label, title: label, onclick, ...more }, icon(path));
}

/** The text with every character that is not seen, or that moves others, spelled out, as reports do. */
export function visible(text) {
  return String(text).replace(UNSEEN, (character) => {
    const code = character.codePointAt(0);
    const [letter, digits] = code < 256 ? ["x", 2] : code < 65536 ? ["u", 4] : ["U", 8];
    return `\\${letter}${code.toString(16).padStart(digits, "0")}`;
  });
}

export function nameOf(path) {
  return visible(path.slice(path.lastIndexOf("/") + 1) || path);
}

/** The name of a file with its middle left out where it is long: names often differ at their end. */
export function shortNameOf(path, most) {
  const name = nameOf(path);
  if (name.length <= most) return name;
  const bare = name.replace(/\.\w{2,5}$/, "");
  const end = Math.ceil((most - 1) * (most < 12 ? 1 : 0.65));
  return bare.length <= most ? bare : `${bare.slice(0, most - 1 - end)}…${bare.slice(-end)}`;
}

const WHOLE = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });
const PRECISE = new Intl.NumberFormat("en-US", { maximumSignificantDigits: 4 });

export function count(number) {
  return WHOLE.format(number);
}

export function counted(number, what) {
  return `${count(number)} ${what}${number === 1 ? "" : what.endsWith("s") ? "es" : "s"}`;
}

export function number(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return "unknown";
  return Number.isInteger(value) || Math.abs(value) >= 10000 ? WHOLE.format(value) : PRECISE.format(value);
}

/** Seconds since 1970 as a day, with the time of day where `fine`. */
export function time(seconds, fine = false) {
  if (Number.isNaN(seconds)) return "unknown";
  return new Date(seconds * 1000).toISOString().slice(0, fine ? 16 : 10).replace("T", " ");
}

export function bytes(size) {
  if (size === null || size === undefined) return "unknown";
  if (size < 1000) return `${size} B`;
  return size < 1e6 ? `${number(size / 1000)} kB` : `${number(size / 1e6)} MB`;
}

/** Runs `work` once, `delay` milliseconds after the last call. */
export function debounced(work, delay) {
  let timer = 0;
  return (...given) => {
    clearTimeout(timer);
    timer = setTimeout(() => work(...given), delay);
  };
}

/** Runs `work` at most once a frame. */
export function perFrame(work) {
  let waiting = false;
  return () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      work();
    });
  };
}

export function typing(event) {
  return event.target.closest("input, textarea, select") !== null;
}
