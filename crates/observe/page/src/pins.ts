// Tiles that stay in sight while steps and runs change. They are in the link: `pin=3.0,0.7` are the tiles in the fourth column of
// the first row and in the first column of the eighth.

import { el } from "./dom.ts";
import * as place from "./place.ts";
import { type Spot, canvas, cut, decoded, inWords } from "./tile.ts";

/** How large a tile is drawn, and how many there may be. */
const SIZE = 112;
const PINS_MAX = 24;

/** A grid that is shown, and the side of its tiles. */
export interface Grid { url: string; words: string; side: number | null }

/** The tiles that are pinned. */
export function pinned(): Spot[] {
  const spots = (place.get("pin") ?? "").split(",").flatMap((text): Spot[] => {
    const found = /^(\d{1,4})\.(\d{1,4})$/.exec(text);
    return found ? [{ column: Number(found[1]), row: Number(found[2]) }] : [];
  });
  return spots.slice(0, PINS_MAX);
}

function note(spots: Spot[]): void {
  place.note({ pin: spots.length > 0 ? spots.map((spot) => `${spot.column}.${spot.row}`).join(",") : null });
}

const isSame = (a: Spot) => (b: Spot) => a.column === b.column && a.row === b.row;

/** Pins a tile, or takes its pin out. */
export function toggle(spot: Spot): void {
  const spots = pinned();
  const others = spots.filter((other) => !isSame(spot)(other));
  note(others.length < spots.length ? others : [...spots, spot].slice(-PINS_MAX));
}

export class Pins {
  readonly element = el("section", { class: "pins", hidden: true, "aria-label": "pinned tiles" });
  private laid = "";
  private wanted = "";
  private canvases: HTMLCanvasElement[][] = [];

  /** Draws the pinned tiles of these grids, once all of them are decoded. `changed` is called when a pin is taken out. */
  async show(grids: Grid[], changed: () => void): Promise<void> {
    const spots = pinned();
    const key = JSON.stringify([spots, grids]);
    if (key === this.wanted) return;
    this.wanted = key;
    this.element.hidden = spots.length === 0 || grids.every((grid) => grid.side === null);
    if (this.element.hidden) return;
    const images = await Promise.all(grids.map((grid) => decoded(grid.url)));
    // The slider has moved on.
    if (this.wanted !== key) return;
    this.lay(spots, grids.length, changed);
    grids.forEach((grid, index) => {
      const image = images[index];
      spots.forEach((spot, at) => {
        const drawn = this.canvases[at]?.[index];
        if (!drawn) return;
        const there = !!image && grid.side !== null && cut(image, spot, grid.side, drawn);
        if (!there) drawn.getContext("2d")?.clearRect(0, 0, drawn.width, drawn.height);
        drawn.setAttribute("aria-label", there ? `${inWords(spot)} of ${grid.words}` : `${grid.words} has no such tile`);
        drawn.dataset.shown = there ? grid.url : "";
      });
    });
  }

  /** Makes the figures; they stay while only steps change, and with them the reader's focus. */
  private lay(spots: Spot[], sides: number, changed: () => void): void {
    const key = JSON.stringify([spots, sides]);
    if (key === this.laid) return;
    this.laid = key;
    this.canvases = spots.map((spot) => Array.from({ length: sides }, () => canvas(SIZE, inWords(spot))));
    const figures = spots.map((spot, at) => {
      const out = el("button", { type: "button", "aria-label": `unpin ${inWords(spot)}` }, "unpin");
      out.addEventListener("click", () => {
        toggle(spot);
        changed();
      });
      const tiles = el("div", { class: "tiles" }, ...(this.canvases[at] ?? []));
      return el("figure", {}, tiles, el("figcaption", {}, inWords(spot), " ", out));
    });
    this.element.replaceChildren(el("h2", {}, "Pinned tiles"), el("div", { class: "tiles" }, ...figures));
  }
}
