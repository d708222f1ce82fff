// A grid on the page, exchanged only once the next one is decoded, so that nothing flickers.

import { el } from "./dom.ts";

export class Picture {
  readonly element = el("div", { class: "picture" });
  /** Called with the pixel of the picture that was clicked. */
  onpick: ((x: number, y: number) => void) | null = null;
  private shown = "";
  private wanted = "";
  private readonly image = el("img", { alt: "", draggable: "false" });

  constructor() {
    this.element.append(this.image);
    this.image.addEventListener("click", (event) => {
      const box = this.image.getBoundingClientRect();
      const [x, y] = [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
      this.onpick?.(x * this.image.naturalWidth, y * this.image.naturalHeight);
    });
  }

  /** Shows the picture at this address; where another is asked for meanwhile, that one. */
  async show(url: string, words: string): Promise<void> {
    this.wanted = url;
    if (url === this.shown) return;
    const next = new Image();
    next.src = url;
    try {
      await next.decode();
    } catch {
      words = `${words} cannot be read`;
    }
    if (this.wanted !== url) return;
    this.image.src = url;
    this.image.alt = words;
    this.shown = url;
    this.image.dataset.shown = url;
  }

  /** Has the browser fetch a picture that is likely to be shown next. */
  load(url: string): void {
    new Image().src = url;
  }
}
