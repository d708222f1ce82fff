// Workers: a timeline of who computed which virtual ranks, and a table of all their lives.

import * as api from "./api.ts";
import { el, svg, table } from "./dom.ts";
import { duration, mebibytes, short, time, whole } from "./format.ts";
import { COLOURS, type Make, latest, runColour, steady, trouble } from "./view.ts";

/** The timeline's own units: it is stretched to the page's width. */
const [WIDTH, HEIGHT, LEFT, BOTTOM] = [1000, 272, 44, 34];
/** A run whose workers come and go every minute has more than a timeline shows. */
const MARKS_MAX = 400;

export const workers: Make = (app, root) => {
  const draw = latest(async () => {
    const run = app.shown()[0];
    if (!run) return;
    try {
      const answer = await api.workers(run.id);
      steady(root, () => root.replaceChildren(...view(run, answer)));
    } catch (error) {
      trouble(root, error);
    }
  });
  void draw();
  return { changed: () => void draw() };
};

function view(run: api.Summary, answer: api.Workers): HTMLElement[] {
  const names = new Map(answer.workers.map((worker) => [worker.incarnation, worker.name]));
  const newest = answer.generations.at(-1);
  const isAlive = newest !== undefined && newest.halted_ms === null && run.live;
  const now = answer.members.filter((member) => isAlive && member.generation === newest.generation);
  const lives = answer.workers.map((worker) => {
    const owned = now.find((member) => member.incarnation === worker.incarnation);
    const first = owned?.first_virtual_rank ?? 0;
    const isHere = worker.gone_ms === null && run.live;
    const until = worker.gone_ms ?? (run.live ? Date.now() : (run.updated_ms ?? worker.joined_ms));
    return [
      worker.incarnation,
      swatched(worker.name, answer),
      worker.address,
      isHere ? (owned ? "member" : "attached") : "gone",
      owned ? `${first}–${first + owned.virtual_rank_count - 1}` : "–",
      time(worker.joined_ms),
      duration((until - worker.joined_ms) / 1000),
      worker.why ?? "",
    ];
  });
  const generations = [...answer.generations].reverse().slice(0, 200).map((generation) => [
    generation.generation,
    generation.start,
    whole(Math.floor(generation.from_reduction / 2)),
    time(generation.formed_ms),
    generation.stepping_ms === null ? "never" : duration((generation.stepping_ms - generation.formed_ms) / 1000),
    generation.halted_ms === null ? "" : time(generation.halted_ms),
    generation.why ?? "",
  ]);
  const loaded = answer.workers.flatMap((worker): [api.Worker, api.Load][] => {
    const load = worker.gone_ms === null && run.live ? loadOf(worker) : null;
    return load ? [[worker, load]] : [];
  });
  const lifeTitles = ["life", "name", "peers at", "state", "virtual ranks", "joined", "for", "why gone"];
  const titles = ["generation", "from", "step", "formed", "stepping after", "halted", "why"];
  return [
    el("h2", {}, "Who computed which virtual ranks"),
    timeline(run, answer, names),
    ...(loaded.length > 0 ? split(loaded, answer) : []),
    el("h2", {}, "Workers"),
    table("Workers", lifeTitles, lives),
    el("h2", {}, `Generations (${whole(answer.generations_count)})`),
    table("Generations", titles, generations),
  ];
}

/** What the worker said last of its steps and its host, if it did. It comes from the worker: nothing in it is relied on. */
function loadOf(worker: api.Worker): api.Load | null {
  try {
    const load = JSON.parse(worker.load ?? "null");
    return load && typeof load.step_us === "number" ? load : null;
  } catch {
    return null;
  }
}

const PARTS: [keyof api.Load & `${string}_us`, string][] = [
  ["data_wait_us", "waiting for data"],
  ["discriminator_us", "D"],
  ["generator_us", "G"],
  ["reduce_us", "all-reduce"],
  ["apply_us", "updating weights"],
];

/** Where a step goes at each worker: a bar for each, and the same as a table. */
function split(loaded: [api.Worker, api.Load][], answer: api.Workers): HTMLElement[] {
  const longest = Math.max(...loaded.map(([, load]) => load.step_us), 1);
  const bars = loaded.map(([worker, load]) => {
    const parts = PARTS.map(([name, words], index) => {
      const share = Math.min(Math.max(Number(load[name]) / longest, 0), 1);
      return svg("rect", { "data-part": name, width: 1000 * share, height: 18, class: `fill-run-${index}` }, svg("title", {}, `${words}: ${ms(load[name])}`));
    });
    let left = 0;
    for (const part of parts) {
      part.setAttribute("x", String(left));
      left += Number(part.getAttribute("width"));
    }
    const words = PARTS.map(([name, part]) => `${part} ${ms(load[name])}`).join(", ");
    const label = `A step of ${worker.name}, ${ms(load.step_us)}: ${words}`;
    const box = { viewBox: "0 0 1000 18", preserveAspectRatio: "none", role: "img", "aria-label": label, class: "bar" };
    return el("div", { class: "split" }, swatched(worker.name, answer), svg("svg", box, ...parts));
  });
  const rows = loaded.map(([worker, load]) => [
    swatched(worker.name, answer),
    ms(load.step_us),
    ...PARTS.map(([name]) => ms(load[name])),
    mebibytes(load.memory_bytes),
    load.host,
    whole(load.threads),
    load.device,
  ]);
  const legend = PARTS.map(([, words], index) => el("span", {}, el("i", { class: `swatch ${runColour(index)}` }), words));
  const titles = ["name", "a step", ...PARTS.map(([, words]) => words), "memory", "host", "threads", "device"];
  return [
    el("h2", {}, "Where a step goes"),
    el("p", { class: "legend" }, ...legend),
    el("div", { class: "splits" }, ...bars),
    table("Where a step goes", titles, rows),
  ];
}

const ms = (us: unknown) => `${short(Number(us) / 1000)} ms`;

/** A worker keeps its colour over all of its lives. */
function colourOf(name: string, answer: api.Workers): string {
  const names = [...new Set([...answer.workers].reverse().map((worker) => worker.name))];
  return runColour(Math.max(names.indexOf(name), 0) % COLOURS);
}

function swatched(name: string, answer: api.Workers): HTMLElement {
  return el("span", {}, el("i", { class: `swatch ${colourOf(name, answer)}` }), name);
}

/** Virtual ranks upwards, time to the right; a gap is time in which no generation was stepping. */
function timeline(run: api.Summary, answer: api.Workers, names: Map<number, string>): HTMLElement {
  const began = answer.generations[0]?.formed_ms;
  if (began === undefined) return el("p", { class: "empty" }, "No generation has been formed yet.");
  const last = run.live ? Date.now() : Math.max(run.updated_ms ?? 0, ...answer.generations.map((g) => g.halted_ms ?? 0));
  const whole_ = Math.max(last - began, 1);
  const ranks = answer.virtual_ranks ?? Math.max(...answer.members.map((m) => m.first_virtual_rank + m.virtual_rank_count), 1);
  const x = (ms: number) => LEFT + ((ms - began) / whole_) * (WIDTH - LEFT);
  const y = (rank: number) => (rank / ranks) * (HEIGHT - BOTTOM);
  const boxes = answer.members.flatMap((member) => {
    const generation = answer.generations.find((g) => g.generation === member.generation);
    if (!generation || generation.stepping_ms === null) return [];
    const [from, until] = [generation.stepping_ms, generation.halted_ms ?? last];
    const name = names.get(member.incarnation) ?? String(member.incarnation);
    const end = member.first_virtual_rank + member.virtual_rank_count;
    const title = `${name}: virtual ranks ${member.first_virtual_rank} to ${end - 1}, generation ${member.generation}, ${duration((until - from) / 1000)}`;
    const box = { x: x(from), width: Math.max(x(until) - x(from), 1), y: y(member.first_virtual_rank) + 0.5 };
    const height = y(member.virtual_rank_count) - 1;
    return [svg("rect", { ...box, height, class: `fill-${colourOf(name, answer)}` }, svg("title", {}, title))];
  });
  const slow = answer.stragglers.flatMap((straggler) => {
    const [from, until] = [Math.max(straggler.at_ms, began), straggler.over_ms ?? last];
    const owned = answer.members.filter((member) => member.incarnation === straggler.incarnation);
    return owned.flatMap((member) => {
      const generation = answer.generations.find((g) => g.generation === member.generation);
      const begin = Math.max(from, generation?.stepping_ms ?? Infinity);
      const end = Math.min(until, generation?.halted_ms ?? last);
      if (begin >= end) return [];
      const box = { x: x(begin), width: Math.max(x(end) - x(begin), 2), y: y(member.first_virtual_rank) + 1.5 };
      const name = names.get(member.incarnation) ?? String(member.incarnation);
      const words = `${name} is a straggler for ${duration((end - begin) / 1000)}`;
      return [svg("rect", { ...box, height: y(member.virtual_rank_count) - 3, class: "slow" }, svg("title", {}, words))];
    });
  });
  const coming = answer.workers.flatMap((worker) => [
    mark(x(Math.max(worker.joined_ms, began)), "join", `${worker.name} joined at ${time(worker.joined_ms)}`),
    ...(worker.gone_ms === null
      ? []
      : [mark(x(Math.max(worker.gone_ms, began)), "gone", `${worker.name} is gone at ${time(worker.gone_ms)}: ${worker.why ?? ""}`)]),
  ]);
  const every = Math.max(1, Math.ceil(ranks / 8));
  const marks = Array.from({ length: Math.ceil(ranks / every) }, (_, i) => i * every).map((rank) =>
    svg("text", { x: LEFT - 6, y: (y(rank) + y(rank + 1)) / 2 + 4, "text-anchor": "end" }, rank),
  );
  const times = [0, 0.25, 0.5, 0.75, 1].map((part) => {
    const anchor = part === 0 ? "start" : part === 1 ? "end" : "middle";
    const at = LEFT + part * (WIDTH - LEFT);
    return svg("text", { x: at, y: HEIGHT - 5, "text-anchor": anchor }, duration((part * whole_) / 1000));
  });
  const label = `Timeline of ${answer.generations.length} generations over ${duration(whole_ / 1000)}; the tables below say the same.`;
  const drawing = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": label, class: "timeline" });
  drawing.append(...marks, ...times, ...boxes, ...slow, ...coming.slice(0, MARKS_MAX));
  const legend = [...new Set(answer.workers.map((worker) => worker.name))].reverse().slice(0, 24);
  return el(
    "div",
    {},
    el("div", { class: "scrolls", tabindex: 0, role: "region", "aria-label": "Timeline" }, drawing),
    el("p", { class: "legend" }, ...legend.map((name) => swatched(name, answer)), el("span", {}, "▲ joined  ✕ gone")),
  );
}

/** A sign between the boxes and the times. */
function mark(x: number, kind: "join" | "gone", words: string): SVGElement {
  const [at, y] = [Math.min(Math.max(x, LEFT + 4), WIDTH - 4), HEIGHT - BOTTOM + 8];
  return svg("text", { x: at, y, "text-anchor": "middle", class: `mark ${kind}` }, kind === "join" ? "▲" : "✕", svg("title", {}, words));
}
