// Where the reader is: everything that a link holds is in the address, behind the `?`.

/** Names of the parameters: docs/observe.md documents them. */
export type Name =
  | "run" | "view" | "step" | "mode" | "with" | "step2" | "wipe"
  | "pin" | "from" | "until" | "grid" | "x" | "log" | "window" | "theme" | "search" | "warnings";

/** One parameter, or nothing. */
export function get(name: Name): string | null {
  return new URLSearchParams(location.search).get(name);
}

/** A whole number, or nothing. */
export function number(name: Name): number | null {
  const text = get(name);
  return text !== null && /^\d+$/.test(text) ? Number(text) : null;
}

/** The runs that are shown, the one first that all views are about. */
export function runs(): string[] {
  return new URLSearchParams(location.search).getAll("run");
}

type Changes = Partial<Record<Name, string | number | string[] | null>>;

/** The address with these changes; null takes a parameter out. */
export function changed(changes: Changes): string {
  const now = new URLSearchParams(location.search);
  for (const [name, value] of Object.entries(changes)) {
    now.delete(name);
    if (Array.isArray(value)) value.forEach((one) => now.append(name, one));
    else if (value !== null && value !== undefined) now.set(name, String(value));
  }
  const query = now.toString();
  return query ? `${location.pathname}?${query}` : location.pathname;
}

/** Goes elsewhere, so that the browser's way back leads here. */
export function go(changes: Changes): void {
  history.pushState(null, "", changed(changes));
  dispatchEvent(new PopStateEvent("popstate"));
}

/** Notes something of the view that is shown. */
export function note(changes: Changes): void {
  history.replaceState(null, "", changed(changes));
}
