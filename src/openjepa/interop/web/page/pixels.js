// What the encoder sees of an image: the same box, the same antialiased bicubic to the last bit, the same statistics as
// openjepa in Python. A browser's own scaling is another one. Images are Uint8ClampedArrays, row by row, channels last.

const BITS = 22; // of the fraction of an integer weight: 255 * 2^22 and its overshoot fit into 32 bits
const SUPPORT = 2; // pixels of the output on each side that the kernel reaches
const ROUNDING = 1e-9;

// The box [left, top, right, bottom] that is seen of an image of width x height, for a size [rows, columns].
export function seenBox(width, height, [rows, columns], maxStretch) {
  const aspect = columns / rows;
  const factor = (width * rows) / (height * columns);
  if (Math.max(factor, 1 / factor) <= 1 + maxStretch + ROUNDING) return [0, 0, width, height];
  const across = Math.min(width, height * aspect);
  const down = Math.min(height, width / aspect);
  const left = (width - across) / 2;
  const top = (height - down) / 2;
  return [left, top, left + across, top + down];
}

// Cubic convolution with a = -0.5.
function bicubic(distance) {
  const x = Math.abs(distance);
  if (x < 1) return (1.5 * x - 2.5) * x * x + 1;
  return x < 2 ? ((-0.5 * x + 2.5) * x - 4) * x + 2 : 0;
}

// For each of `count` outputs: the first input it is made of, and the integer weights of that and the next ones.
function weightsOf(length, from, to, count) {
  const start = Math.fround(from);
  const scale = Math.fround(Math.fround(to) - start) / count;
  const widening = Math.max(scale, 1);
  return Array.from({ length: count }, (_, place) => {
    const centre = start + (place + 0.5) * scale;
    const first = Math.max(0, Math.trunc(centre - SUPPORT * widening + 0.5));
    const end = Math.min(length, Math.trunc(centre + SUPPORT * widening + 0.5));
    const exact = Array.from({ length: end - first }, (_, k) => bicubic((k + first - centre + 0.5) * (1 / widening)));
    const sum = exact.reduce((total, weight) => total + weight, 0);
    const whole = exact.map((weight) => (weight / sum) * 2 ** BITS);
    return { first, weights: Int32Array.from(whole, (weight) => Math.trunc(weight + (weight < 0 ? -0.5 : 0.5))) };
  });
}

function weighted(source, start, step, weights) {
  let sum = 2 ** (BITS - 1);
  for (let k = 0, place = start; k < weights.length; k += 1, place += step) sum += source[place] * weights[k];
  return sum >> BITS; // a Uint8ClampedArray clips it
}

// [rows, width, channels] to [rows, columns, channels], a column for each of the weights.
function narrowed(image, rows, width, channels, across) {
  const columns = across.length;
  const found = new Uint8ClampedArray(rows * columns * channels);
  for (let row = 0; row < rows; row += 1)
    across.forEach(({ first, weights }, column) => {
      for (let c = 0; c < channels; c += 1)
        found[(row * columns + column) * channels + c] =
          weighted(image, (row * width + first) * channels + c, channels, weights);
    });
  return found;
}

// Lines of `length` values to as many lines as there are weights.
function shortened(image, length, down) {
  const found = new Uint8ClampedArray(down.length * length);
  down.forEach(({ first, weights }, row) => {
    for (let place = 0; place < length; place += 1)
      found[row * length + place] = weighted(image, first * length + place, length, weights);
  });
  return found;
}

// A box of an image [height, width, channels] at a size [rows, columns]. It is made less wide first, and less high first
// where it loses more than twice as many rows as columns: as Pillow does from version 13 on, since both passes round.
export function resized(image, width, height, channels, [rows, columns], [left, top, right, bottom]) {
  const across = weightsOf(width, left, right, columns);
  const down = weightsOf(height, top, bottom, rows);
  if (height > rows && height - rows > 2 * (width - columns))
    return narrowed(shortened(image, width * channels, down), rows, width, channels, across);
  const start = down[0].first; // of the rows that are needed
  const end = down[rows - 1].first + down[rows - 1].weights.length;
  const line = width * channels;
  const narrow = narrowed(image.subarray(start * line, end * line), end - start, width, channels, across);
  return shortened(narrow, columns * channels, down.map((each) => ({ ...each, first: each.first - start })));
}

// Opaque RGBA as the encoder reads it: red, green and blue, or grey (ITU-R BT.601, in 65,536ths).
export function inChannels(rgba, channels) {
  const count = rgba.length / 4;
  const image = new Uint8ClampedArray(count * channels);
  for (let i = 0; i < count; i += 1) {
    const [red, green, blue] = [rgba[4 * i], rgba[4 * i + 1], rgba[4 * i + 2]];
    if (channels === 1) image[i] = (red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16;
    else image.set([red, green, blue], 3 * i);
  }
  return image;
}

// 8-bit values [rows, columns, channels] as the network takes them: float32 [channels, rows, columns].
export function standardised(image, mean, std) {
  const channels = mean.length;
  const count = image.length / channels;
  const values = new Float32Array(image.length);
  for (let c = 0; c < channels; c += 1) {
    const shift = Math.fround(Math.fround(mean[c]) * 255);
    const scale = Math.fround(Math.fround(std[c]) * 255);
    for (let i = 0; i < count; i += 1) values[c * count + i] = Math.fround(image[i * channels + c] - shift) / scale;
  }
  return values;
}
