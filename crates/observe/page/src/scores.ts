// Scores of snapshots as curves: a chart for each metric that any of the runs was scored by, with the best one ringed.

import * as api from "./api.ts";
import * as axis from "./axis.ts";
import { Chart, type Hands, type Line, type Look } from "./chart.ts";
import { el } from "./dom.ts";
import { short, whole } from "./format.ts";
import { type App, label } from "./view.ts";

/** The chart of one metric, and what is best. */
interface Figure { chart: Chart; best: HTMLElement }

/** The scores of one run, with its curves, which tell when its steps were. */
export interface Scored { run: api.Summary; curves: api.Curves; series: api.Series[] }

export class Scores {
  readonly element = el("section", { hidden: true });
  private readonly box = el("div", { class: "charts" });
  private readonly figures = new Map<string, Figure>();

  constructor(
    private readonly app: App,
    private readonly hands: Hands,
  ) {
    this.element.append(el("h2", {}, "Scores of snapshots"), this.box);
  }

  /** Draws the scores of these runs between two steps, as far as they have any. */
  draw(scored: Scored[], look: Look, [from, until]: [number, number]): void {
    const names = [...new Set(scored.flatMap(({ series }) => series.map((one) => one.name)))];
    for (const [name, { chart }] of this.figures) chart.figure.hidden = !names.includes(name);
    this.element.hidden = names.length === 0;
    for (const name of names) {
      const figure = this.figure(name, scored.flatMap(({ series }) => series).find((one) => one.name === name)!);
      const lines = scored.flatMap(({ run, curves, series }, place): Line[] => {
        const one = series.find((other) => other.name === name);
        return one ? [this.line(one, { run, curves, place }, look, [from, until])] : [];
      });
      const drawn = lines.filter((line) => line.x.length > 0);
      figure.chart.figure.hidden = drawn.length === 0;
      if (drawn.length > 0) figure.chart.draw(drawn, look);
      figure.best.replaceChildren(...scored.flatMap(({ run, series }) => this.best(run, series, name, scored.length)));
    }
  }

  forget(): void {
    this.figures.forEach(({ chart }) => chart.forget());
  }

  close(): void {
    this.figures.forEach(({ chart }) => chart.close());
  }

  private figure(name: string, series: api.Series): Figure {
    const known = this.figures.get(name);
    if (known) return known;
    const help = `${series.metric}: ${series.better} is better. By lsgan eval, of snapshots.`;
    const best = el("div", { class: "best" });
    const figure = { chart: new Chart(name, `${series.better} is better`, help, this.hands), best };
    figure.chart.figure.append(best);
    this.figures.set(name, figure);
    this.box.append(figure.chart.figure);
    return figure;
  }

  private line(
    series: api.Series,
    of: { run: api.Summary; curves: api.Curves; place: number },
    look: Look,
    [from, until]: [number, number],
  ): Line {
    const xs = axis.ofScores(series, look.kind, of.run, of.curves);
    const shown = series.steps.map((_, index) => index).filter((index) => {
      const step = series.steps[index]!;
      return xs[index] !== null && step >= from && step <= until;
    });
    const best = shown.findIndex((index) => series.steps[index] === series.best_step);
    const deviation = (sign: number) =>
      shown.map((index) => {
        const [value, by] = [series.values[index], series.deviations[index]];
        return value === null || value === undefined || by === null || by === undefined ? null : value + sign * by;
      });
    const deviates = series.deviations.some((value) => value !== null);
    return {
      label: label(this.app, of.run),
      place: of.place,
      x: shown.map((index) => xs[index]!),
      steps: shown.map((index) => series.steps[index]!),
      mean: shown.map((index) => series.values[index] ?? null),
      ...(deviates ? { min: deviation(-1), max: deviation(1) } : {}),
      best: best < 0 ? null : best,
    };
  }

  private best(run: api.Summary, all: api.Series[], name: string, runs: number): HTMLElement[] {
    const series = all.find((one) => one.name === name);
    const index = series?.steps.findIndex((step) => step === series.best_step) ?? -1;
    if (!series || index < 0) return [];
    const of = runs > 1 ? `${label(this.app, run)}: ` : "";
    return [el("span", {}, `${of}best ${short(series.values[index])} at step ${whole(series.best_step)}`)];
  }
}
