// Snapshots with their sizes and scores.

import * as api from "./api.ts";
import { el, table } from "./dom.ts";
import { mebibytes, short, time, whole } from "./format.ts";
import { type Make, latest, steady, trouble } from "./view.ts";

export const snapshots: Make = (app, root) => {
  const draw = latest(async () => {
    const run = app.shown()[0];
    if (!run) return;
    try {
      const answer = await api.snapshots(run.id);
      steady(root, () => root.replaceChildren(...view(run, answer)));
    } catch (error) {
      trouble(root, error);
    }
  });
  void draw();
  return { changed: () => void draw() };
};

function view(run: api.Summary, answer: api.Snapshots): HTMLElement[] {
  if (answer.snapshots.length === 0) return [el("p", { class: "empty" }, "This run has no snapshots yet.")];
  const newest = new Map(answer.scores.map((row) => [row.step, row]));
  const metrics = [...new Set(answer.scores.flatMap((row) => row.scores.map((score) => score.metric)))];
  const rows = [...answer.snapshots].reverse().map((snapshot) => {
    const scores = newest.get(snapshot.step)?.scores ?? [];
    const cells = metrics.map((metric) => {
      const score = scores.find((one) => one.metric === metric);
      if (!score) return "–";
      return score.deviation === undefined ? short(score.value) : `${short(score.value)} ± ${short(score.deviation)}`;
    });
    const isBest = run.best?.step === snapshot.step;
    return [
      el("span", {}, whole(snapshot.step), isBest ? el("span", { class: "tag" }, "best") : null),
      snapshot.deleted_ms === null ? "kept" : "deleted",
      mebibytes(snapshot.len_bytes),
      `${short(snapshot.blocked_ms)} ms`,
      time(snapshot.written_ms),
      ...cells,
      snapshot.url,
    ];
  });
  const titles = ["step", "state", "size", "training stood still", "written", ...metrics, "where"];
  const parts = [el("h2", {}, "Snapshots"), table("Snapshots", titles, rows)];
  if (answer.scores_unreadable) parts.push(el("p", { class: "trouble" }, answer.scores_unreadable));
  const verify = `lsgan checkpoints verify --run ${run.dir}`;
  parts.push(el("p", { class: "hint" }, "Sizes are the journal's. To read every byte and compare the hashes: ", el("code", {}, verify)));
  return parts;
}
