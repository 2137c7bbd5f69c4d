// What lies over the points: thumbnails in frames of their colour, rings around images in question, the lasso.

import { toScreen } from "./view.js";

const RINGS = 60; // results that are marked, at most

export function createOverlay(app, canvas, view, thumbnails) {
  const context = canvas.getContext("2d");
  const { store } = app;
  let [pointed, colour] = [null, () => "#888"];

  function thumbnail({ id, left, top, side }) {
    const picture = thumbnails.pictureOf(id);
    if (!picture) return;
    const part = side / Math.max(picture.naturalWidth, picture.naturalHeight);
    const [width, height] = [picture.naturalWidth * part, picture.naturalHeight * part];
    const [x, y] = [left + (side - width) / 2, top + (side - height) / 2];
    context.fillStyle = colour(id);
    context.fillRect(x - 2, y - 2, width + 4, height + 4);
    context.drawImage(picture, x, y, width, height);
  }

  function ring(id, radius, ink, width = 2) {
    if (typeof id !== "number") return;
    const [left, top] = toScreen(view, app.points[2 * id], app.points[2 * id + 1]);
    for (const [stroke, thick] of [[app.paper(), width + 2], [ink, width]]) {
      context.beginPath();
      context.arc(left, top, radius, 0, 2 * Math.PI);
      context.lineWidth = thick;
      context.strokeStyle = stroke;
      context.stroke();
    }
  }

  function lasso(line) {
    context.beginPath();
    line.forEach(([left, top]) => context.lineTo(left, top));
    context.closePath();
    context.globalAlpha = 0.14;
    context.fillStyle = app.accent();
    context.fill();
    context.globalAlpha = 1;
    context.lineWidth = 1.5;
    context.strokeStyle = app.accent();
    context.stroke();
  }

  function rings() {
    const { tab, results, image, yes, no } = store.values;
    if (tab === "search" && results) for (const { id } of results.slice(0, RINGS)) ring(id, 6, app.ink(), 1.5);
    if (tab === "label") {
      for (const id of yes) ring(id, 7, app.good());
      for (const id of no) ring(id, 7, app.bad());
    }
    ring(image, 11, app.accent(), 3);
    ring(pointed, 9, app.ink());
  }

  function draw(ratio, thumbs, line) {
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, view.width, view.height);
    thumbs.forEach(thumbnail);
    rings();
    if (line) lasso(line);
  }

  return { draw, point: (id) => (pointed = id), colours: (found) => (colour = found) };
}
