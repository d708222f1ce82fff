-- The journal of a run. Open it with any SQLite tool, also while the run goes on:
--   sqlite3 runs/quickstart/journal.sqlite 'select step, loss_d, loss_g from metrics order by step desc limit 5'
-- Table `entries` is what a coordinator starts from; the others are written with it, for people and queries.
-- Times end in _ms and count milliseconds since 1970-01-01 UTC. Steps, reductions, ranks and positions count from 0.

-- Facts of the run by name: schema_version, run, identity, spec_yaml, token, data_fingerprint, records,
-- virtual_ranks, global_batch (samples of a step), numerics, outcome (complete, stopped, failed or refused), outcome_why, final_files (JSON), suspect_after (the
-- step after which snapshots may be wrong, until the run goes on), paused_ms and paused_by (while an operator holds it),
-- join_tokens (JSON: who made them, how long they are valid, and a hash of the secret of each), snapshot_failed (why the newest
-- snapshot was not written; empty once one is), alerts (JSON: those that stand, as the coordinator has told them, and how many
-- have begun since it started).
create table meta (
  key   text primary key,
  value text not null
) strict;

-- All that the run's machine has decided, in order, never changed. kind: base (all that the entries before it say, so that
-- a coordinator reads from the newest one on), admitted, gone, generation, consumed, … ; body: JSON.
create table entries (
  sequence integer primary key autoincrement,
  wall_ms  integer not null,
  kind     text not null,
  body     text not null
) strict;
create index bases on entries (sequence) where kind = 'base';

-- Every life of every worker.
create table workers (
  incarnation integer primary key,
  name        text not null,
  address     text not null,           -- where its peers reach it
  joined_ms   integer not null,
  gone_ms     integer,                 -- null while it is attached
  why         text,                    -- why it is gone
  load        text,                    -- JSON: what a step took it lately, part by part, and what it takes of its host
  load_ms     integer                  -- when it said that
) strict;

-- Every membership of the collective group.
create table generations (
  generation     integer primary key,
  from_reduction integer not null,     -- reductions applied in the state that it started from; step = half of it
  start          text not null,        -- fresh, snapshot, held
  formed_ms      integer not null,
  stepping_ms    integer,              -- when all members were ready
  halted_ms      integer,              -- null while it is alive
  why            text                  -- why it ended
) strict;

-- Who computed which virtual ranks, [first_virtual_rank, first_virtual_rank + virtual_rank_count).
create table members (
  generation         integer not null references generations,
  rank               integer not null,
  incarnation        integer not null references workers,
  address            text not null,
  first_virtual_rank integer not null,
  virtual_rank_count integer not null,
  primary key (generation, rank)
) strict;

-- Every shard position that was wholly read: by its primary key, exactly once.
create table completions (
  position     integer primary key,    -- position = ordinal * V + virtual_rank
  virtual_rank integer not null,
  epoch        integer not null,
  shard        integer not null,
  incarnation  integer not null,
  generation   integer not null,
  completed_ms integer not null
) strict;

-- What was measured of a step, every report.every steps: the registry in crates/spec/src/scalars.rs says what each column is,
-- and a column is added for each row of it but the derived ones: kimg is (step + 1) * global_batch / 1000, s_per_kimg is
-- 1000 / images_per_s. Null: not measured in that step.
-- One row a step is half as large as a row for each value, and written three times as fast; a curve of 10,000,000 steps is
-- read in a second or two. Old rows are thinned: metrics_thinned.
create table metrics (
  step    integer primary key,
  wall_ms integer not null             -- when the step ended
) strict;

-- Old rows of metrics are thinned. The newest 2,000,000 steps keep all of theirs. Of each 256 steps before them, [step, until_step),
-- the rows stay that have the least or the greatest value of any scalar, and the last row: no spike is lost. What the others had is
-- here: sums is JSON, of each scalar [how many of its values were finite, their sum], so that means stay what they were. Nothing else
-- of a run is thinned but its pictures, and what a coordinator starts from is not.
create table metrics_thinned (
  step       integer primary key,
  until_step integer not null,
  sums       text not null,
  thinned_ms integer not null
) strict;

-- Snapshots that were published.
create table checkpoints (
  step       integer primary key,      -- steps done
  url        text not null,
  len_bytes  integer not null,
  blake3     text not null,            -- of the manifest
  blocked_ms real not null,            -- how long the training thread stood still for it
  written_ms integer not null,
  deleted_ms integer                   -- null while it is kept
) strict;

-- Records of the data set that turned out not to decode. The next good record of the same shard takes their place.
create table corrupt_records (
  record   integer primary key,        -- its number in the data set
  key      text not null,              -- its name there: its file, its key, or its number
  reason   text not null,
  step     integer not null,           -- the step that it was first met in
  found_ms integer not null
) strict;

-- Pictures made while training.
create table samples (
  step       integer primary key,      -- steps done
  file       text not null,
  written_ms integer not null
) strict;

-- What a person would want to know of, in sentences.
create table events (
  id      integer primary key autoincrement,
  at_ms   integer not null,
  warning integer not null,            -- 1: somebody should look at it
  text    text not null,
  cause   text,                        -- of a warning that stands until its cause ends: a word for the cause
  over_ms integer                      -- when that cause ended, or another coordinator began to look
) strict;
create index standing on events (cause) where cause is not null and over_ms is null;
