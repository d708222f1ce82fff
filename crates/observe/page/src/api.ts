// What the server answers: docs/observe.md documents every route.

export interface Score { metric: string; value: number; deviation?: number }
export interface ScoreRow { step: number; weights: string; scores: Score[]; extractor?: string; samples: number }

export interface Summary {
  id: string; name: string; dir: string; state: string; live: boolean; why: string;
  step: number; steps: number | null; global_batch: number | null;
  images_per_s: number | null; s_per_kimg: number | null; eta_s: number | null; goodput: number | null;
  generation: number; workers: number; memory_bytes: number | null; snapshot_step: number | null; sample_step: number | null;
  events_until: number; corrupt_records: number; epoch: number | null; newest: Record<string, number>; best: ScoreRow | null;
  tile_px: number | null; began_ms: number | null; updated_ms: number | null; alerts?: Alert[];
}
export interface Alert { kind: string; text: string; advice: string }

export interface Scalar { name: string; unit: string; help: string; group: string }
export interface Details {
  summary: Summary; identity: string | null; numerics: string | null; records: number | null;
  data_fingerprint: string | null; spec_yaml: string | null;
  final_files: { name: string; url: string; blake3: string }[];
  corrupt_records: { record: number; key: string; reason: string; step: number }[];
}
type Numbers = (number | null)[];
export interface Curve { mean: Numbers; min?: Numbers; max?: Numbers; smooth?: Numbers }
export interface Curves {
  from: number; until: number; steps: number[]; wall_ms: number[]; stepping_ms: number[]; scalars: Record<string, Curve>;
}
/** Scores of one metric that can be compared with each other. */
export interface Series {
  name: string; metric: string; better: "less" | "more"; best_step: number | null; steps: number[]; wall_ms: Numbers;
  values: Numbers; deviations: Numbers;
}
export interface Scored { series: Series[]; unreadable: string | null }
export interface Epoch { epoch: number; shards: number; began_ms: number; read_ms: number }
export interface Data {
  records: number | null; virtual_ranks: number | null; data_fingerprint: string | null; epochs: Epoch[];
  corrupt_count: number; corrupt_records: { record: number; key: string; reason: string; step: number; found_ms: number }[];
  grids: number; grids_len_bytes: number;
}
/** What a reader may ask of the run. */
export interface Possible { actions: string[]; needs_key: boolean }
export interface Sample { step: number; written_ms: number }
export interface Worker {
  incarnation: number; name: string; address: string; joined_ms: number; gone_ms: number | null; why: string | null;
  /** JSON of a Load; journals of older versions have none. */
  load?: string | null; load_ms?: number | null;
}
/** What a step took a worker lately, part by part, and what it takes of its host. */
export interface Load {
  steps: number; step_us: number; data_wait_us: number; discriminator_us: number; generator_us: number; reduce_us: number;
  apply_us: number; memory_bytes: number; host: string; device: string; threads: number;
}
export interface Straggler { at_ms: number; over_ms: number | null; incarnation: number }
export interface Generation {
  generation: number; from_reduction: number; start: string; formed_ms: number; stepping_ms: number | null;
  halted_ms: number | null; why: string | null;
}
export interface Member {
  generation: number; rank: number; incarnation: number; first_virtual_rank: number; virtual_rank_count: number;
}
export interface Workers {
  workers: Worker[]; generations: Generation[]; members: Member[]; generations_count: number; virtual_ranks: number | null;
  stragglers: Straggler[];
}
export interface Snapshot {
  step: number; url: string; len_bytes: number; blake3: string; blocked_ms: number; written_ms: number;
  deleted_ms: number | null;
}
/** Whether a snapshot is whole; `why` not, where it is not. */
export interface Verified {
  step: number; state: "whole" | "damaged" | "missing" | "unknown"; took_ms: number; parts?: number; len_bytes?: number; why?: string;
}
export interface Snapshots { snapshots: Snapshot[]; scores: ScoreRow[]; scores_unreadable: string | null }
export interface RunEvent {
  id: number; at_ms: number; warning: number; text: string;
  /** Of a warning that stands until its cause ends; journals of older versions do not say. */
  cause?: string | null; over_ms?: number | null;
}

async function ask<T>(path: string, options?: RequestInit): Promise<T> {
  const response = await fetch(path, options);
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.error ?? `${path}: ${response.status}`);
  return answer as T;
}

const of = (id: string, rest = "") => `/api/runs/${encodeURIComponent(id)}${rest}`;

export const scalars = () => ask<Scalar[]>("/api/scalars");
export const runs = () => ask<Summary[]>("/api/runs");
export const details = (id: string) => ask<Details>(of(id));
export const samples = (id: string) => ask<Sample[]>(of(id, "/samples"));
export const workers = (id: string) => ask<Workers>(of(id, "/workers"));
export const snapshots = (id: string) => ask<Snapshots>(of(id, "/snapshots"));
/** Has the server read a whole snapshot. */
export const verify = (id: string, step: number) => ask<Verified>(of(id, `/snapshots/${step}/verify`));
export const scores = (id: string) => ask<Scored>(of(id, "/scores"));
export const data = (id: string) => ask<Data>(of(id, "/data"));
export const possible = (id: string) => ask<Possible>(of(id, "/actions"));
/** Asks the run for something. The header is one that pages of other sites cannot send. */
export const act = (id: string, action: string, key: string, query: Record<string, string> = {}) =>
  ask<{ asked: string }>(of(id, `/actions/${action}?${new URLSearchParams(query)}`), {
    method: "POST",
    headers: { "X-Lsgan-Action": key || "1" },
  });
export const events = (id: string, query: Record<string, string>) =>
  ask<RunEvent[]>(of(id, `/events?${new URLSearchParams(query)}`));
export const curves = (id: string, query: Record<string, string>) =>
  ask<Curves>(of(id, `/curves?${new URLSearchParams(query)}`));

/** A grid's address; it changes when the grid is written anew. */
export const picture = (id: string, sample: Sample) => of(id, `/samples/${sample.step}?v=${sample.written_ms}`);

/** Calls with the summaries that have changed, and the ids of runs that are gone, as long as the page is open. */
export function live(changed: (runs: Summary[], gone: string[]) => void, connected: (is: boolean) => void): void {
  const source = new EventSource("/api/live");
  source.addEventListener("runs", (event) => {
    const { runs, gone } = JSON.parse((event as MessageEvent<string>).data);
    changed(runs, gone);
  });
  source.addEventListener("open", () => connected(true));
  source.addEventListener("error", () => connected(false));
}
