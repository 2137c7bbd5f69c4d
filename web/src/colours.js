// Colours of points. Categories: ten hues that are told apart under the usual colour blindnesses (after Okabe and Ito
// 2008, and Tol's muted scheme), then the same hues darker or lighter. Numbers: viridis, as in the reports.

const HUES = {
  light: ["#1f66b3", "#c27c1e", "#117a65", "#b0306a", "#6a51a3", "#8c6d1f", "#2a9fd6", "#d0453e", "#5b6b2f", "#7a4a2b"],
  dark: ["#6fb0f2", "#e3a655", "#3fc0a0", "#f07fb0", "#b39df0", "#d8c35a", "#7fd6f5", "#f2857c", "#a9c46c", "#c99a78"],
};
const VIRIDIS = ["#440154", "#482878", "#3e4a89", "#31688e", "#26828e", "#1f9e89", "#35b779", "#6ece58", "#b5de2b", "#fde725"];
const ENDS = { light: [0, 0.9], dark: [0.12, 1] }; // the part of viridis that stands out from the paper
const GREY = { light: "#a8b0bb", dark: "#5a6472" };
export const NAMED = 30; // categories with a colour of their own
export const MISSING = 255;

const channels = (hex) => [1, 3, 5].map((start) => parseInt(hex.slice(start, start + 2), 16));
const hexOf = (rgb) => `#${rgb.map((value) => Math.round(value).toString(16).padStart(2, "0")).join("")}`;

function mixed(first, second, part) {
  const [from, to] = [channels(first), channels(second)];
  return hexOf(from.map((value, place) => value + (to[place] - value) * part));
}

/** The colour of a category by its place; 0 is the most frequent one. */
export function categoryColour(place, theme) {
  if (place >= NAMED) return GREY[theme];
  const hue = HUES[theme][place % 10];
  const round = Math.floor(place / 10);
  return round === 0 ? hue : mixed(hue, round === 1 ? "#000000" : "#ffffff", 0.42);
}

/** The colour of a fraction 0 to 1 of a scale of numbers. */
export function scaleColour(fraction, theme) {
  const [low, high] = ENDS[theme];
  const place = (low + (high - low) * Math.min(1, Math.max(0, fraction))) * (VIRIDIS.length - 1);
  const under = Math.min(VIRIDIS.length - 2, Math.floor(place));
  return mixed(VIRIDIS[under], VIRIDIS[under + 1], place - under);
}

export function missingColour(theme) {
  return GREY[theme];
}

export function plainColour(theme) {
  return HUES[theme][0];
}

/** RGBA of the 256 codes of a column: uint8 [1024]. */
export function paletteOf(column, theme) {
  const palette = new Uint8Array(1024);
  for (let code = 0; code < 256; code++) {
    palette.set([...channels(colourOf(column, code, theme)), 255], 4 * code);
  }
  return palette;
}

export function colourOf(column, code, theme) {
  if (column === null) return plainColour(theme);
  if (code === MISSING) return missingColour(theme);
  if (column.type === "category") return categoryColour(column.places[code] ?? NAMED, theme);
  return scaleColour(code / 254, theme);
}
