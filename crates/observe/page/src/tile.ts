// Single samples cut out of a grid.

import { el } from "./dom.ts";

/** Pixels between two tiles, as the runs draw their grids. */
const GAP = 2;

/** A tile's place in its grid, counted from 0. */
export interface Spot { column: number; row: number }

/** The tile at these pixels of a grid whose tiles have `side` pixels. */
export function spotAt(x: number, y: number, side: number): Spot {
  const count = (at: number) => Math.floor(Math.max(at - GAP, 0) / (side + GAP));
  return { column: count(x), row: count(y) };
}

/** How many columns and rows a grid of this size has. */
export function spots(grid: HTMLImageElement, side: number): { columns: number; rows: number } {
  const count = (pixels: number) => Math.floor((pixels - GAP) / (side + GAP));
  return { columns: count(grid.naturalWidth), rows: count(grid.naturalHeight) };
}

/** Draws the tile onto a canvas, over all of it. False where the grid has no such tile. */
export function cut(grid: HTMLImageElement, spot: Spot, side: number, canvas: HTMLCanvasElement): boolean {
  const context = canvas.getContext("2d");
  const { columns, rows } = spots(grid, side);
  if (!context || spot.column >= columns || spot.row >= rows) return false;
  const [left, top] = [spot.column, spot.row].map((place) => GAP + place * (side + GAP)) as [number, number];
  context.imageSmoothingEnabled = false;
  context.drawImage(grid, left, top, side, side, 0, 0, canvas.width, canvas.height);
  return true;
}

/** A grid that is decoded; nothing where it cannot be read. The browser keeps it, so that asking again is cheap. */
export async function decoded(url: string): Promise<HTMLImageElement | null> {
  const image = new Image();
  image.src = url;
  return image.decode().then(() => image, () => null);
}

/** A canvas for a tile, with words for those who do not see it. */
export function canvas(size: number, words: string): HTMLCanvasElement {
  return el("canvas", { width: size, height: size, role: "img", "aria-label": words });
}

/** A tile in words, counted from 1 as people do. */
export const inWords = (spot: Spot) => `column ${spot.column + 1}, row ${spot.row + 1}`;
