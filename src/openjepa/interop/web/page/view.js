// The parts of the page that are made here: elements, places to drop an image on, tiles with a name and a cosine.

export function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

const lastPart = (name) => name.slice(name.lastIndexOf("/") + 1);

// A button with a thumbnail, its name and, where there is one, a cosine from 0 to 1.
export function tile(picture, name, cosine, chosen) {
  const lines = [picture];
  if (cosine !== undefined) {
    lines.push(make("span", { className: "cosine" }, cosine.toFixed(2)));
    lines.push(make("span", { className: "name" }, lastPart(name)));
  }
  const button = make("button", { type: "button", className: "tile", title: name, onclick: chosen }, ...lines);
  if (cosine === undefined) button.ariaLabel = name;
  return button;
}

// The crop that the encoder reads, pixel by pixel.
function draw(canvas, { pixels, size: [rows, columns], channels }) {
  canvas.width = columns;
  canvas.height = rows;
  const data = new ImageData(columns, rows);
  for (let i = 0; i < rows * columns; i += 1)
    for (let c = 0; c < 4; c += 1)
      data.data[4 * i + c] = c === 3 ? 255 : pixels[i * channels + (channels === 1 ? 0 : c)];
  canvas.getContext("2d").putImageData(data, 0, 0);
}

function picked(event) {
  const files = [...(event.dataTransfer?.files ?? event.target.files)];
  return files.find((file) => file.type.startsWith("image/")) ?? files[0];
}

// A place for one image: {element, image, show(blob), showThumbnail(picture, name), showSeen(crop)}.
export function dropZone(label, given) {
  const input = make("input", { type: "file", accept: "image/*", className: "unseen" });
  const picture = make("div", { className: "picture" });
  const hint = make("span", { className: "hint" }, make("strong", {}, label), "Drop one here, paste it, or choose a file");
  const zone = make("label", { className: "zone" }, input, picture, hint);
  const canvas = make("canvas", { ariaLabel: "what the encoder sees" });
  const crop = make("figure", { className: "seen", hidden: true }, canvas,
    make("figcaption", {}, "What the encoder sees"));
  const here = { element: make("div", { className: "query" }, zone, crop), image: undefined };

  const fill = (shown, title) => {
    picture.replaceChildren(shown);
    picture.title = title;
    zone.classList.add("filled");
    crop.hidden = true;
  };
  here.show = (image) => {
    here.image = image;
    const shown = make("img", { alt: image.name || label, src: URL.createObjectURL(image) });
    shown.onload = shown.onerror = () => URL.revokeObjectURL(shown.src);
    fill(shown, image.name || "");
  };
  here.showThumbnail = (thumbnail, name) => {
    here.image = undefined;
    fill(thumbnail, name);
  };
  here.showSeen = (seen) => {
    draw(canvas, seen);
    crop.hidden = false;
  };

  const take = (event) => {
    const image = picked(event);
    if (image) given(image);
    input.value = "";
  };
  input.onchange = take;
  zone.ondragover = (event) => {
    event.preventDefault();
    zone.classList.add("over-it");
  };
  zone.ondragleave = () => zone.classList.remove("over-it");
  zone.ondrop = (event) => {
    event.preventDefault();
    zone.classList.remove("over-it");
    take(event);
  };
  return here;
}
