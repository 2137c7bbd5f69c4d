// The lists of the index: copies in groups, odd images with their neighbours, clusters with typical images.

import { getJson, knownName, learnNames, namesOf } from "./api.js";
import { count, counted, h, number } from "./dom.js";
import { createListTab, item } from "./rows.js";
import { categorySelection } from "./selection.js";

const TOP = 200; // outliers
const [NEAR, FEW] = [5, 7]; // neighbours and typical images in a row

const imageOf = (id) => ({ id, path: knownName(id) });
const small = (text, onclick, title) => h("button", { type: "button", class: "small", onclick, title }, text);

function pick(app, ids) {
  app.store.set({ picked: new Set([...app.store.values.picked, ...ids]) });
  app.say(`${counted(ids.length, "image")} picked: see the tab Images to export them`);
}

export function createDuplicatesTab(app) {
  const copiesOf = ({ keep, images }) => images.map(({ id }) => id).filter((id) => id !== keep);

  function row(group, place) {
    const first = group.images.find(({ id }) => id === group.keep);
    const images = [...(first ? [first] : []), ...group.images.filter((image) => image !== first)];
    const items = images.map((image) => {
      const kept = image.id === group.keep;
      return item(app, image, { note: kept ? "keep" : image.kind, kind: kept ? "keep" : "copy", large: true });
    });
    const head = h("p", { class: "row-head" }, h("strong", {}, `Group ${place + 1}`), h("span", { class: "muted" }, counted(images.length, "image")), small("Pick the copies", () => pick(app, copiesOf(group))));
    return h("li", { class: "row" }, head, h("div", { class: "items" }, items));
  }

  async function load() {
    const { groups, total } = await getJson("/api/duplicates");
    groups.forEach(({ images }) => learnNames(images));
    const copies = groups.flatMap(copiesOf);
    const all = (total ?? groups.length) > groups.length ? `The first ${count(groups.length)} of ${count(total)} groups` : counted(groups.length, "group");
    const buttons = groups.length ? [small("Pick all copies", () => pick(app, copies), "All images but the one to keep of each group")] : [];
    return { rows: groups.map(row), told: `${all}, ${count(copies.length)} ${copies.length === 1 ? "copy" : "copies"}`, buttons };
  }
  return createListTab(app, {
    name: "duplicates",
    label: "Groups of copies",
    waiting: "Comparing all images…",
    nothing: "No copies were found among these images.",
    load,
  });
}

export function createOutliersTab(app) {
  function row(outlier, place) {
    const head = h("p", { class: "row-head" }, h("strong", {}, `${place + 1}`), h("span", { class: "muted" }, `score ${number(outlier.score)}`));
    const near = outlier.neighbours.slice(0, NEAR).map((id) => item(app, imageOf(id)));
    const strip = h("div", { class: "items" }, item(app, outlier, { large: true }), h("span", { class: "between muted" }, "nearest"), near);
    return h("li", { class: "row" }, head, strip);
  }

  async function load() {
    const { images } = await getJson(`/api/outliers?top=${TOP}`);
    learnNames(images);
    await namesOf([...new Set(images.flatMap(({ neighbours }) => neighbours.slice(0, NEAR)))]);
    const colour = small("Colour the map", () => app.store.set({ color: "outlier" }), "Colour the map by the outlier score");
    return { rows: images.map(row), told: `The ${count(images.length)} oddest images`, buttons: images.length ? [colour] : [] };
  }
  return createListTab(app, {
    name: "outliers",
    label: "Odd images",
    waiting: "Comparing each image with its neighbours…",
    nothing: "There are too few images to say which are odd.",
    load,
  });
}

export function createClustersTab(app) {
  function row({ cluster, size, typical, nearest }) {
    const select = () => app.store.set({ sel: categorySelection("cluster", String(cluster)), tab: "images" });
    const near = nearest === null || nearest === undefined ? "" : `, nearest to cluster ${nearest}`;
    const head = h("p", { class: "row-head" }, h("strong", {}, `Cluster ${cluster}`), h("span", { class: "muted" }, counted(size, "image") + near), small("Show its images", select));
    const items = typical.slice(0, FEW).map((id) => item(app, imageOf(id)));
    return h("li", { class: "row" }, head, h("div", { class: "items" }, items));
  }

  async function load() {
    const { clusters } = await getJson("/api/clusters");
    await namesOf([...new Set(clusters.flatMap(({ typical }) => typical.slice(0, FEW)))]);
    const colour = small("Colour the map", () => app.store.set({ color: "cluster" }), "Colour the map by cluster");
    return { rows: clusters.map(row), told: counted(clusters.length, "cluster"), buttons: clusters.length ? [colour] : [] };
  }
  return createListTab(app, {
    name: "clusters",
    label: "Clusters",
    waiting: "Dividing the images into clusters…",
    nothing: "There are too few images for clusters.",
    load,
  });
}
