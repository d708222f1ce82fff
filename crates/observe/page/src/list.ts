// All runs.

import * as api from "./api.ts";
import { el, table } from "./dom.ts";
import { percent, short, time, whole } from "./format.ts";
import * as place from "./place.ts";
import { type Make, label, state, steady } from "./view.ts";

export const list: Make = (app, root) => {
  const chosen = new Set(place.runs());
  const draw = () => {
    const runs = [...app.runs.values()].sort((a, b) => (b.updated_ms ?? 0) - (a.updated_ms ?? 0));
    if (runs.length === 0) {
      root.replaceChildren(el("p", { class: "empty" }, "There are no runs here yet; one that begins is shown at once."));
      return;
    }
    const compare = el("button", { type: "button", disabled: chosen.size < 2 }, `Compare ${chosen.size || ""} runs`);
    compare.addEventListener("click", () => place.go({ run: [...chosen], view: "curves" }));
    const rows = runs.map((run) => {
      const name = label(app, run);
      const box = el("input", { type: "checkbox", checked: chosen.has(run.id), "aria-label": `compare ${name}` });
      box.addEventListener("change", () => {
        if (box.checked) chosen.add(run.id);
        else chosen.delete(run.id);
        draw();
      });
      const best = run.best?.scores[0];
      return [
        box,
        thumb(run, name),
        el("a", { href: place.changed({ run: run.id, view: null }), class: "go" }, name),
        state(run),
        `${whole(run.step)}${run.steps ? ` of ${whole(run.steps)}` : ""}`,
        short(run.images_per_s),
        short(run.s_per_kimg),
        percent(run.goodput),
        best ? `${best.metric} ${short(best.value)}` : "–",
        time(run.updated_ms),
      ];
    });
    const titles = ["compare", "samples", "run", "state", "step", "images/s", "s/kimg", "goodput", "best score", "newest step"];
    const head = el("div", { class: "row" }, el("h2", { class: "title" }, "Runs"), compare);
    steady(root, () => root.replaceChildren(head, table("Runs", titles, rows)));
  };
  draw();
  return { changed: draw };
};

function thumb(run: api.Summary, name: string): HTMLElement | null {
  if (run.sample_step === null) return null;
  const src = api.picture(run.id, { step: run.sample_step, written_ms: run.began_ms ?? 0 });
  return el("img", { class: "thumb", src, alt: `Newest samples of ${name}`, loading: "lazy" });
}
