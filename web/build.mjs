// Builds the page: web/src -> app.js, app.css, index.html, LICENSES.txt and built.json, which has the hash of the sources.
// node build.mjs [FOLDER]
import { createHash } from "node:crypto";
import { copyFile, mkdir, readFile, readdir, writeFile } from "node:fs/promises";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const web = dirname(fileURLToPath(import.meta.url));
const target = process.argv[2] ?? join(web, "../src/openjepa/exploring/static");

async function sources() {
  const inside = await readdir(join(web, "src"), { recursive: true, withFileTypes: true });
  const files = inside.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  const named = ["build.mjs", "package.json", "package-lock.json"].map((name) => join(web, name));
  return [...named, ...files].map((file) => relative(web, file).replaceAll("\\", "/")).sort();
}

async function hashed(names) {
  const hash = createHash("sha256");
  for (const name of names) hash.update(`${name}\0`).update(await readFile(join(web, name))).update("\0");
  return hash.digest("hex");
}

await mkdir(target, { recursive: true });
const result = await build({
  absWorkingDir: web,
  entryPoints: { app: "src/main.js" },
  outdir: target,
  bundle: true,
  minify: true,
  format: "iife",
  target: ["es2022"],
  charset: "ascii",
  metafile: true,
  logLevel: "warning",
});
const foreign = Object.keys(result.metafile.inputs).filter((name) => name.includes("node_modules"));
if (foreign.length) throw new Error(`name the licences of what is bundled in src/LICENSES.txt: ${foreign}`);
for (const name of ["index.html", "LICENSES.txt"]) await copyFile(join(web, "src", name), join(target, name));
const built = { sources: await hashed(await sources()) };
await writeFile(join(target, "built.json"), `${JSON.stringify(built, null, 2)}\n`);
