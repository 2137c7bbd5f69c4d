// Light or dark: as the system is, or as the person chose here.

const KEY = "openjepa-theme";
const system = matchMedia("(prefers-color-scheme: dark)");

function chosen() {
  try {
    return localStorage.getItem(KEY);
  } catch {
    return null; // storage is switched off
  }
}

export function currentTheme() {
  return ["light", "dark"].find((theme) => theme === chosen()) ?? (system.matches ? "dark" : "light");
}

export function followTheme(store) {
  const show = ({ theme }) => (document.documentElement.dataset.theme = theme);
  store.on("theme", show);
  show(store.values);
  system.addEventListener("change", () => store.set({ theme: currentTheme() }));
}

export function switchTheme(store) {
  const theme = store.values.theme === "dark" ? "light" : "dark";
  try {
    localStorage.setItem(KEY, theme);
  } catch {
    // it holds until the page is closed
  }
  store.set({ theme });
}

/** A colour of the style sheet, as [r, g, b] of 0 to 1. */
export function variable(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

export function rgb(hex) {
  return [1, 3, 5].map((start) => parseInt(hex.slice(start, start + 2), 16) / 255);
}
