// One number over steps, of several runs: a line each, with the least and the greatest of every column of pixels behind it.

import uPlot from "uplot";
import { el } from "./dom.ts";
import { short, time, whole } from "./format.ts";
import { colour, runColour } from "./view.ts";

export type XKind = "step" | "kimg" | "hours" | "stepping" | "time";

/** One run's numbers. */
export interface Line {
  label: string;
  /** The run's place, which decides its colour. */
  place: number;
  x: number[];
  /** The step of each x. */
  steps: number[];
  mean: (number | null)[];
  min?: (number | null)[];
  max?: (number | null)[];
  smooth?: (number | null)[];
  /** The place of the best value, of a line of few values, which are drawn as dots. */
  best?: number | null;
}

export interface Look { kind: XKind; log: boolean }

/** What the reader does with a chart. */
export interface Hands {
  zoom?(from: number, until: number): void;
  reset?(): void;
  /** The step under the cursor. */
  point?(step: number): void;
}

const HEIGHT = 190;
/** Columns of a line in uPlot's table: max, min, mean, smooth, best. */
const COLUMNS = 5;
const DOT_PX = 6;
const BEST_PX = 13;

export class Chart {
  readonly figure: HTMLElement;
  private readonly box = el("div", { class: "plot" });
  private readonly readout = el("span", { class: "readout" });
  private plot: uPlot | null = null;
  private lines: Line[] = [];
  private look: Look = { kind: "step", log: false };
  private signature = "";

  constructor(
    readonly title: string,
    unit: string,
    help: string,
    private readonly hands: Hands = {},
  ) {
    const caption = el("figcaption", {}, el("strong", {}, title), unit ? ` ${unit}` : "", this.readout);
    this.figure = el("figure", { class: "chart", title: help }, caption, this.box);
    this.box.addEventListener("dblclick", () => this.hands.reset?.());
  }

  /** Draws these lines. */
  draw(lines: Line[], look: Look): void {
    [this.lines, this.look] = [lines, look];
    const data = table(lines, look.log);
    const width = Math.max(this.box.clientWidth, 120);
    const signature = JSON.stringify([look, lines.map((line) => [line.place, !!line.min, !!line.smooth, hasDots(line)]), width]);
    if (this.plot && signature === this.signature) {
      this.plot.setData(data);
    } else {
      this.plot?.destroy();
      this.plot = new uPlot(this.options(look, width), data, this.box);
      this.signature = signature;
    }
    this.read(null);
  }

  /** Colours have changed. */
  forget(): void {
    this.signature = "";
  }

  close(): void {
    this.plot?.destroy();
    this.plot = null;
  }

  private options(look: Look, width: number): uPlot.Options {
    const [text, grid] = [colour("muted"), colour("line")];
    const axis = { stroke: text, grid: { stroke: grid, width: 1 }, ticks: { stroke: grid, width: 1 } };
    return {
      width,
      height: HEIGHT,
      legend: { show: false },
      scales: { x: { time: look.kind === "time" }, y: { distr: look.log ? 3 : 1 } },
      axes: [
        { ...axis, size: 34 },
        { ...axis, size: 58, values: (_, ticks) => ticks.map((tick) => (tick === null ? "" : short(tick))) },
      ],
      cursor: { sync: { key: "curves" }, drag: { x: true, y: false, setScale: false }, points: { size: 5 } },
      series: [{}, ...this.lines.flatMap(series)],
      bands: this.lines.map((line, index) => ({
        series: [1 + index * COLUMNS, 2 + index * COLUMNS] as uPlot.Band["series"],
        fill: faint(colour(runColour(line.place)), 0.22),
      })),
      hooks: {
        setCursor: [(plot) => this.read(plot.cursor.idx ?? null)],
        setSelect: [(plot) => this.select(plot, look)],
      },
    };
  }

  private select(plot: uPlot, look: Look): void {
    if (plot.select.width < 4) return;
    const [from, until] = [plot.select.left, plot.select.left + plot.select.width].map((x) => plot.posToVal(x, "x"));
    plot.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
    if (from !== undefined && until !== undefined) this.hands.zoom?.(this.step(from, look), this.step(until, look));
  }

  /** The step at a place of the first line: in all kinds of x the steps are known by their order. */
  private step(x: number, look: Look): number {
    const line = this.lines[0];
    if (look.kind === "step" || !line) return x;
    const after = line.x.findIndex((value) => value >= x);
    return line.steps[after < 0 ? line.steps.length - 1 : after] ?? 0;
  }

  /** Shows the values under the cursor; without one the last ones. */
  private read(index: number | null): void {
    const data = this.plot?.data;
    const parts = this.lines.map((line, place) => {
      const at = (offset: number) => {
        const column = data?.[1 + place * COLUMNS + offset];
        return index === null ? lastOf(column) : (column?.[index] ?? null);
      };
      const value = line.smooth ? at(3) : at(2);
      return el("span", {}, el("i", { class: `swatch ${runColour(line.place)}` }), short(value));
    });
    const x = index === null ? null : data?.[0]?.[index];
    if (x !== null && x !== undefined) this.hands.point?.(this.step(x, this.look));
    const where = x === null || x === undefined ? "" : this.where(x);
    this.readout.replaceChildren(...parts, where ? el("span", { class: "where" }, where) : "");
  }

  private where(x: number): string {
    const kind = this.look.kind;
    if (kind === "time") return time(x * 1000);
    if (kind === "kimg") return `${short(x)} kimg`;
    return kind === "hours" || kind === "stepping" ? `${short(x)} h` : `step ${whole(x)}`;
  }
}

const hasDots = (line: Line) => line.best !== undefined;

function series(line: Line): uPlot.Series[] {
  const stroke = colour(runColour(line.place));
  const common = { spanGaps: true, points: { show: false } };
  const edge = { ...common, stroke: faint(stroke, 0.22), width: line.smooth ? 0 : 0.5 };
  const dots = { show: true, size: DOT_PX, fill: stroke };
  const mean = line.smooth
    ? { ...common, stroke: faint(stroke, 0.4), width: 1 }
    : { ...common, stroke, width: 1.5, ...(hasDots(line) ? { points: dots } : {}) };
  const ring = { show: true, size: BEST_PX, width: 2, stroke, fill: "transparent" };
  return [edge, edge, mean, { ...common, stroke, width: 2 }, { ...common, stroke, width: 0, points: ring }];
}

/** A colour of the theme (`rgb(…)`) that lets through what is behind it. */
function faint(rgb: string, alpha: number): string {
  return rgb.replace(/^rgb\((.*)\)$/, (_, parts: string) => `rgba(${parts}, ${alpha})`);
}

function lastOf(column: ArrayLike<number | null | undefined> | undefined): number | null {
  for (let i = (column?.length ?? 0) - 1; i >= 0; i--) {
    const value = column?.[i];
    if (value !== null && value !== undefined) return value;
  }
  return null;
}

/** uPlot's table: the x of all lines in one column, and four columns for each line. */
function table(lines: Line[], log: boolean): uPlot.AlignedData {
  // A logarithm has no place for what is not positive.
  const fit = (values: (number | null)[]) => (log ? values.map((v) => (v !== null && v > 0 ? v : null)) : values);
  const tables = lines.map((line): uPlot.AlignedData => {
    const none = line.x.map(() => null);
    const best = line.mean.map((value, index) => (index === line.best ? value : null));
    return [line.x, fit(line.max ?? none), fit(line.min ?? none), fit(line.mean), fit(line.smooth ?? none), fit(best)];
  });
  return tables.length === 1 ? tables[0]! : uPlot.join(tables);
}
