// One tile of the grids through the whole training.

import { el } from "./dom.ts";

/** The most tiles: more do not fit next to each other. */
const TILES_MAX = 24;
/** How large a tile is drawn. */
const SIDE = 72;

/** Pixels between two tiles, as the runs draw their grids. */
const GAP = 2;

export class Strip {
  readonly element = el("section", { class: "strip", hidden: true });

  /** Cuts the tile at (x, y), 0 to 1 each way, out of these pictures, each with its words. Tiles have `side` pixels. */
  show(pictures: [string, string][], x: number, y: number, side: number): void {
    const every = Math.max(1, Math.ceil(pictures.length / TILES_MAX));
    const chosen = pictures.filter((_, index) => index % every === 0 || index === pictures.length - 1);
    const tiles = chosen.map(([url, words]) => tile(url, words, x, y, side));
    const title = el("h2", {}, "One tile through the training");
    const close = el("button", { type: "button", onclick: () => (this.element.hidden = true) }, "close");
    this.element.replaceChildren(el("div", { class: "row" }, title, close), el("div", { class: "tiles" }, ...tiles));
    this.element.hidden = false;
  }
}

function tile(url: string, words: string, x: number, y: number, side: number): HTMLElement {
  const canvas = el("canvas", { width: SIDE, height: SIDE, role: "img", "aria-label": words });
  const image = new Image();
  image.addEventListener("load", () => {
    const begin = (at: number) => GAP + Math.floor(Math.max(at - GAP, 0) / (side + GAP)) * (side + GAP);
    const [left, top] = [begin(x * image.naturalWidth), begin(y * image.naturalHeight)];
    const context = canvas.getContext("2d");
    if (!context) return;
    context.imageSmoothingEnabled = false;
    context.drawImage(image, left, top, side, side, 0, 0, SIDE, SIDE);
  });
  image.src = url;
  return el("figure", {}, canvas, el("figcaption", {}, words));
}
