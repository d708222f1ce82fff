// A run on one screen: numbers, newest samples, losses, newest events.

import { Buttons } from "./actions.ts";
import * as api from "./api.ts";
import { Chart, type Line } from "./chart.ts";
import { el, table } from "./dom.ts";
import { kind } from "./events.ts";
import { duration, mebibytes, percent, short, time, whole } from "./format.ts";
import * as place from "./place.ts";
import { type App, type Make, label, latest, spaced, state, steady, trouble } from "./view.ts";

const CHARTS = ["loss_d", "loss_g"];
const EVENTS = 8;
/** A live run is drawn so often. */
const AGAIN_MS = 1000;

export const overview: Make = (app, root) => {
  const head = el("div", {});
  const figure = el("section", { class: "newest" });
  const events = el("section", {});
  const facts = el("section", {});
  const charts = CHARTS.flatMap((name) => {
    const scalar = app.scalars.find((known) => known.name === name);
    return scalar ? [new Chart(scalar.name, scalar.unit, scalar.help)] : [];
  });
  const plots = el("div", { class: "charts" }, ...charts.map((chart) => chart.figure));
  const buttons = new Buttons();
  root.append(head, buttons.element, el("div", { class: "halves" }, figure, plots), events, facts);
  let shown: number | null = null;
  const draw = latest(async () => {
    const run = app.shown()[0];
    if (!run) return;
    head.replaceChildren(numbers(app, run));
    void buttons.show(run);
    if (run.sample_step !== shown) {
      shown = run.sample_step;
      figure.replaceChildren(...newest(run, label(app, run)));
    }
    try {
      await Promise.all([drawCharts(run, label(app, run), charts), drawEvents(run, events), drawFacts(run, facts)]);
    } catch (error) {
      trouble(events, error);
    }
  });
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

function numbers(app: App, run: api.Summary): HTMLElement {
  const share = run.steps ? Math.min(run.step / run.steps, 1) : null;
  const of = run.steps ? ` of ${whole(run.steps)}` : "";
  const best = run.best?.scores[0];
  const cells: [string, string][] = [
    ["time left", duration(run.eta_s)],
    ["images/s", short(run.images_per_s)],
    ["s/kimg", short(run.s_per_kimg)],
    ["goodput", percent(run.goodput)],
    ["generation", whole(run.generation)],
    ["workers", whole(run.workers)],
    ["their memory", run.memory_bytes ? mebibytes(run.memory_bytes) : "–"],
    ["epoch", whole(run.epoch)],
    ["newest snapshot", run.snapshot_step === null ? "none" : `step ${whole(run.snapshot_step)}`],
    ["best score", best ? `${best.metric} ${short(best.value)}` : "none"],
    ["newest step ended", time(run.updated_ms)],
  ];
  const alerts = (run.alerts ?? []).map((alert) =>
    el("div", { class: "alert", role: "status" }, el("strong", {}, alert.text), " ", alert.advice),
  );
  return el(
    "section",
    {},
    el("div", { class: "row" }, el("h2", { class: "title" }, label(app, run)), state(run)),
    run.why ? el("p", { class: "why" }, run.why) : null,
    ...alerts,
    el("div", { class: "steps" }, el("strong", {}, `step ${whole(run.step)}`), of, share === null ? "" : ` · ${percent(share)}`),
    share === null ? null : el("progress", { max: 1, value: share, "aria-label": "steps done" }),
    el("dl", { class: "numbers" }, ...cells.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value)))),
  );
}

function newest(run: api.Summary, name: string): HTMLElement[] {
  if (run.sample_step === null) return [el("p", { class: "empty" }, "no samples yet")];
  const step = run.sample_step;
  const src = api.picture(run.id, { step, written_ms: run.began_ms ?? 0 });
  const image = el("img", { src, alt: `Samples of ${name} at step ${whole(step)}` });
  const link = el("a", { href: place.changed({ view: "samples" }), class: "go" }, image);
  return [el("figure", {}, link, el("figcaption", {}, `samples at step ${whole(step)}`))];
}

async function drawCharts(run: api.Summary, name: string, charts: Chart[]): Promise<void> {
  const answer = await api.curves(run.id, { names: CHARTS.join(","), pixels: "400" });
  for (const chart of charts) {
    const curve = answer.scalars[chart.title];
    chart.figure.hidden = !curve || answer.steps.length === 0;
    if (!curve || chart.figure.hidden) continue;
    const line: Line = { label: name, place: 0, x: answer.steps, steps: answer.steps, ...curve };
    chart.draw([line], { kind: "step", log: false });
  }
}

async function drawEvents(run: api.Summary, root: HTMLElement): Promise<void> {
  const newest = await api.events(run.id, { limit: String(EVENTS) });
  if (newest.length === 0) return root.replaceChildren();
  const rows = newest.map((event) => [time(event.at_ms), kind(event, run.live), event.text]);
  steady(root, () => {
    root.replaceChildren(el("h2", {}, "Newest events"), table("Newest events", ["time", "kind", "what"], rows));
  });
}

async function drawFacts(run: api.Summary, root: HTMLElement): Promise<void> {
  const details = await api.details(run.id);
  const rows: [string, string | number | null][] = [
    ["directory", run.dir],
    ["identity", details.identity],
    ["records", details.records === null ? null : whole(details.records)],
    ["data fingerprint", details.data_fingerprint],
    ["numerics", details.numerics],
    ["corrupt records", run.corrupt_records ? `${whole(run.corrupt_records)}, see Data` : null],
    ...details.final_files.map((file): [string, string] => [file.name, file.url]),
  ];
  const known = rows.filter(([, value]) => value !== null);
  const lines = known.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value)));
  steady(root, () => root.replaceChildren(el("h2", {}, "Facts"), el("dl", { class: "facts" }, ...lines)));
}
