// Elements without HTML as text: names of runs and texts of events come from anybody and only ever become text.

type Child = Node | string | number | null | undefined | false;
type Properties = Record<string, unknown>;

/** An element. Properties that are functions listen (`onclick`), the others are attributes; null and false leave one out. */
export function el<K extends keyof HTMLElementTagNameMap>(
  name: K,
  properties: Properties = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(name);
  apply(element, properties, children);
  return element;
}

/** The same for pictures of lines and boxes. */
export function svg(name: string, properties: Properties = {}, ...children: Child[]): SVGElement {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  apply(element, properties, children);
  return element;
}

function apply(element: Element, properties: Properties, children: Child[]): void {
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") {
      element.addEventListener(name.replace(/^on/, ""), value as EventListener);
    } else {
      element.setAttribute(name, value === true ? "" : String(value));
    }
  }
  element.append(...children.filter(isShown).map((child) => (child instanceof Node ? child : String(child))));
}

function isShown(child: Child): child is Node | string | number {
  return child !== null && child !== undefined && child !== false;
}

/** A table with a caption that is read aloud, in a box that scrolls by itself where the screen is narrow. */
export function table(caption: string, titles: string[], rows: Child[][]): HTMLElement {
  const head = el("tr", {}, ...titles.map((title) => el("th", { scope: "col" }, title)));
  const body = rows.map((cells) => el("tr", {}, ...cells.map((cell) => el("td", {}, cell))));
  const whole = el(
    "table",
    {},
    el("caption", { class: "unseen" }, caption),
    el("thead", {}, head),
    el("tbody", {}, ...body),
  );
  return el("div", { class: "scrolls", tabindex: 0, role: "region", "aria-label": caption }, whole);
}

/** A list of choices with a label. */
export function select(
  label: string,
  choices: [string, string][],
  chosen: string,
  choose: (value: string) => void,
): HTMLElement {
  const options = choices.map(([value, text]) => el("option", { value, selected: value === chosen }, text));
  const list = el("select", {}, ...options);
  list.addEventListener("change", () => choose(list.value));
  return el("label", { class: "field" }, el("span", {}, label), list);
}

/** A box to tick. */
export function tick(label: string, is: boolean, change: (is: boolean) => void): HTMLElement {
  const box = el("input", { type: "checkbox", checked: is });
  box.addEventListener("change", () => change(box.checked));
  return el("label", { class: "field" }, box, el("span", {}, label));
}
