// Curves of all scalars, of several runs.

import * as api from "./api.ts";
import { Chart, type Line, type XKind } from "./chart.ts";
import { el, select, tick } from "./dom.ts";
import { whole } from "./format.ts";
import { Picture } from "./picture.ts";
import * as place from "./place.ts";
import { type App, type Make, label, latest, runColour, spaced, trouble } from "./view.ts";

const GROUPS: [string, string][] = [
  ["losses", "Losses"],
  ["outputs", "What D says, and how the samples differ"],
  ["gradients", "Gradients"],
  ["speed", "Speed"],
];
const KINDS: [string, string][] = [
  ["step", "step"],
  ["kimg", "1,000 images"],
  ["hours", "hours since the start"],
  ["time", "time of day"],
];
const WINDOWS = [0, 10, 30, 100, 300, 1000, 3000, 10_000, 100_000];
/** Live curves are asked for so often at most. */
const AGAIN_MS = 2000;

export const curves: Make = (app, root) => {
  const charts = new Map<string, Chart>();
  const range = el("span", { class: "range", "aria-live": "polite" });
  const draw = latest(() => drawAll(app, charts, range, root));
  const change = (changes: Parameters<typeof place.note>[0]) => {
    place.note(changes);
    void draw();
  };
  const zoom = (from: number, until: number) => {
    const [a, b] = [Math.max(0, Math.floor(from)), Math.ceil(until) + 1];
    if (b > a) change({ from: a, until: b });
  };
  const reset = () => change({ from: null, until: null });
  const grid = new Beside(app);
  const shows = tick("samples at the cursor", place.get("grid") === "1", (is) => {
    place.note({ grid: is ? 1 : null });
    grid.show(is);
  });
  const bar = toolbar(change, range, () => bounds(app), zoom, reset);
  bar.insertBefore(shows, range);
  root.append(bar, legend(app), grid.element);
  for (const [group, title] of GROUPS) {
    const scalars = app.scalars.filter((scalar) => scalar.group === group);
    const figures = scalars.map((scalar) => {
      const chart = new Chart(scalar.name, scalar.unit, scalar.help, { zoom, reset, point: (step) => grid.point(step) });
      charts.set(scalar.name, chart);
      return chart.figure;
    });
    root.append(el("section", {}, el("h2", {}, title), el("div", { class: "charts" }, ...figures)));
  }
  void draw();
  const again = spaced(() => void draw(), AGAIN_MS);
  return {
    changed: again.call,
    redraw: () => {
      charts.forEach((chart) => chart.forget());
      void draw();
    },
    close: () => {
      again.end();
      charts.forEach((chart) => chart.close());
    },
  };
};

/** The first run's samples of the step under the cursor. */
class Beside {
  readonly element = el("aside", { class: "beside", "aria-label": "samples at the cursor" });
  private readonly picture = new Picture();
  private readonly words = el("div", { class: "hint" });
  private samples: api.Sample[] = [];

  constructor(private readonly app: App) {
    this.element.append(this.picture.element, this.words);
    this.show(place.get("grid") === "1");
  }

  show(is: boolean): void {
    this.element.hidden = !is;
    const run = this.app.shown()[0];
    if (!is || !run) return;
    const read = async () => {
      this.samples = await api.samples(run.id);
      this.point(run.step);
    };
    read().catch((error) => trouble(this.words, error));
  }

  point(step: number): void {
    const run = this.app.shown()[0];
    if (this.element.hidden || !run) return;
    const sample = this.samples.findLast((one) => one.step <= step) ?? this.samples[0];
    if (!sample) return;
    this.words.textContent = `step ${whole(sample.step)}`;
    void this.picture.show(api.picture(run.id, sample), `Samples of ${label(this.app, run)} at step ${whole(sample.step)}`);
  }
}

/** The range that is shown, of the first run. */
function bounds(app: App): [number, number] {
  const last = app.shown()[0]?.step ?? 0;
  return [place.number("from") ?? 0, place.number("until") ?? last];
}

function toolbar(
  change: (changes: Parameters<typeof place.note>[0]) => void,
  range: HTMLElement,
  now: () => [number, number],
  zoom: (from: number, until: number) => void,
  reset: () => void,
): HTMLElement {
  // Moves and stretches the range around its middle.
  const move = (shift: number, stretch: number) => () => {
    const [from, until] = now();
    const [middle, half] = [(from + until) / 2 + shift * (until - from), ((until - from) / 2) * stretch];
    zoom(middle - half, middle + half - 1);
  };
  const window_ = place.number("window") ?? 0;
  const windows = [...new Set([...WINDOWS, window_])].sort((a, b) => a - b);
  const words = windows.map((steps): [string, string] => [String(steps), steps ? `${whole(steps)} steps` : "none"]);
  const button = (text: string, name: string, press: () => void) =>
    el("button", { type: "button", "aria-label": name, title: name, onclick: press }, text);
  return el(
    "div",
    { class: "toolbar" },
    select("x", KINDS, place.get("x") ?? "step", (x) => change({ x: x === "step" ? null : x })),
    select("mean over", words, String(window_), (n) => change({ window: n === "0" ? null : n })),
    tick("log scale", place.get("log") === "1", (is) => change({ log: is ? 1 : null })),
    el(
      "span",
      { class: "buttons" },
      button("←", "earlier", move(-0.5, 1)),
      button("→", "later", move(0.5, 1)),
      button("+", "nearer", move(0, 0.5)),
      button("−", "wider", move(0, 2)),
      button("all", "all steps", reset),
    ),
    range,
  );
}

function legend(app: App): HTMLElement {
  const names = app.shown().map((run, index) => {
    return el("span", {}, el("i", { class: `swatch ${runColour(index)}` }), label(app, run));
  });
  return el("p", { class: "legend" }, ...names);
}

async function drawAll(app: App, charts: Map<string, Chart>, range: HTMLElement, root: HTMLElement): Promise<void> {
  const runs = app.shown();
  const kind = (KINDS.find(([name]) => name === place.get("x"))?.[0] ?? "step") as XKind;
  const look = { kind, log: place.get("log") === "1" };
  const width = root.querySelector(".plot")?.clientWidth ?? 600;
  const query: Record<string, string> = { pixels: String(Math.min(Math.max(Math.round(width), 100), 1000)) };
  for (const name of ["from", "until", "window"] as const) {
    const value = place.number(name);
    if (value !== null) query[name] = String(value);
  }
  let answers: api.Curves[];
  try {
    answers = await Promise.all(runs.map((run) => api.curves(run.id, query)));
  } catch (error) {
    return trouble(root, error);
  }
  for (const [name, chart] of charts) {
    const lines = answers.flatMap((answer, index): Line[] => {
      const curve = answer.scalars[name];
      const run = runs[index]!;
      if (!curve || curve.mean.every((value) => value === null)) return [];
      const x = xs(answer, kind, run);
      return [{ label: label(app, run), place: index, x, steps: answer.steps, ...curve }];
    });
    chart.figure.hidden = lines.length === 0;
    const section = chart.figure.closest("section");
    if (section) section.hidden = section.querySelector(".chart:not([hidden])") === null;
    if (lines.length > 0) chart.draw(lines, look);
  }
  const [from, until] = bounds(app);
  range.textContent = `steps ${whole(from)} to ${whole(Math.max(from, until - 1))}`;
}

/** Where each row lies on the x axis. */
function xs(answer: api.Curves, kind: XKind, run: api.Summary): number[] {
  switch (kind) {
    case "step":
      return answer.steps;
    case "kimg":
      return answer.steps.map((step) => ((step + 1) * (run.global_batch ?? 0)) / 1000);
    case "time":
      return answer.wall_ms.map((ms) => ms / 1000);
    case "hours":
      return answer.wall_ms.map((ms) => (ms - (run.began_ms ?? 0)) / 3_600_000);
  }
}
