// Points drawn by WebGL2: one buffer each of places, codes of colours and flags; a palette of 256 colours as a texture.

import { scaleOf } from "./view.js";

const VERTEX = `#version 300 es
in vec2 place;
in float code;
in float flag;
uniform vec2 centre;
uniform vec2 scale;
uniform float shift;
uniform float size;
uniform float wanted;
uniform sampler2D palette;
out vec3 colour;
void main() {
  gl_Position = flag == wanted ? vec4((place - centre) * scale + vec2(shift, 0.0), 0.0, 1.0) : vec4(2.0, 2.0, 2.0, 1.0);
  gl_PointSize = size;
  colour = texelFetch(palette, ivec2(int(code), 0), 0).rgb;
}`;

const FRAGMENT = `#version 300 es
precision highp float;
in vec3 colour;
uniform float size;
uniform float opacity;
uniform vec4 faint;
out vec4 pixel;
void main() {
  float radius = 2.0 * length(gl_PointCoord - 0.5);
  float alpha = size < 3.0 ? 1.0 : 1.0 - smoothstep(1.0 - 2.0 / size, 1.0, radius);
  vec4 full = vec4(mix(colour, faint.rgb, faint.a), 1.0);
  pixel = full * alpha * opacity;
}`;

export const SHOWN = 1;
export const FAINT = 0;
const MOVING = 40; // milliseconds of a picture while one moves

/** Pixels across a point: smaller the more there are, larger the closer one looks. */
export function pointSize(images, zoom) {
  const first = Math.min(10, Math.max(1.5, 28 * Math.max(1, images) ** -0.2));
  return Math.min(14, first * Math.max(1, zoom) ** 0.3);
}

export function pointOpacity(images, zoom) {
  const crowded = Math.min(1, Math.max(0, Math.log10(Math.max(1, images) / (5000 * Math.max(1, zoom) ** 2)) / 2.3));
  return 0.92 - 0.37 * crowded;
}

/** A renderer, or null where the browser has no WebGL2. */
export function createRenderer(canvas) {
  const gl = canvas.getContext("webgl2", { antialias: false, alpha: true, premultipliedAlpha: true });
  return gl && withContext(gl, canvas);
}

function withContext(gl, canvas) {
  const held = { points: null, codes: null, flags: null, palette: null, some: false };
  let made = prepared(gl);
  let [every, cost] = [1, null]; // every how many-th point the buffers give; milliseconds of a picture of all

  function upload(name, data) {
    const where = made.attributes[name];
    if (!data) return gl.disableVertexAttribArray(where);
    gl.bindBuffer(gl.ARRAY_BUFFER, made.buffers[name]);
    gl.bufferData(gl.ARRAY_BUFFER, data, gl.STATIC_DRAW);
    gl.enableVertexAttribArray(where);
    point(name);
  }

  function point(name) {
    const [size, type, bytes] = name === "place" ? [2, gl.FLOAT, 8] : [1, gl.UNSIGNED_BYTE, 1];
    gl.bindBuffer(gl.ARRAY_BUFFER, made.buffers[name]);
    gl.vertexAttribPointer(made.attributes[name], size, type, false, bytes * every, 0);
  }

  function take(next) {
    if (next === every) return;
    every = next;
    for (const [name, data] of [["place", held.points], ["code", held.codes], ["flag", held.flags]]) if (data) point(name);
  }

  const setters = {
    points: (data) => upload("place", data),
    codes: (data) => upload("code", data),
    flags: (data) => upload("flag", data),
    palette: (data) => data && gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, 256, 1, 0, gl.RGBA, gl.UNSIGNED_BYTE, data),
  };

  /** Gives points (float32 [2n]), codes and flags (uint8 [n]; null: all 0, all shown), palette (uint8 [1024]). */
  function set(changes) {
    Object.assign(held, changes);
    for (const [name, data] of Object.entries(changes)) setters[name](data);
    held.some = held.flags !== null && held.flags.includes(FAINT);
  }

  function pass(wanted, size, opacity, faint) {
    gl.vertexAttrib1f(made.attributes.code, 0);
    gl.vertexAttrib1f(made.attributes.flag, SHOWN);
    gl.uniform1f(made.uniforms.wanted, wanted);
    gl.uniform1f(made.uniforms.size, size);
    gl.uniform1f(made.uniforms.opacity, opacity);
    gl.uniform4fv(made.uniforms.faint, faint);
    gl.drawArrays(gl.POINTS, 0, Math.floor(held.points.length / 2 / every));
  }

  /** Draws all points; `quick` only so many of them as a slow machine draws in time, while one moves. */
  function draw(view, ratio, grey, quick = false) {
    take(quick && cost > MOVING ? Math.ceil(cost / MOVING) : 1);
    const begun = performance.now();
    drawn(view, ratio, grey);
    if (cost !== null || !held.points) return;
    gl.readPixels(0, 0, 1, 1, gl.RGBA, gl.UNSIGNED_BYTE, new Uint8Array(4)); // waits until it is drawn
    cost = performance.now() - begun;
  }

  function drawn(view, ratio, grey) {
    gl.viewport(0, 0, canvas.width, canvas.height);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT);
    if (!held.points?.length) return;
    const images = held.points.length / 2;
    const [scale, size] = [scaleOf(view), pointSize(images, view.zoom) * ratio];
    const opacity = pointOpacity(images, view.zoom);
    gl.uniform2f(made.uniforms.centre, view.x, view.y);
    gl.uniform2f(made.uniforms.scale, (2 * scale) / view.width, (2 * scale) / view.height);
    gl.uniform1f(made.uniforms.shift, (view.before - view.behind) / view.width);
    if (held.some) pass(FAINT, Math.max(1, size * 0.75), opacity * 0.28, [...grey, 1]);
    pass(SHOWN, size, opacity, [0, 0, 0, 0]);
  }

  canvas.addEventListener("webglcontextlost", (event) => event.preventDefault());
  canvas.addEventListener("webglcontextrestored", () => {
    made = prepared(gl);
    set({ points: held.points, codes: held.codes, flags: held.flags, palette: held.palette });
    canvas.dispatchEvent(new Event("again"));
  });
  return { set, draw, partly: () => (every > 1 ? cost : 0) };
}

function prepared(gl) {
  const program = gl.createProgram();
  for (const [type, text] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]]) {
    const shader = gl.createShader(type);
    gl.shaderSource(shader, text);
    gl.compileShader(shader);
    gl.attachShader(program, shader);
  }
  gl.linkProgram(program);
  if (!gl.getProgramParameter(program, gl.LINK_STATUS)) throw new Error(gl.getProgramInfoLog(program));
  gl.useProgram(program);
  gl.enable(gl.BLEND);
  gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
  gl.bindTexture(gl.TEXTURE_2D, gl.createTexture());
  for (const name of [gl.TEXTURE_MIN_FILTER, gl.TEXTURE_MAG_FILTER]) gl.texParameteri(gl.TEXTURE_2D, name, gl.NEAREST);
  const found = { attributes: {}, buffers: {}, uniforms: {} };
  for (const name of ["place", "code", "flag"]) {
    found.attributes[name] = gl.getAttribLocation(program, name);
    found.buffers[name] = gl.createBuffer();
  }
  for (const name of ["centre", "scale", "shift", "size", "opacity", "wanted", "faint"]) {
    found.uniforms[name] = gl.getUniformLocation(program, name);
  }
  return found;
}
