// The page of `lsgan ui`: which runs, which view, and what keeps both up to date. Every view is a file of its own.

import "uplot/dist/uPlot.min.css";
import "./style.css";
import { keepKey } from "./actions.ts";
import * as api from "./api.ts";
import { curves } from "./curves.ts";
import { data } from "./data.ts";
import { el, select } from "./dom.ts";
import { events } from "./events.ts";
import { file } from "./file.ts";
import { list } from "./list.ts";
import { overview } from "./overview.ts";
import * as place from "./place.ts";
import { samples } from "./samples.ts";
import { snapshots } from "./snapshots.ts";
import { type App, type Make, type View, label, runColour, trouble } from "./view.ts";
import { workers } from "./workers.ts";

const VIEWS: [string, string, Make][] = [
  ["run", "Run", overview],
  ["samples", "Samples", samples],
  ["curves", "Curves", curves],
  ["workers", "Workers", workers],
  ["data", "Data", data],
  ["snapshots", "Snapshots", snapshots],
  ["events", "Events", events],
  ["file", "File", file],
];
const THEMES: [string, string][] = [
  ["auto", "as the system"],
  ["light", "light"],
  ["dark", "dark"],
];
/** What a change of the address makes the view new for; other parameters are the view's own. */
const PARTS = ["run", "view"] as const;
const KEYS: [string, string][] = [
  ["1 to 8", "the views from left to right"],
  ["0", "all runs"],
  ["space", "play or pause the samples"],
  ["← →", "the samples before and after"],
  ["Home End", "the first and the newest samples"],
  ["t", "light or dark"],
  ["?", "this list"],
];

class Page {
  private readonly header = el("header", {});
  private readonly main = el("main", { tabindex: -1 });
  private readonly help = el("dialog", { "aria-label": "keys" });
  private view: View | null = null;
  private key = "";
  private isConnected = true;

  private readonly app: App = {
    runs: new Map(),
    scalars: [],
    shown: () => place.runs().flatMap((id) => this.app.runs.get(id) ?? []),
  };

  async start(): Promise<void> {
    this.theme();
    document.body.replaceChildren(this.header, this.main, this.help);
    const rows = KEYS.map(([key, what]) => el("div", {}, el("dt", {}, el("kbd", {}, key)), el("dd", {}, what)));
    const close = el("button", { type: "button", onclick: () => this.help.close() }, "close");
    this.help.append(el("h2", {}, "Keys"), el("dl", { class: "facts" }, ...rows), close);
    try {
      const [scalars, runs] = await Promise.all([api.scalars(), api.runs()]);
      this.app.scalars = scalars;
      runs.forEach((run) => this.app.runs.set(run.id, run));
    } catch (error) {
      return trouble(this.main, error);
    }
    const only = [...this.app.runs.keys()];
    if (place.runs().length === 0 && only.length === 1 && !place.get("view")) place.note({ run: only });
    this.show();
    this.listen();
  }

  private listen(): void {
    addEventListener("popstate", () => this.show());
    document.addEventListener("keydown", (event) => this.press(event));
    document.addEventListener("click", (event) => this.follow(event));
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.view?.redraw?.());
    let width = innerWidth;
    addEventListener("resize", () => {
      if (width !== innerWidth) this.view?.redraw?.();
      width = innerWidth;
    });
    api.live(
      (runs, gone) => this.changed(runs, gone),
      (is) => {
        if (is !== this.isConnected) {
          this.isConnected = is;
          this.head();
        }
      },
    );
  }

  /** Draws what the address says; what is there already stays. */
  private show(): void {
    this.theme();
    const shown = this.app.shown();
    const name = shown.length === 0 ? "list" : (place.get("view") ?? "run");
    const fallback: [string, string, Make] = shown.length > 0 ? VIEWS[0]! : ["list", "Runs", list];
    const [word, title, make] = VIEWS.find(([view]) => view === name) ?? fallback;
    const params = new URLSearchParams(location.search);
    const key = JSON.stringify(PARTS.map((part) => params.getAll(part)));
    document.title = shown[0] ? `${label(this.app, shown[0])} · ${title} · LSGAN` : "LSGAN runs";
    this.head();
    if (key === this.key && this.view) return;
    this.key = key;
    this.view?.close?.();
    this.main.replaceChildren();
    this.main.className = `view-${word}`;
    this.view = make(this.app, this.main);
  }

  private changed(runs: api.Summary[], gone: string[]): void {
    const shown = new Set(place.runs());
    const isNew = runs.some((run) => !this.app.runs.has(run.id)) || gone.length > 0;
    runs.forEach((run) => this.app.runs.set(run.id, run));
    gone.forEach((id) => this.app.runs.delete(id));
    if (isNew) this.head();
    // A view that had no run, or whose run has come or gone, is made anew.
    if (isNew && (this.app.shown().length === 0) !== (this.main.className === "view-list")) {
      this.key = "";
      this.show();
    } else if (this.main.className === "view-list" || runs.some((run) => shown.has(run.id))) {
      this.view?.changed?.();
    }
  }

  private head(): void {
    const shown = this.app.shown();
    const active = shown.length === 0 ? "" : (place.get("view") ?? "run");
    const home = el("a", { href: place.changed({ run: null, view: null }), class: "go brand" }, "LSGAN runs");
    const views = VIEWS.map(([name, title]) => {
      const href = place.changed({ view: name === "run" ? null : name });
      return el("a", { href, class: "go", "aria-current": name === active ? "page" : null }, title);
    });
    const theme = select("theme", THEMES, place.get("theme") ?? "auto", (chosen) => this.choose(chosen));
    const away = el("span", { class: "away", role: "status" }, this.isConnected ? "" : "not connected");
    const line = el("div", { class: "row" }, home, ...this.pickers(), el("span", { class: "gap" }), away, theme);
    const nav = el("nav", { "aria-label": "views" }, ...views);
    this.header.replaceChildren(el("h1", { class: "unseen" }, document.title), line, shown.length > 0 ? nav : "");
  }

  /** A list for the run that is shown, and those that it is compared with. */
  private pickers(): HTMLElement[] {
    const shown = place.runs().filter((id) => this.app.runs.has(id));
    if (shown.length === 0) return [];
    const runs = [...this.app.runs.values()].map((run): [string, string] => [run.id, label(this.app, run)]);
    const lists = shown.map((id, index) => {
      const others = runs.filter(([other]) => other === id || !shown.includes(other));
      const choices: [string, string][] = index === 0 ? others : [...others, ["", "– none –"]];
      const choose = (other: string) =>
        place.go({ run: shown.map((one, at) => (at === index ? other : one)).filter((one) => one !== "") });
      const list = select(index === 0 ? "run" : "and", choices, id, choose);
      if (shown.length > 1) list.prepend(el("i", { class: `swatch ${runColour(index)}` }));
      return list;
    });
    const rest = runs.filter(([id]) => !shown.includes(id));
    if (rest.length === 0) return lists;
    const add = select("compare", [["", "with …"], ...rest], "", (id) => place.go({ run: [...shown, id] }));
    return [...lists, add];
  }

  private choose(theme: string): void {
    place.note({ theme: theme === "auto" ? null : theme });
    this.theme();
    this.view?.redraw?.();
  }

  private theme(): void {
    const theme = place.get("theme");
    if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
    else delete document.documentElement.dataset.theme;
  }

  /** Links of the page change the address without loading it anew. */
  private follow(event: MouseEvent): void {
    const link = event.target instanceof Element ? event.target.closest<HTMLAnchorElement>("a.go") : null;
    if (!link || event.button !== 0 || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    // Its parameters are as old as the link; the reader's own since then stay.
    const goal = new URL(link.href).searchParams;
    place.go({ run: goal.getAll("run"), view: goal.get("view") });
  }

  private press(event: KeyboardEvent): void {
    const target = event.target instanceof Element ? event.target : null;
    const isTaken = target?.matches("input, select, textarea, button, a, summary") ?? false;
    if (event.ctrlKey || event.metaKey || event.altKey || this.help.open) return;
    if (target?.matches("input[type=search], input[type=number], select, textarea, dialog *")) return;
    const view = VIEWS[Number(event.key) - 1];
    if (event.key === "?") this.help.showModal();
    else if (event.key === "0") place.go({ run: null, view: null });
    else if (view && this.app.shown().length > 0) place.go({ view: view[0] === "run" ? null : view[0] });
    else if (event.key === "t") this.choose(this.isDark() ? "light" : "dark");
    else if (isTaken || !this.view?.key?.(event.key)) return;
    if (event.key === "t") this.head();
    event.preventDefault();
  }

  private isDark(): boolean {
    return getComputedStyle(document.documentElement).getPropertyValue("color-scheme").trim() === "dark"
      || (!document.documentElement.dataset.theme && matchMedia("(prefers-color-scheme: dark)").matches);
  }
}

keepKey();
void new Page().start();
