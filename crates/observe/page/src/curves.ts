// Curves of all scalars and scores, of several runs.

import * as api from "./api.ts";
import * as axis from "./axis.ts";
import { Chart, type Line } from "./chart.ts";
import { el, select, tick } from "./dom.ts";
import { whole } from "./format.ts";
import { Picture } from "./picture.ts";
import * as place from "./place.ts";
import { Scores } from "./scores.ts";
import { type App, type Make, label, latest, runColour, spaced, trouble } from "./view.ts";

const GROUPS: [string, string][] = [
  ["losses", "Losses"],
  ["outputs", "What D says, and how the samples differ"],
  ["gradients", "Gradients"],
  ["speed", "Speed"],
];
const WINDOWS = [0, 10, 30, 100, 300, 1000, 3000, 10_000, 100_000];
/** Live curves are asked for so often at most. */
const AGAIN_MS = 2000;

export const curves: Make = (app, root) => {
  const charts = new Map<string, Chart>();
  const range = el("span", { class: "range", "aria-live": "polite" });
  const trouble_ = el("div", {});
  const draw = latest(() => drawAll(app, { charts, scores, range, trouble: trouble_ }, root));
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
  const scores = new Scores(app, { zoom, reset });
  root.append(bar, legend(app), trouble_, grid.element);
  for (const [group, title] of GROUPS) {
    const scalars = app.scalars.filter((scalar) => scalar.group === group);
    const figures = scalars.map((scalar) => {
      const chart = new Chart(scalar.name, scalar.unit, scalar.help, { zoom, reset, point: (step) => grid.point(step) });
      charts.set(scalar.name, chart);
      return chart.figure;
    });
    root.append(el("section", {}, el("h2", {}, title), el("div", { class: "charts" }, ...figures)));
  }
  root.append(scores.element);
  void draw();
  const again = spaced(() => void draw(), AGAIN_MS);
  return {
    changed: again.call,
    redraw: () => {
      charts.forEach((chart) => chart.forget());
      scores.forget();
      void draw();
    },
    close: () => {
      again.end();
      charts.forEach((chart) => chart.close());
      scores.close();
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
    select("x", axis.KINDS, place.get("x") ?? "step", (x) => change({ x: x === "step" ? null : x })),
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

/** What is drawn into. */
interface Parts { charts: Map<string, Chart>; scores: Scores; range: HTMLElement; trouble: HTMLElement }

async function drawAll(app: App, parts: Parts, root: HTMLElement): Promise<void> {
  const runs = app.shown();
  const kind = axis.named(place.get("x"));
  const look = { kind, log: place.get("log") === "1" };
  const width = root.querySelector(".plot")?.clientWidth ?? 600;
  const query: Record<string, string> = { pixels: String(Math.min(Math.max(Math.round(width), 100), 1000)) };
  for (const name of ["from", "until", "window"] as const) {
    const value = place.number(name);
    if (value !== null) query[name] = String(value);
  }
  let answers: api.Curves[];
  let scored: api.Scored[];
  try {
    [answers, scored] = await Promise.all([
      Promise.all(runs.map((run) => api.curves(run.id, query))),
      Promise.all(runs.map((run) => api.scores(run.id))),
    ]);
  } catch (error) {
    return trouble(parts.trouble, error);
  }
  const unreadable = scored.flatMap(({ unreadable: why }) => (why ? [el("p", { class: "trouble" }, why)] : []));
  parts.trouble.replaceChildren(...unreadable);
  for (const [name, chart] of parts.charts) {
    const lines = answers.flatMap((answer, index): Line[] => {
      const curve = answer.scalars[name];
      const run = runs[index]!;
      if (!curve || curve.mean.every((value) => value === null)) return [];
      const x = axis.ofCurves(answer, kind, run);
      return [{ label: label(app, run), place: index, x, steps: answer.steps, ...curve }];
    });
    chart.figure.hidden = lines.length === 0;
    const section = chart.figure.closest("section");
    if (section) section.hidden = section.querySelector(".chart:not([hidden])") === null;
    if (lines.length > 0) chart.draw(lines, look);
  }
  const [from, until] = bounds(app);
  const all = runs.map((run, index) => ({ run, curves: answers[index]!, series: scored[index]!.series }));
  // A snapshot of the last step shown has one step more done.
  parts.scores.draw(all, look, [from, place.number("until") ?? Infinity]);
  parts.range.textContent = `steps ${whole(from)} to ${whole(Math.max(from, until - 1))}`;
}
