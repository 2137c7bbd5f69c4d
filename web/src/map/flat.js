// The same points on a plain canvas, where the browser has no WebGL2: squares of pixels, without transparency.

import { FAINT, pointSize } from "./renderer.js";
import { toScreen } from "./view.js";

export function createFlatRenderer(canvas) {
  const context = canvas.getContext("2d");
  const held = { points: null, codes: null, flags: null, palette: null };

  function stamp(pixels, left, top, side, colour) {
    for (let row = Math.max(0, top); row < Math.min(canvas.height, top + side); row++) {
      const start = row * canvas.width;
      pixels.fill(colour, start + Math.max(0, left), start + Math.min(canvas.width, left + side));
    }
  }

  function draw(view, ratio, grey) {
    if (!held.points || !canvas.width || !canvas.height) return;
    const image = context.createImageData(canvas.width, canvas.height);
    const pixels = new Uint32Array(image.data.buffer);
    const colours = new Uint32Array((held.palette ?? new Uint8Array(1024).fill(128)).slice().buffer);
    const pale = new Uint32Array(new Uint8ClampedArray([...grey.map((part) => 255 * part), 90]).buffer)[0];
    const images = held.points.length / 2;
    const side = Math.max(1, Math.round(pointSize(images, view.zoom) * ratio));
    for (const wanted of held.flags ? [FAINT, 1] : [1]) {
      for (let id = 0; id < images; id++) {
        if (held.flags && held.flags[id] !== wanted) continue;
        const [x, y] = toScreen(view, held.points[2 * id], held.points[2 * id + 1]);
        const colour = wanted === FAINT ? pale : colours[held.codes ? held.codes[id] : 0];
        stamp(pixels, Math.round(x * ratio - side / 2), Math.round(y * ratio - side / 2), side, colour);
      }
    }
    context.putImageData(image, 0, 0);
  }

  return { set: (changes) => Object.assign(held, changes), draw, partly: () => 0 };
}
