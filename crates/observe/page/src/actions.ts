// What a reader may ask a live run for: each after a question. The buttons are there only where the run's coordinator takes them.

import * as api from "./api.ts";
import { el } from "./dom.ts";
import { steady } from "./view.ts";

/** Where the key of the page is kept for this tab. */
const KEY = "lsgan-key";

/** The words of an action: its button, what happens then, and when it can be asked for. */
interface Words { button: string; question: string; when(run: api.Summary): boolean }

const WORDS: Record<string, Words> = {
  snapshot: {
    button: "Write a snapshot",
    question: "The run writes a snapshot after the step that it is doing. Training does not wait for it.",
    when: (run) => run.state === "stepping",
  },
  pause: {
    button: "Pause",
    question: "The run rests after the step that it is doing, with a snapshot. Its workers keep their state and memory.",
    when: (run) => run.state !== "paused",
  },
  resume: {
    button: "Resume",
    question: "The run goes on where it rests.",
    when: (run) => run.state === "paused",
  },
  scale: {
    button: "Scale",
    question: "Workers join and leave at step boundaries. No bit of the weights changes.",
    when: () => true,
  },
  stop: {
    button: "Stop",
    question: "The run ends after the step that it is doing, with a snapshot. The command that started it goes on from there.",
    when: () => true,
  },
};

/** Takes the key out of the address, which may be passed on, and keeps it for this tab. */
export function keepKey(): void {
  const key = new URLSearchParams(location.hash.slice(1)).get("key");
  if (key === null) return;
  sessionStorage.setItem(KEY, key);
  history.replaceState(null, "", location.pathname + location.search);
}

export class Buttons {
  readonly element = el("section", { class: "actions", hidden: true, "aria-label": "actions" });
  private readonly row = el("div", { class: "row" });
  private readonly told = el("p", { class: "hint", role: "status" });
  private possible: api.Possible | null = null;
  private laid = "";

  constructor() {
    this.element.append(this.row, this.told);
  }

  /** Shows what can be asked of this run now. */
  async show(run: api.Summary): Promise<void> {
    this.element.hidden = !run.live;
    if (!run.live) return;
    // It does not change while a coordinator lives; where it cannot be read there is nothing to press.
    this.possible ??= await api.possible(run.id).catch(() => null);
    const names = this.possible?.actions.filter((name) => WORDS[name]?.when(run)) ?? [];
    this.element.hidden = names.length === 0;
    const key = sessionStorage.getItem(KEY) ?? "";
    const isLocked = (this.possible?.needs_key ?? false) && key === "";
    const layout = JSON.stringify([run.id, names, isLocked]);
    if (layout === this.laid) return;
    this.laid = layout;
    if (isLocked) {
      const command = el("code", {}, `lsgan page --run ${run.dir}`);
      const why = el("p", { class: "hint" }, "To stop, pause or scale this run from here, open the page as an operator: ", command);
      return this.row.replaceChildren(why);
    }
    steady(this.row, () => this.row.replaceChildren(...names.map((name) => this.button(run, name, key))));
  }

  private button(run: api.Summary, name: string, key: string): HTMLElement {
    const words = WORDS[name]!;
    return el("button", { type: "button", onclick: () => this.ask(run, name, words, key) }, words.button);
  }

  /** Asks the reader, and then the run. */
  private ask(run: api.Summary, name: string, words: Words, key: string): void {
    const workers =
      name === "scale"
        ? el("input", { type: "number", min: 1, max: 1024, value: Math.max(run.workers, 1), required: true })
        : null;
    const no = el("button", { type: "button" }, "Cancel");
    const yes = el("button", { type: "submit", class: "yes" }, words.button);
    const form = el(
      "form",
      {},
      el("h2", {}, `${words.button}: ${run.name || run.id}?`),
      el("p", {}, words.question),
      workers ? el("label", { class: "field" }, el("span", {}, "workers"), workers) : null,
      el("div", { class: "row" }, no, yes),
    );
    const dialog = el("dialog", { "aria-label": `${words.button}?` }, form);
    no.addEventListener("click", () => dialog.close());
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      dialog.close();
      void this.send(run, name, key, workers ? { workers: workers.value } : {});
    });
    dialog.addEventListener("close", () => dialog.remove());
    document.body.append(dialog);
    dialog.showModal();
    // What changes nothing is nearest.
    (workers ?? no).focus();
  }

  private async send(run: api.Summary, name: string, key: string, query: Record<string, string>): Promise<void> {
    try {
      await api.act(run.id, name, key, query);
      this.told.textContent = `Asked for: ${WORDS[name]!.button.toLowerCase()}.`;
    } catch (error) {
      this.told.textContent = `Not done: ${error instanceof Error ? error.message : String(error)}`;
    }
  }
}
