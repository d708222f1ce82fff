// One tile of the grids through the whole training.

import { el } from "./dom.ts";
import { type Spot, canvas, cut, decoded, inWords } from "./tile.ts";

/** The most tiles: more do not fit next to each other. */
const TILES_MAX = 24;
/** How large a tile is drawn. */
const SIZE = 72;

export class Strip {
  readonly element = el("section", { class: "strip", hidden: true });

  /** Cuts the tile out of these pictures, each with its words. Tiles have `side` pixels. `pin` keeps it in sight. */
  show(pictures: [string, string][], spot: Spot, side: number, pin: () => void): void {
    const every = Math.max(1, Math.ceil(pictures.length / TILES_MAX));
    const chosen = pictures.filter((_, index) => index % every === 0 || index === pictures.length - 1);
    const tiles = chosen.map(([url, words]) => tile(url, words, spot, side));
    const title = el("h2", {}, "One tile through the training");
    const button = (text: string, press: () => void) => el("button", { type: "button", onclick: press }, text);
    const head = el(
      "div",
      { class: "row" },
      title,
      el("span", { class: "hint" }, inWords(spot)),
      button("pin this tile", pin),
      button("close", () => (this.element.hidden = true)),
    );
    this.element.replaceChildren(head, el("div", { class: "tiles" }, ...tiles));
    this.element.hidden = false;
  }
}

function tile(url: string, words: string, spot: Spot, side: number): HTMLElement {
  const drawn = canvas(SIZE, words);
  void decoded(url).then((grid) => grid && cut(grid, spot, side, drawn));
  return el("figure", {}, drawn, el("figcaption", {}, words));
}
