// The bar at the top: which service, kind and time; search; theme; help.

import type { ServiceRow } from "./answers";
import { debounce, el, icon, ICONS } from "./dom";
import { inputTime, percent } from "./format";
import { isRelative, RELATIVE_RANGES, type View, type ViewState } from "./state";

export interface HeaderOptions {
  state: ViewState;
  onTheme: () => void;
  onHelp: () => void;
}

const CUSTOM = "custom";

function fill(select: HTMLSelectElement, values: readonly string[], selected: string): void {
  const all = values.includes(selected) || selected === "" ? values : [selected, ...values];
  select.replaceChildren(...all.map((value) => el("option", { value, selected: value === selected }, value)));
  select.value = selected;
}

export class Header {
  readonly element: HTMLElement;
  private readonly service = el("select", { class: "input service", "aria-label": "Service", id: "service" });
  private readonly kind = el("select", { class: "input", "aria-label": "Kind", id: "kind" });
  private readonly time = el("select", { class: "input", "aria-label": "Time range", id: "time" });
  private readonly from = el("input", { type: "datetime-local", step: "1", class: "input", "aria-label": "From" });
  private readonly to = el("input", { type: "datetime-local", step: "1", class: "input", "aria-label": "To" });
  private readonly custom: HTMLElement;
  private readonly live = el("button", { type: "button", class: "button", id: "live", "aria-label": "Live", title: "Refresh every 10 s (l)" }, icon(ICONS.live), el("span", {}, "Live"));
  readonly search = el("input", { type: "search", class: "input search", id: "search", placeholder: "Search functions…", "aria-label": "Search functions in the flame graph" });

  constructor(private readonly options: HeaderOptions) {
    const { state } = options;
    this.custom = el("span", { class: "custom-range", hidden: true }, this.from, el("span", { class: "muted" }, "–"), this.to);
    this.service.addEventListener("change", () => state.set({ service: this.service.value, zoom: "" }));
    this.kind.addEventListener("change", () => state.set({ kind: this.kind.value, zoom: "" }));
    this.time.addEventListener("change", () => this.onTime());
    for (const input of [this.from, this.to]) input.addEventListener("change", () => this.onCustom());
    this.live.addEventListener("click", () => state.set({ isLive: !state.current.isLive }));
    const typed = debounce(250, () => state.set({ search: this.search.value.trim() }, { isMinor: true }));
    this.search.addEventListener("input", typed);
    this.element = el(
      "header",
      { class: "bar" },
      el("a", { class: "brand", href: "./", title: "flamebus" }, el("img", { src: "./favicon.svg", alt: "", width: "20", height: "20" }), el("b", {}, "flamebus")),
      el("div", { class: "pickers" }, this.service, this.kind, this.time, this.custom, this.live),
      el("label", { class: "search-box" }, icon(ICONS.search), this.search),
      el(
        "div",
        { class: "tools" },
        iconButton("theme", "Light or dark (t)", ICONS.theme, options.onTheme),
        iconButton("help", "Keys and meaning (?)", ICONS.help, options.onHelp),
      ),
    );
  }

  /** What there is to choose from; each service with its share of all of them. */
  offer(services: readonly ServiceRow[], kinds: readonly string[]): void {
    const { current } = this.options.state;
    fill(this.service, services.map((row) => row.name), current.service);
    const all = services.reduce((sum, row) => sum + row.total, 0);
    for (const option of this.service.options) {
      const total = services.find((row) => row.name === option.value)?.total;
      if (total !== undefined && all > 0) option.textContent = `${option.value} · ${percent(total / all)}`;
    }
    fill(this.kind, kinds, current.kind);
  }

  show(view: View, span: { fromMs: number; toMs: number }): void {
    if (this.service.value !== view.service) this.service.value = view.service;
    if (this.kind.value !== view.kind) this.kind.value = view.kind;
    const relative = isRelative(view.range);
    fill(this.time, [...RELATIVE_RANGES, CUSTOM], relative && isRelative(view.range) ? view.range.since : CUSTOM);
    for (const option of this.time.options) option.textContent = option.value === CUSTOM ? "Custom" : `Last ${option.value}`;
    this.custom.hidden = relative;
    this.from.value = inputTime(span.fromMs);
    this.to.value = inputTime(span.toMs);
    this.live.setAttribute("aria-pressed", String(view.isLive));
    if (document.activeElement !== this.search) this.search.value = view.search;
  }

  private onTime(): void {
    if (this.time.value !== CUSTOM) {
      this.options.state.set({ range: { since: this.time.value } });
      return;
    }
    this.onCustom();
  }

  private onCustom(): void {
    const fromMs = new Date(this.from.value).getTime();
    const toMs = new Date(this.to.value).getTime();
    if (fromMs < toMs) this.options.state.set({ range: { fromMs, toMs }, isLive: false });
  }
}

export function iconButton(id: string, title: string, path: string, call: () => void): HTMLButtonElement {
  return el("button", { type: "button", class: "button icon-only", id, title, "aria-label": title, on: { click: call } }, icon(path));
}
