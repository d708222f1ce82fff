// What the parts of the page have in common.

import type { Scalar, Summary } from "./api.ts";
import { el } from "./dom.ts";

/** What all views know. */
export interface App {
  runs: Map<string, Summary>;
  scalars: Scalar[];
  /** The runs in the address, as far as they are there; the first is what a view is about. */
  shown(): Summary[];
}

/** A view that is on the page. */
export interface View {
  /** Something of a shown run has changed. */
  changed?(): void;
  /** Colours or the width have changed. */
  redraw?(): void;
  /** A key was pressed that no control took; true if the view has used it. */
  key?(key: string): boolean;
  /** The view is left. */
  close?(): void;
}

export type Make = (app: App, root: HTMLElement) => View;

/** How a run is called; runs of one name are told apart by their ids. */
export function label(app: App, run: Summary): string {
  const name = run.name || run.id;
  const others = [...app.runs.values()].filter((other) => (other.name || other.id) === name);
  return others.length > 1 ? run.id : name;
}

/** A colour of the theme as the canvas takes it. */
export function colour(name: string): string {
  const probe = el("i");
  document.body.append(probe);
  probe.style.color = `var(--${name})`;
  const value = getComputedStyle(probe).color;
  probe.remove();
  return value;
}

export const COLOURS = 6;

/** The colour of the run at this place. */
export const runColour = (index: number) => `run-${index % COLOURS}`;

/** A run's state as a word with a dot. */
export function state(run: Summary): HTMLElement {
  return el("span", { class: `state ${run.state}`, title: run.why || null }, run.state);
}

/** Says in a view why something cannot be shown. */
export function trouble(root: HTMLElement, error: unknown): void {
  const text = error instanceof Error ? error.message : String(error);
  root.replaceChildren(el("p", { class: "trouble", role: "alert" }, text));
}

/** Draws a part of the page anew; the reader's focus and how far tables are scrolled stay as they were. */
export function steady(root: HTMLElement, draw: () => void): void {
  const active = document.activeElement;
  const name = active instanceof HTMLElement && root.contains(active) ? nameOf(active) : null;
  const scrolled = [...root.querySelectorAll(".scrolls")].map((box) => box.scrollLeft);
  draw();
  root.querySelectorAll(".scrolls").forEach((box, index) => (box.scrollLeft = scrolled[index] ?? 0));
  if (name === null) return;
  const all = root.querySelectorAll<HTMLElement>("a, button, input, select, [tabindex]");
  [...all].find((element) => nameOf(element) === name)?.focus({ preventScroll: true });
}

const nameOf = (element: HTMLElement) =>
  [element.tagName, element.getAttribute("aria-label"), element.getAttribute("href"), element.textContent?.slice(0, 80)].join(" ");

/** Calls `work` at most so often, the last time after the last call. */
export function spaced(work: () => void, every_ms: number): { call: () => void; end: () => void } {
  let timer = 0;
  const call = () => {
    timer ||= window.setTimeout(() => {
      timer = 0;
      work();
    }, every_ms);
  };
  return { call, end: () => window.clearTimeout(timer) };
}

/** Does the newest of some tasks that come fast, one at a time: what was asked meanwhile is done once, after it. */
export function latest(work: () => Promise<void>): () => Promise<void> {
  let running: Promise<void> | null = null;
  let again = false;
  const run = async (): Promise<void> => {
    try {
      do {
        again = false;
        await work();
      } while (again);
    } finally {
      running = null;
    }
  };
  return () => {
    if (running) again = true;
    else running = run();
    return running ?? Promise.resolve();
  };
}
