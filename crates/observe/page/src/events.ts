// What happened, newest first.

import * as api from "./api.ts";
import { el, table, tick } from "./dom.ts";
import { time } from "./format.ts";
import * as place from "./place.ts";
import { type Make, latest, steady, trouble } from "./view.ts";

const PAGE = 200;

export const events: Make = (app, root) => {
  const box = el("input", { type: "search", value: place.get("search") ?? "", placeholder: "text that they have" });
  const found = el("div", {});
  let shown = PAGE;
  const draw = latest(async () => {
    const run = app.shown()[0];
    if (!run) return;
    try {
      await show(run, found, shown, () => {
        shown += PAGE;
        void draw();
      });
    } catch (error) {
      trouble(found, error);
    }
  });
  box.addEventListener("input", () => {
    place.note({ search: box.value || null });
    void draw();
  });
  const warnings = tick("warnings alone", place.get("warnings") === "1", (is) => {
    place.note({ warnings: is ? 1 : null });
    void draw();
  });
  const search = el("label", { class: "field" }, el("span", {}, "search"), box);
  root.append(el("div", { class: "toolbar" }, search, warnings), found);
  void draw();
  return { changed: () => void draw() };
};

/** A warning stands until its cause ends, as long as there is a coordinator that would see that. */
export function kind(event: api.RunEvent, live: boolean): HTMLElement | string {
  if (!event.warning) return "";
  const over_ms = event.over_ms ?? null;
  if (over_ms !== null) return el("span", { class: "tag over", title: `its cause ended at ${time(over_ms)}` }, "over");
  const stands = live && !!event.cause;
  const title = stands ? `it stands: ${event.cause}` : null;
  return el("span", { class: "tag warning", title }, stands ? "warning, stands" : "warning");
}

async function show(run: api.Summary, root: HTMLElement, limit: number, more: () => void): Promise<void> {
  const query: Record<string, string> = { limit: String(limit) };
  const search = place.get("search");
  if (search) query.search = search;
  if (place.get("warnings") === "1") query.warnings = "1";
  const rows = await api.events(run.id, query);
  if (rows.length === 0) {
    root.replaceChildren(el("p", { class: "empty" }, search ? "No event has this text." : "Nothing has happened yet."));
    return;
  }
  const cells = rows.map((event) => [
    time(event.at_ms),
    kind(event, run.live),
    event.text,
  ]);
  const button = rows.length === limit ? el("button", { type: "button", onclick: more }, "more") : "";
  steady(root, () => root.replaceChildren(table("Events", ["time", "kind", "what"], cells), button));
}
