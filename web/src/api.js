// Requests to the server of this page. A failure is an ApiError whose message is a sentence to show as it is.

const STOPPED = "The server of this page has stopped: run openjepa explore again, and open the address that it prints.";
const REFUSED = "This page is not let in any more: open the address that openjepa explore printed.";

export class ApiError extends Error {
  constructor(sentence, status) {
    super(sentence);
    this.status = status;
  }
}

async function sentenceOf(response) {
  try {
    const { error } = await response.json();
    if (typeof error === "string" && error) return error;
  } catch {
    // the answer has no sentence of its own
  }
  return response.status === 401 ? REFUSED : `The server answered ${response.status} to ${new URL(response.url).pathname}.`;
}

async function request(path, options = {}) {
  let response;
  try {
    response = await fetch(path, { credentials: "same-origin", ...options });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(STOPPED, 0);
  }
  if (!response.ok) throw new ApiError(await sentenceOf(response), response.status);
  return response;
}

function posted(value, signal) {
  return { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(value), signal };
}

export async function getJson(path, signal) {
  return (await request(path, { signal })).json();
}

export async function getBytes(path) {
  return (await request(path)).arrayBuffer();
}

export async function postJson(path, value, signal) {
  return (await request(path, posted(value, signal))).json();
}

export async function postForBytes(path, value, signal) {
  return (await request(path, posted(value, signal))).arrayBuffer();
}

export async function postForFile(path, value) {
  return (await request(path, posted(value))).blob();
}

export async function remove(path) {
  return (await request(path, { method: "DELETE" })).json();
}

export async function upload(file) {
  const type = file.type || "application/octet-stream";
  return (await request("/api/uploads", { method: "POST", headers: { "Content-Type": type }, body: file })).json();
}

let version = "";

/** The browser keeps thumbnails as long as the index is the same. */
export function keepThumbnails(opened) {
  version = opened ? `?v=${encodeURIComponent(opened)}` : "";
}

export function thumbnailOf(image) {
  return typeof image === "string" ? `/api/uploads/${image}` : `/api/thumbnails/${image}${version}`;
}

export function pictureOf(image, size) {
  return typeof image === "string" ? `/api/uploads/${image}` : `/api/images/${image}?size=${size}`;
}

const names = new Map();
const MOST_NAMES = 500;

/** The paths of some images by id, in a map that is filled as they are asked for. */
export async function namesOf(ids) {
  const missing = ids.filter((id) => !names.has(id));
  for (let start = 0; start < missing.length; start += MOST_NAMES) {
    const asked = missing.slice(start, start + MOST_NAMES);
    const { paths } = await getJson(`/api/names?ids=${asked.join(",")}`);
    asked.forEach((id, place) => names.set(id, paths[place]));
  }
  return names;
}

export function learnNames(images) {
  for (const { id, path } of images) names.set(id, path);
}

export function knownName(id) {
  return names.get(id);
}
