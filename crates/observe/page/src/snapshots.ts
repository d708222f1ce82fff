// Snapshots with their sizes and scores, and whether they are whole.

import * as api from "./api.ts";
import { el, table } from "./dom.ts";
import { duration, mebibytes, short, time, whole } from "./format.ts";
import { type Make, latest, steady, trouble } from "./view.ts";

/** What the reader had the server look at, and what came of it. */
type Check = "reading" | { answer: api.Verified; at_ms: number } | { failed: string };

export const snapshots: Make = (app, root) => {
  const checks = new Checks(() => show());
  let shown: [api.Summary, api.Snapshots] | null = null;
  let isLeft = false;
  const show = () => {
    if (shown === null || isLeft) return;
    const [run, answer] = shown;
    steady(root, () => root.replaceChildren(...view(run, answer, checks), checks.told));
  };
  const draw = latest(async () => {
    const run = app.shown()[0];
    if (!run) return;
    try {
      shown = [run, await api.snapshots(run.id)];
      show();
    } catch (error) {
      trouble(root, error);
    }
  });
  void draw();
  return {
    changed: () => void draw(),
    close: () => {
      isLeft = true;
    },
  };
};

/** Snapshots that are read, and were, while this view is open. */
class Checks {
  /** The newest result in a sentence, which is read aloud. */
  readonly told = el("p", { class: "hint", role: "status" });
  private readonly known = new Map<string, Check>();

  constructor(private readonly changed: () => void) {}

  /** The button, and what is known. */
  cell(run: api.Summary, step: number): HTMLElement {
    const check = this.known.get(this.key(run, step));
    const isBusy = [...this.known.values()].includes("reading");
    const button = el(
      "button",
      {
        type: "button",
        "aria-label": `verify step ${whole(step)}`,
        // Not `disabled`, which would take the reader's focus away.
        "aria-disabled": isBusy ? "true" : null,
        onclick: () => {
          if (!isBusy) void this.read(run, step);
        },
      },
      "verify",
    );
    return el("span", { class: "check" }, button, check ? result(check) : null);
  }

  private async read(run: api.Summary, step: number): Promise<void> {
    const key = this.key(run, step);
    this.known.set(key, "reading");
    this.told.textContent = `Reading the snapshot of step ${whole(step)} …`;
    this.changed();
    const check = await api.verify(run.id, step).then(
      (answer): Check => ({ answer, at_ms: Date.now() }),
      (error): Check => ({ failed: error instanceof Error ? error.message : String(error) }),
    );
    this.known.set(key, check);
    this.told.textContent = `Step ${whole(step)}: ${sentence(check)}`;
    this.changed();
  }

  private key(run: api.Summary, step: number): string {
    return `${run.id} ${step}`;
  }
}

function sentence(check: Check): string {
  if (check === "reading") return "it is being read";
  if ("failed" in check) return `not read: ${check.failed}`;
  const { state, parts, len_bytes, took_ms, why } = check.answer;
  const took = took_ms < 1000 ? `${short(took_ms)} ms` : duration(took_ms / 1000);
  if (state !== "whole") return `${state}: ${why ?? ""}`;
  return `whole: ${whole(parts)} parts, ${mebibytes(len_bytes ?? 0)} read in ${took}, ${time(check.at_ms)}`;
}

/** In a word or two; the sentence is its title. */
function result(check: Check): HTMLElement {
  const title = sentence(check);
  if (check === "reading") return el("span", {}, "reading …");
  const isWhole = "answer" in check && check.answer.state === "whole";
  const word = "answer" in check ? check.answer.state : "not read";
  return el("span", { class: isWhole ? "tag" : "tag warning", title }, word);
}

function view(run: api.Summary, answer: api.Snapshots, checks: Checks): HTMLElement[] {
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
    const isKept = snapshot.deleted_ms === null;
    return [
      el("span", {}, whole(snapshot.step), isBest ? el("span", { class: "tag" }, "best") : null),
      isKept ? "kept" : "deleted",
      mebibytes(snapshot.len_bytes),
      `${short(snapshot.blocked_ms)} ms`,
      time(snapshot.written_ms),
      ...cells,
      isKept ? checks.cell(run, snapshot.step) : "–",
      snapshot.url,
    ];
  });
  const titles = ["step", "state", "size", "training stood still", "written", ...metrics, "every byte", "where"];
  const parts = [el("h2", {}, "Snapshots"), table("Snapshots", titles, rows)];
  if (answer.scores_unreadable) parts.push(el("p", { class: "trouble" }, answer.scores_unreadable));
  const verify = `lsgan checkpoints verify --run ${run.dir}`;
  const hint = "Sizes are the journal's. “verify” has the server read every byte and compare the hashes, one snapshot at a time; of all of them: ";
  parts.push(el("p", { class: "hint" }, hint, el("code", {}, verify)));
  return parts;
}
