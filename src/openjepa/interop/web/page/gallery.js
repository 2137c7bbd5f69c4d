// The images that the folder brings along: their thumbnails, and the vectors that others are compared with.

const norm = (vector) => Math.hypot(...vector) || 1;

export function cosine(a, b) {
  return a.reduce((sum, value, i) => sum + value * b[i], 0) / (norm(a) * norm(b));
}

async function fetched(name) {
  const answer = await fetch(name);
  if (!answer.ok) throw new Error(`${name} could not be loaded (${answer.status})`);
  return answer;
}

// {images, nearest(vector), vectorOf(place), thumbnail(place)}; vectors are whitened as openjepa search has them.
export async function openGallery() {
  const facts = await (await fetched("gallery.json")).json();
  const numbers = new Float32Array(await (await fetched("gallery.bin")).arrayBuffer());
  const width = facts.width;
  const head = facts.whitened ? width + width * width : 0;
  const vectorOf = (place) => numbers.subarray(head + place * width, head + (place + 1) * width);

  function compared(embedding) {
    if (!facts.whitened) return embedding;
    const centred = embedding.map((value, i) => value - numbers[i]);
    const found = new Float32Array(width);
    for (let i = 0; i < width; i += 1)
      for (let j = 0; j < width; j += 1) found[j] += centred[i] * numbers[width + i * width + j];
    return found;
  }

  function order(vector, left = -1) {
    return facts.images
      .map((name, place) => ({ name, place, cosine: cosine(vector, vectorOf(place)) }))
      .filter(({ place }) => place !== left)
      .sort((a, b) => b.cosine - a.cosine);
  }

  function thumbnail(place) {
    const picture = document.createElement("span");
    const rows = Math.ceil(facts.images.length / facts.columns);
    const at = (index, count) => (count > 1 ? `${(100 * index) / (count - 1)}%` : "0%");
    picture.className = "thumbnail";
    picture.style.backgroundSize = `${100 * facts.columns}% ${100 * rows}%`;
    picture.style.backgroundPosition =
      `${at(place % facts.columns, facts.columns)} ${at(Math.floor(place / facts.columns), rows)}`;
    return picture;
  }

  return {
    images: facts.images,
    nearest: (embedding) => order(compared(embedding)),
    nearestTo: (place) => order(vectorOf(place), place),
    thumbnail,
  };
}
