// Everything a view is made of, and how it lives in the page's address: a link shows another person the same view.

export type Layout = "both" | "graph" | "table";
export type ColorBy = "kind" | "mapping";
export type SortColumn = "function" | "self" | "total";

export interface Relative {
  since: string;
}

export interface Absolute {
  fromMs: number;
  toMs: number;
}

export type Range = Relative | Absolute;

export interface View {
  service: string;
  kind: string;
  range: Range;
  search: string;
  /** Key of the frame zoomed to (tree.ts), or empty for the whole profile. */
  zoom: string;
  /** Text that the functions of the table contain. */
  filter: string;
  sort: SortColumn;
  descending: boolean;
  layout: Layout;
  color: ColorBy;
  isLive: boolean;
  showsHeat: boolean;
}

export const RELATIVE_RANGES = ["5m", "15m", "1h", "6h", "24h", "7d"] as const;

export const DEFAULT_VIEW: View = {
  service: "",
  kind: "cpu",
  range: { since: "15m" },
  search: "",
  zoom: "",
  filter: "",
  sort: "self",
  descending: true,
  layout: "both",
  color: "kind",
  isLive: false,
  showsHeat: false,
};

const DURATION = /^(\d+(\.\d+)?(ms|s|m|h|d))+$/;

export function isRelative(range: Range): range is Relative {
  return "since" in range;
}

function oneOf<T extends string>(text: string | null, allowed: readonly T[], otherwise: T): T {
  return allowed.find((value) => value === text) ?? otherwise;
}

function readRange(query: URLSearchParams): Range {
  const fromMs = Date.parse(query.get("from") ?? "");
  const toMs = Date.parse(query.get("to") ?? "");
  if (fromMs < toMs) return { fromMs, toMs };
  const since = query.get("since") ?? "";
  return DURATION.test(since) ? { since } : DEFAULT_VIEW.range;
}

/** The view that an address names; what is missing or makes no sense is the default. */
export function readView(search: string): View {
  const query = new URLSearchParams(search);
  const sort = query.get("sort") ?? "";
  return {
    service: query.get("service") ?? "",
    kind: query.get("kind") || DEFAULT_VIEW.kind,
    range: readRange(query),
    search: query.get("search") ?? "",
    zoom: query.get("zoom") ?? "",
    filter: query.get("filter") ?? "",
    sort: oneOf(sort.replace(/^-/, ""), ["function", "self", "total"], DEFAULT_VIEW.sort),
    descending: sort === "" || sort.startsWith("-"),
    layout: oneOf(query.get("view"), ["both", "graph", "table"], DEFAULT_VIEW.layout),
    color: oneOf(query.get("color"), ["kind", "mapping"], DEFAULT_VIEW.color),
    isLive: query.get("live") === "1",
    showsHeat: query.get("heat") === "1",
  };
}

/** The address of a view, `?…` or empty; defaults are left out so that links stay short. */
export function writeView(view: View): string {
  const query = new URLSearchParams();
  const put = (name: string, value: string, standard: string): void => {
    if (value !== standard) query.set(name, value);
  };
  put("service", view.service, "");
  put("kind", view.kind, DEFAULT_VIEW.kind);
  if (isRelative(view.range)) query.set("since", view.range.since);
  else {
    query.set("from", new Date(view.range.fromMs).toISOString());
    query.set("to", new Date(view.range.toMs).toISOString());
  }
  put("search", view.search, "");
  put("zoom", view.zoom, "");
  put("filter", view.filter, "");
  put("sort", `${view.descending ? "-" : ""}${view.sort}`, `-${DEFAULT_VIEW.sort}`);
  put("view", view.layout, DEFAULT_VIEW.layout);
  put("color", view.color, DEFAULT_VIEW.color);
  put("live", view.isLive ? "1" : "", "");
  put("heat", view.showsHeat ? "1" : "", "");
  const text = query.toString();
  return text ? `?${text}` : "";
}

/** The query parameters of an API request for a view's range. */
export function rangeParameters(range: Range): Record<string, string> {
  if (isRelative(range)) return { since: range.since };
  return { from: new Date(range.fromMs).toISOString(), to: new Date(range.toMs).toISOString() };
}

const UNIT_MS: Record<string, number> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** How long a relative range is. */
export function durationMs(text: string): number {
  let total = 0;
  for (const [, number, , unit] of text.matchAll(/(\d+(\.\d+)?)(ms|s|m|h|d)/g)) {
    total += Number(number) * (UNIT_MS[unit ?? ""] ?? 0);
  }
  return total;
}

/** A range twice as long around the same middle, ending no later than now. */
export function widen(fromMs: number, toMs: number, nowMs: number): Absolute {
  const half = (toMs - fromMs) / 2;
  const end = Math.min(toMs + half, nowMs);
  return { fromMs: end - 4 * half, toMs: end };
}

type Listener = (view: View, before: View) => void;

/** The current view: read from the address, changed by the page, followed back and forward. */
export class ViewState {
  private listeners: Listener[] = [];
  current: View;

  constructor(private readonly page: Window) {
    this.current = readView(page.location.search);
    page.addEventListener("popstate", () => this.become(readView(page.location.search)));
  }

  onChange(listener: Listener): void {
    this.listeners.push(listener);
  }

  /** Change some of the view. A step back is recorded unless the change is one of many, such as typing. */
  set(change: Partial<View>, options: { isMinor?: boolean } = {}): void {
    const view = { ...this.current, ...change };
    const address = this.page.location.pathname + writeView(view);
    if (address !== this.page.location.pathname + this.page.location.search) {
      if (options.isMinor) this.page.history.replaceState(null, "", address);
      else this.page.history.pushState(null, "", address);
    }
    this.become(view);
  }

  private become(view: View): void {
    const before = this.current;
    this.current = view;
    for (const listener of this.listeners) listener(view, before);
  }
}
