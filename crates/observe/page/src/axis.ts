// What a chart's x axis counts: steps, images, or one of three clocks.

import type { Curves, Series, Summary } from "./api.ts";
import type { XKind } from "./chart.ts";

export const KINDS: [XKind, string][] = [
  ["step", "step"],
  ["kimg", "1,000 images"],
  ["hours", "hours since the start"],
  ["stepping", "hours of stepping"],
  ["time", "time of day"],
];

const HOUR_MS = 3_600_000;

export const named = (name: string | null): XKind => KINDS.find(([kind]) => kind === name)?.[0] ?? "step";

/** Where each row of the curves lies. */
export function ofCurves(answer: Curves, kind: XKind, run: Summary): number[] {
  switch (kind) {
    case "step":
      return answer.steps;
    case "kimg":
      return answer.steps.map((step) => kimg(step + 1, run));
    case "time":
      return answer.wall_ms.map((ms) => ms / 1000);
    case "hours":
      return answer.wall_ms.map((ms) => (ms - (run.began_ms ?? 0)) / HOUR_MS);
    case "stepping":
      return answer.stepping_ms.map((ms) => ms / HOUR_MS);
  }
}

/** Where each score lies, null where that is not known. Its step is of steps done; `curves` tells how time went by. */
export function ofScores(series: Series, kind: XKind, run: Summary, curves: Curves): (number | null)[] {
  return series.steps.map((done, index) => {
    const wall_ms = series.wall_ms[index] ?? null;
    if (kind === "step") return done;
    if (kind === "kimg") return kimg(done, run);
    if (kind === "stepping") return stepped(done, curves);
    if (wall_ms === null) return null;
    return kind === "time" ? wall_ms / 1000 : (wall_ms - (run.began_ms ?? 0)) / HOUR_MS;
  });
}

const kimg = (done: number, run: Summary) => (done * (run.global_batch ?? 0)) / 1000;

function stepped(done: number, curves: Curves): number | null {
  const row = curves.steps.findIndex((step) => step >= done - 1);
  const ms = curves.stepping_ms[row < 0 ? curves.steps.length - 1 : row];
  return ms === undefined ? null : ms / HOUR_MS;
}
