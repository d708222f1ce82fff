// The run's file as resolved, and what is different in another run's.

import * as api from "./api.ts";
import { el } from "./dom.ts";
import { type App, type Make, label, trouble } from "./view.ts";

export const file: Make = (app, root) => {
  void draw(app, root).catch((error) => trouble(root, error));
  return {};
};

async function draw(app: App, root: HTMLElement): Promise<void> {
  const [a, b] = app.shown();
  if (!a) return;
  const [mine, other] = await Promise.all([api.details(a.id), b ? api.details(b.id) : null]);
  const text = mine.spec_yaml ?? "The journal has no file of this run.";
  if (!b || !other) {
    const hint = "All fields, defaults included. Add a second run above to see what is different.";
    const pre = el("pre", { tabindex: 0, "aria-label": "file of the run" }, text);
    root.replaceChildren(el("p", { class: "hint" }, hint), pre);
    return;
  }
  const lines = difference(lines_(text), lines_(other.spec_yaml ?? ""));
  const changes = lines.filter(([mark]) => mark !== " ").length;
  const words = changes ? `− ${label(app, a)}, + ${label(app, b)}` : "Both runs have the same file.";
  const marked = lines.map(([mark, line]) => {
    return el("span", { class: { "-": "gone", "+": "new", " ": "same" }[mark] }, `${mark} ${line}\n`);
  });
  const pre = el("pre", { tabindex: 0, "aria-label": "difference of the files", class: "diff" }, ...marked);
  root.replaceChildren(el("p", { class: "hint" }, words), pre);
}

const lines_ = (text: string) => text.trimEnd().split("\n");

/** The shortest way from one text to the other, line by line. Files have a few hundred lines, so a table of all pairs is small. */
export function difference(a: string[], b: string[]): ["-" | "+" | " ", string][] {
  const common = Array.from({ length: a.length + 1 }, () => new Array<number>(b.length + 1).fill(0));
  for (let i = a.length - 1; i >= 0; i--) {
    for (let j = b.length - 1; j >= 0; j--) {
      common[i]![j] = a[i] === b[j] ? common[i + 1]![j + 1]! + 1 : Math.max(common[i + 1]![j]!, common[i]![j + 1]!);
    }
  }
  const way: ["-" | "+" | " ", string][] = [];
  let [i, j] = [0, 0];
  while (i < a.length || j < b.length) {
    if (i < a.length && j < b.length && a[i] === b[j]) {
      way.push([" ", a[i]!]);
      i += 1;
      j += 1;
    } else if (j >= b.length || (i < a.length && common[i + 1]![j]! >= common[i]![j + 1]!)) {
      way.push(["-", a[i]!]);
      i += 1;
    } else {
      way.push(["+", b[j]!]);
      j += 1;
    }
  }
  return way;
}
