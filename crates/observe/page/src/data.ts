// What was read of the data set, which of its records do not decode, and what the samples take on the disk.

import * as api from "./api.ts";
import { el, table } from "./dom.ts";
import { duration, mebibytes, percent, time, whole } from "./format.ts";
import { type Make, latest, spaced, steady, trouble } from "./view.ts";

/** A live run is drawn so often: its epochs are counted anew each time. */
const AGAIN_MS = 3000;

export const data: Make = (app, root) => {
  const draw = latest(async () => {
    const run = app.shown()[0];
    if (!run) return;
    try {
      const answer = await api.data(run.id);
      steady(root, () => root.replaceChildren(...view(run, answer)));
    } catch (error) {
      trouble(root, error);
    }
  });
  void draw();
  const again = spaced(() => void draw(), AGAIN_MS);
  return { changed: again.call, close: again.end };
};

function view(run: api.Summary, answer: api.Data): HTMLElement[] {
  const read = answer.epochs.reduce((sum, epoch) => sum + epoch.shards, 0);
  const [step_ms, wait_ms] = [run.newest.step_ms, run.newest.data_wait_ms];
  const waits = step_ms && wait_ms !== undefined ? percent(wait_ms / step_ms) : "–";
  const cells: [string, string][] = [
    ["records", whole(answer.records)],
    ["epoch", whole(run.epoch)],
    ["shards read", whole(read)],
    ["of a step, waiting for data", waits],
    ["corrupt records", whole(answer.corrupt_count)],
    ["grids of samples", `${whole(answer.grids)}, ${mebibytes(answer.grids_len_bytes)}`],
  ];
  const numbers = cells.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value)));
  const epochs = answer.epochs.map((epoch) => [
    whole(epoch.epoch),
    whole(epoch.shards),
    time(epoch.began_ms),
    time(epoch.read_ms),
    duration((epoch.read_ms - epoch.began_ms) / 1000),
  ]);
  const records = answer.corrupt_records.map((record) => [
    record.key,
    whole(record.record),
    whole(record.step),
    time(record.found_ms),
    record.reason,
  ]);
  const none = "All records that were read decode.";
  return [
    el("h2", {}, "Data"),
    el("dl", { class: "numbers" }, ...numbers),
    el("p", { class: "hint" }, "fingerprint ", el("code", {}, answer.data_fingerprint ?? "–")),
    el("h2", {}, "Epochs"),
    epochs.length > 0
      ? table("Epochs", ["epoch", "shards read", "first", "newest", "in"], epochs)
      : el("p", { class: "empty" }, "No shard has been read to its end yet."),
    el("h2", {}, "Corrupt records"),
    records.length > 0
      ? table("Corrupt records", ["record", "number", "at step", "found", "why"], records)
      : el("p", { class: "hint" }, none),
  ];
}
