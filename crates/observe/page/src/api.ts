// What the server answers: docs/observe.md documents every route.

export interface Score { metric: string; value: number; deviation?: number }
export interface ScoreRow { step: number; weights: string; scores: Score[]; extractor?: string; samples: number }

export interface Summary {
  id: string; name: string; dir: string; state: string; live: boolean; why: string;
  step: number; steps: number | null; global_batch: number | null;
  images_per_s: number | null; s_per_kimg: number | null; eta_s: number | null; goodput: number | null;
  generation: number; workers: number; snapshot_step: number | null; sample_step: number | null;
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
  from: number; until: number; steps: number[]; wall_ms: number[]; scalars: Record<string, Curve>;
}
export interface Sample { step: number; written_ms: number }
export interface Worker {
  incarnation: number; name: string; address: string; joined_ms: number; gone_ms: number | null; why: string | null;
}
export interface Generation {
  generation: number; from_reduction: number; start: string; formed_ms: number; stepping_ms: number | null;
  halted_ms: number | null; why: string | null;
}
export interface Member {
  generation: number; rank: number; incarnation: number; first_virtual_rank: number; virtual_rank_count: number;
}
export interface Workers {
  workers: Worker[]; generations: Generation[]; members: Member[]; generations_count: number; virtual_ranks: number | null;
}
export interface Snapshot {
  step: number; url: string; len_bytes: number; blake3: string; blocked_ms: number; written_ms: number;
  deleted_ms: number | null;
}
export interface Snapshots { snapshots: Snapshot[]; scores: ScoreRow[]; scores_unreadable: string | null }
export interface RunEvent { id: number; at_ms: number; warning: number; text: string }

async function ask<T>(path: string): Promise<T> {
  const response = await fetch(path);
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
