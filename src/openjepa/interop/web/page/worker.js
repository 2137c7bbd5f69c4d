// Decodes images and runs the encoder, so that the page stays responsive.
// It takes {kind: "open", file} and {kind: "embed", id, image: Blob}, and answers each in order.
import { inChannels, resized, seenBox, standardised } from "./pixels.js";

let runtime; // onnxruntime-web
let session;
let facts; // encoder.json
let queue = Promise.resolve();

async function fetched(name) {
  const answer = await fetch(name);
  if (!answer.ok) throw new Error(`${name} could not be loaded (${answer.status})`);
  return answer;
}

async function about() {
  facts ??= await (await fetched("encoder.json")).json();
  return facts;
}

// The bytes of a file, with news of how many have come.
async function bytesOf(name) {
  const answer = await fetched(name);
  const total = Number(answer.headers.get("Content-Length"));
  if (!total || !answer.body) return new Uint8Array(await answer.arrayBuffer());
  const parts = [];
  let done = 0;
  for (const reader = answer.body.getReader(); ; ) {
    const { value, done: ended } = await reader.read();
    if (ended) break;
    parts.push(value);
    done += value.length;
    postMessage({ kind: "loading", done, total });
  }
  return new Uint8Array(await new Blob(parts).arrayBuffer());
}

async function open({ file }) {
  session = undefined;
  const [bytes] = await Promise.all([bytesOf(file), about()]);
  try {
    runtime ??= await import("./ort.wasm.bundle.min.mjs");
  } catch {
    throw new Error("onnxruntime-web is missing: run npm install in the folder of this page, and reload");
  }
  runtime.env.wasm.numThreads = self.crossOriginIsolated ? Math.min(4, navigator.hardwareConcurrency || 1) : 1;
  session = await runtime.InferenceSession.create(bytes, { executionProviders: ["wasm"] });
  postMessage({ kind: "ready", file });
}

// Upright pixels on white, without conversion of colours: {data, width, height}.
async function decoded(image) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(image, { colorSpaceConversion: "none", imageOrientation: "from-image" });
  } catch {
    throw new Error("this file is no image that the browser can read");
  }
  const { width, height } = bitmap;
  const canvas = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  canvas.fillStyle = "white";
  canvas.fillRect(0, 0, width, height);
  canvas.drawImage(bitmap, 0, 0);
  bitmap.close();
  return canvas.getImageData(0, 0, width, height);
}

async function seen(image) {
  const { image_size: size, max_stretch: stretch, mean } = await about();
  const { data, width, height } = await decoded(image);
  const box = seenBox(width, height, size, stretch);
  return resized(inChannels(data, mean.length), width, height, mean.length, size, box);
}

async function embed({ id, image }) {
  const pixels = await seen(image);
  const { image_size: size, mean, std } = facts;
  postMessage({ kind: "seen", id, pixels, size, channels: mean.length });
  if (!session) throw new Error("the encoder is not loaded");
  const start = performance.now();
  const input = new runtime.Tensor("float32", standardised(pixels, mean, std), [1, mean.length, ...size]);
  const { embedding } = await session.run({ pixel_values: input }, ["embedding"]);
  postMessage({ kind: "embedded", id, vector: Float32Array.from(embedding.data), ms: performance.now() - start });
}

onmessage = ({ data }) => {
  const work = { open, embed }[data.kind];
  queue = queue.then(() => work(data)).catch((error) => {
    postMessage({ kind: "failed", of: data.kind, id: data.id, why: error.message });
  });
};
