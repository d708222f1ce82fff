// Grids of samples: any step on a slider, two runs or steps side by side or under a wiper.

import * as api from "./api.ts";
import { el, select } from "./dom.ts";
import { time, whole } from "./format.ts";
import { Picture } from "./picture.ts";
import { type Grid, Pins, pinned, toggle } from "./pins.ts";
import * as place from "./place.ts";
import { Strip } from "./strip.ts";
import { type Spot, inWords, spotAt } from "./tile.ts";
import { type App, type Make, label, trouble } from "./view.ts";

const MODES: [string, string][] = [
  ["one", "one"],
  ["side", "side by side"],
  ["wipe", "wiper"],
];
/** Between two pictures of a film. */
const PLAY_MS = 125;

/** One side: a run, and which of its grids is shown. */
class Side {
  samples: api.Sample[] = [];
  readonly picture = new Picture();

  constructor(
    public run: api.Summary,
    private readonly parameter: "step" | "step2",
  ) {}

  async read(): Promise<void> {
    this.samples = await api.samples(this.run.id);
  }

  /** The place of the newest grid that is not after `step`. */
  at(step: number | null): number {
    const last = this.samples.length - 1;
    if (step === null) return last;
    let index = this.samples.findIndex((sample) => sample.step > step);
    if (index < 0) index = last + 1;
    return Math.max(index - 1, 0);
  }

  get wanted(): number | null {
    return place.number(this.parameter);
  }

  /** The grid at this place, for tiles of it. */
  grid(index: number, name: string): Grid | null {
    const sample = this.samples[index];
    if (!sample) return null;
    const words = `${name} at step ${whole(sample.step)}`;
    return { url: api.picture(this.run.id, sample), words, side: this.run.tile_px };
  }

  async show(index: number, name: string): Promise<void> {
    const grid = this.grid(index, name);
    if (!grid) return;
    await this.picture.show(grid.url, `Samples of ${grid.words}`);
    for (const near of [index + 1, index - 1, index + 2]) {
      const next = this.samples[near];
      if (next) this.picture.load(api.picture(this.run.id, next));
    }
  }
}

export const samples: Make = (app, root) => {
  const view = new Samples(app, root);
  void view.start();
  return {
    changed: () => void view.follow(),
    key: (key) => view.key(key),
    close: () => view.stop(),
  };
};

class Samples {
  private readonly a: Side;
  private b: Side | null = null;
  private readonly slider = el("input", { type: "range", min: 0, max: 0, value: 0, "aria-label": "step" });
  private readonly slider2 = el("input", { type: "range", min: 0, max: 0, value: 0, "aria-label": "step of the second" });
  private readonly words = el("output", { class: "step" });
  private readonly words2 = el("output", { class: "step" });
  private readonly playing = el("button", { type: "button", class: "play", "aria-pressed": "false" }, "Play");
  private readonly stage = el("div", { class: "stage" });
  private readonly wipe = el("input", { type: "range", min: 0, max: 100, step: 0.5, "aria-label": "wiper" });
  private readonly strip = new Strip();
  private readonly pins = new Pins();
  private timer: number | null = null;

  constructor(
    private readonly app: App,
    private readonly root: HTMLElement,
  ) {
    this.a = new Side(app.shown()[0]!, "step");
    this.slider.addEventListener("input", () => this.move(Number(this.slider.value)));
    this.slider2.addEventListener("input", () => this.move2(Number(this.slider2.value)));
    this.playing.addEventListener("click", () => (this.timer === null ? this.play() : this.stop()));
    this.wipe.value = String(place.number("wipe") ?? 50);
    this.wipe.addEventListener("input", () => {
      place.note({ wipe: Math.round(Number(this.wipe.value)) });
      this.wiped();
    });
    this.a.picture.onpick = (x, y) => {
      if (this.a.run.tile_px !== null) this.pick(spotAt(x, y, this.a.run.tile_px));
    };
  }

  private get mode(): string {
    return MODES.find(([mode]) => mode === place.get("mode"))?.[0] ?? "one";
  }

  async start(): Promise<void> {
    try {
      await this.a.read();
      await this.other();
    } catch (error) {
      return trouble(this.root, error);
    }
    this.lay();
    if (this.a.samples.length > 0) await this.update();
  }

  /** The run has a new grid: without a step in the address the newest is shown. */
  async follow(): Promise<void> {
    const before = this.a.samples.length;
    await Promise.all([this.a.read(), this.b?.read()]).catch(() => undefined);
    if (before === 0 && this.a.samples.length > 0) this.lay();
    if (this.timer === null) await this.update();
  }

  /** Reads the second side, where there is one. */
  private async other(): Promise<void> {
    if (this.mode === "one") {
      this.b = null;
      return;
    }
    const shown = this.app.shown();
    const id = place.get("with") ?? shown[1]?.id ?? this.a.run.id;
    this.b = new Side(this.app.runs.get(id) ?? this.a.run, "step2");
    await this.b.read();
  }

  private lay(): void {
    if (this.a.samples.length === 0) {
      this.root.replaceChildren(el("p", { class: "empty" }, "This run has no samples yet."));
      return;
    }
    const runs = [...this.app.runs.values()].filter((run) => run.sample_step !== null);
    const choices = runs.map((run): [string, string] => [run.id, label(this.app, run)]);
    const again = (changes: Parameters<typeof place.note>[0]) => {
      place.note(changes);
      void this.start();
    };
    const b = this.b;
    const modes = select("show", MODES, this.mode, (mode) => again({ mode: mode === "one" ? null : mode }));
    const withs = b ? select("with", choices, b.run.id, (id) => again({ with: id })) : null;
    const second = b
      ? el("div", { class: "slide second" }, el("span", { class: "side" }, "B"), this.slider2, this.words2)
      : null;
    const first = el("div", { class: "slide" }, this.playing, this.slider, this.words);
    const figures = b
      ? [this.framed(this.a, "A"), this.framed(b, "B")]
      : [this.framed(this.a, "")];
    const isWiped = b !== null && this.mode === "wipe";
    this.stage.className = `stage ${this.mode}`;
    this.stage.replaceChildren(...figures);
    const wiper = isWiped ? el("div", { class: "wiper" }, el("span", {}, "A"), this.wipe, el("span", {}, "B")) : null;
    const bar = el("div", { class: "toolbar" }, modes, withs, this.a.run.tile_px === null ? null : this.chooser());
    const parts = [bar, first, second, this.stage, wiper, this.pins.element, this.strip.element];
    this.root.replaceChildren(...parts.filter((part) => part !== null));
    this.wiped();
  }

  private framed(side: Side, letter: string): HTMLElement {
    const name = label(this.app, side.run);
    return el("figure", {}, el("figcaption", {}, letter ? `${letter}: ${name}` : name), side.picture.element);
  }

  private wiped(): void {
    const b = this.b?.picture.element;
    if (this.mode === "wipe") b?.style.setProperty("clip-path", `inset(0 0 0 ${this.wipe.value}%)`);
    else b?.style.removeProperty("clip-path");
  }

  /** Shows what the address says. */
  private async update(): Promise<void> {
    const index = this.a.at(this.a.wanted);
    this.slider.max = String(Math.max(this.a.samples.length - 1, 0));
    this.slider.value = String(index);
    const sample = this.a.samples[index];
    this.slider.setAttribute("aria-valuetext", `step ${whole(sample?.step)}`);
    this.words.textContent = `step ${whole(sample?.step)}`;
    this.words.title = time(sample?.written_ms);
    const shows = [this.a.show(index, label(this.app, this.a.run))];
    const b = this.b;
    if (b) {
      // Without a step of its own the second goes with the first.
      const index2 = b.at(b.wanted ?? sample?.step ?? null);
      const step2 = b.samples[index2]?.step;
      this.slider2.max = String(Math.max(b.samples.length - 1, 0));
      this.slider2.value = String(index2);
      this.words2.textContent = `step ${whole(step2)}${b.wanted === null ? ", with A" : ""}`;
      this.slider2.setAttribute("aria-valuetext", `step ${whole(step2)}`);
      shows.push(b.show(index2, label(this.app, b.run)));
    }
    await Promise.all([...shows, this.pin(index)]);
  }

  /** Draws the pinned tiles of the grids that are shown. */
  private pin(index: number): Promise<void> {
    const b = this.b;
    const grids = [
      this.a.grid(index, label(this.app, this.a.run)),
      b ? b.grid(Number(this.slider2.value), label(this.app, b.run)) : null,
    ];
    return this.pins.show(grids.filter((grid) => grid !== null), () => void this.update());
  }

  private move(index: number): Promise<void> {
    const isNewest = index >= this.a.samples.length - 1 && this.timer === null;
    place.note({ step: isNewest ? null : (this.a.samples[index]?.step ?? null) });
    return this.update();
  }

  private move2(index: number): void {
    place.note({ step2: this.b?.samples[index]?.step ?? null });
    void this.update();
  }

  private play(): void {
    const last = this.a.samples.length - 1;
    let index = Number(this.slider.value);
    if (index >= last) index = -1;
    this.playing.setAttribute("aria-pressed", "true");
    this.playing.textContent = "Pause";
    const next = async () => {
      index += 1;
      await this.move(index);
      if (this.timer === null) return;
      if (index >= this.a.samples.length - 1) this.stop();
      else this.timer = window.setTimeout(next, PLAY_MS);
    };
    this.timer = window.setTimeout(next, 0);
  }

  stop(): void {
    if (this.timer !== null) window.clearTimeout(this.timer);
    this.timer = null;
    this.playing.setAttribute("aria-pressed", "false");
    this.playing.textContent = "Play";
  }

  key(key: string): boolean {
    const move = key === "ArrowLeft" ? -1 : key === "ArrowRight" ? 1 : null;
    if (key === " ") this.playing.click();
    else if (move !== null) void this.move(this.within(Number(this.slider.value) + move));
    else if (key === "Home") void this.move(0);
    else if (key === "End") void this.move(this.a.samples.length - 1);
    else return false;
    return true;
  }

  private within(index: number): number {
    return Math.min(Math.max(index, 0), this.a.samples.length - 1);
  }

  /** Chooses a tile by keyboard, as a click on it does. */
  private chooser(): HTMLElement {
    const number = (name: string) =>
      el("input", { type: "number", min: 1, max: 9999, value: 1, required: true, "aria-label": `${name} of the tile` });
    const [column, row] = [number("column"), number("row")];
    const spot = (): Spot => ({ column: Number(column.value) - 1, row: Number(row.value) - 1 });
    const show = el("button", { type: "button" }, "through the training");
    const pin = el("button", { type: "button", title: "keeps it in sight in all steps and runs" }, "pin");
    const fits = () => column.reportValidity() && row.reportValidity();
    show.addEventListener("click", () => fits() && this.pick(spot()));
    pin.addEventListener("click", () => fits() && this.toggle(spot()));
    return el("span", { class: "field chooser" }, el("span", {}, "tile"), column, row, show, pin);
  }

  private toggle(spot: Spot): void {
    toggle(spot);
    void this.update();
  }

  /** The tile of the grid through the whole training. */
  private pick(spot: Spot): void {
    const side = this.a.run.tile_px;
    if (side === null) return;
    const urls = this.a.samples.map((sample): [string, string] => [
      api.picture(this.a.run.id, sample),
      `step ${whole(sample.step)}`,
    ]);
    this.strip.show(urls, spot, side, () => {
      const isPinned = pinned().some((other) => inWords(other) === inWords(spot));
      if (!isPinned) this.toggle(spot);
    });
  }
}
