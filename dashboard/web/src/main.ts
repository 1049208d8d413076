// The page: asks the API for what the view needs, and hands each answer to the part that draws it.

import "./style.css";
import type { FlamegraphAnswer, HeatmapAnswer, LossesAnswer, SeriesAnswer, ServiceRow, TopAnswer } from "./answers";
import { address, ApiError, ask } from "./api";
import { groupColor, KIND_NAMES } from "./colors";
import { el, icon, ICONS } from "./dom";
import { FlameView } from "./flame";
import { amount, count, percent, span } from "./format";
import { Header } from "./header";
import { HeatView } from "./heat";
import { helpDialog } from "./help";
import { LossView } from "./losses";
import { SeriesView } from "./series";
import { durationMs, isRelative, rangeParameters, type SortColumn, type View, ViewState, widen } from "./state";
import { TableView } from "./table";
import { ThemeState } from "./theme";
import { buildTree, selfBy } from "./tree";

const LIVE_MS = 10_000;
const MAX_NODES = "8192";
const LEGEND_ENTRIES = 6;

class Page {
  private readonly state = new ViewState(window);
  private readonly theme = new ThemeState();
  private readonly help = helpDialog();
  private readonly header = new Header({ state: this.state, onTheme: () => this.theme.toggle(), onHelp: () => this.help.showModal() });
  private readonly series = new SeriesView((fromMs, toMs) => this.state.set({ range: { fromMs, toMs }, isLive: false }));
  private readonly flame = new FlameView({ isDark: () => this.theme.isDark, onZoom: (zoom) => this.state.set({ zoom }) });
  private readonly table = new TableView({
    isDark: () => this.theme.isDark,
    onSort: (column) => this.sort(column),
    onFilter: (filter) => this.state.set({ filter }, { isMinor: true }),
    onPick: (search) => this.state.set({ search }),
  });
  private readonly losses = new LossView();
  private readonly heat = new HeatView();
  private readonly summary = el("div", { class: "summary", id: "summary" });
  private readonly legend = el("div", { class: "legend" });
  private readonly message = el("div", { class: "message", role: "alert", hidden: true });
  private readonly layout = el("div", { class: "segments", role: "group", "aria-label": "Layout" });
  private readonly color = el("div", { class: "segments", role: "group", "aria-label": "Colour by" });
  private readonly heatToggle = el("button", { type: "button", class: "button", id: "heat-toggle", title: "Samples per 20 ms" }, "Heat map");
  private readonly reset = el("button", { type: "button", class: "button", id: "reset", hidden: true }, icon(ICONS.close), el("span", {}, "Reset zoom"));
  private readonly download = el("a", { class: "button", download: "profile.folded", title: "Download as folded text" }, icon(ICONS.download), el("span", {}, "Folded"));
  private readonly content: HTMLElement;
  private shown: FlamegraphAnswer | null = null;

  constructor() {
    this.heatToggle.addEventListener("click", () => this.state.set({ showsHeat: !this.state.current.showsHeat }));
    this.reset.addEventListener("click", () => this.state.set({ zoom: "" }));
    const widenButton = el("button", { type: "button", class: "button", title: "Twice the time range (w)", on: { click: () => this.widen() } }, icon(ICONS.widen), el("span", {}, "Widen"));
    this.content = el(
      "main",
      { class: "content" },
      el("section", { class: "card", "aria-label": "Over time" }, el("div", { class: "card-head" }, this.summary, el("div", { class: "actions" }, this.heatToggle, widenButton)), this.series.element, this.heat.element, this.losses.element),
      el("div", { class: "toolbar" }, this.layout, this.color, this.legend, el("div", { class: "actions" }, this.reset, this.download)),
      el("div", { class: "panes" }, el("section", { class: "card pane-graph", "aria-label": "Flame graph" }, this.flame.element), el("section", { class: "card pane-table", "aria-label": "Top functions" }, this.table.element)),
    );
    document.getElementById("app")?.append(this.header.element, this.message, this.content, this.help);
    this.state.onChange((view, before) => this.changed(view, before));
    this.theme.onChange(() => this.repaint());
    document.addEventListener("keydown", (event) => this.onKey(event));
    window.setInterval(() => {
      if (this.state.current.isLive && !document.hidden) void this.load();
    }, LIVE_MS);
    this.dress();
    void this.start();
  }

  private async start(): Promise<void> {
    await this.guard(async () => {
      const range = rangeParameters(this.state.current.range);
      const answer = await ask<{ services: ServiceRow[] }>("services", range);
      const kinds = await ask<{ kinds: string[] }>("kinds", range);
      const names = answer?.services.map((row) => row.name) ?? [];
      this.header.offer(names, kinds?.kinds ?? []);
      if (this.state.current.service) await this.load();
      else if (names[0] !== undefined) this.state.set({ service: names[0] }, { isMinor: true });
      else this.say("No profiles in this time range. Choose a longer one, or check that an agent and a worker run.");
      this.header.offer(names, kinds?.kinds ?? []);
    });
  }

  private async load(): Promise<void> {
    const { service, kind, range, search } = this.state.current;
    if (!service) return this.start();
    const parameters = { service, kind, ...rangeParameters(range) };
    document.body.classList.add("is-loading");
    await this.guard(async () => {
      const [series, graph, top, losses] = await Promise.all([
        ask<SeriesAnswer>("series", parameters),
        ask<FlamegraphAnswer>("flamegraph", { ...parameters, max_nodes: MAX_NODES, search }),
        ask<TopAnswer>("top", { ...parameters, search: this.state.current.filter }),
        ask<LossesAnswer>("losses", parameters),
        this.loadHeat(),
      ]);
      if (!series || !graph || !top || !losses) return;
      this.series.show(series);
      this.losses.show(losses);
      this.table.show(top);
      this.showGraph(graph);
    });
    document.body.classList.remove("is-loading");
  }

  private async loadHeat(): Promise<void> {
    const { service, kind, range, showsHeat } = this.state.current;
    if (!showsHeat) return;
    const answer = await ask<HeatmapAnswer>("heatmap", { service, kind, ...rangeParameters(range) });
    if (answer) this.heat.show(answer);
  }

  private async loadSearch(): Promise<void> {
    const { service, kind, range, search } = this.state.current;
    const answer = await ask<FlamegraphAnswer>("flamegraph", { service, kind, ...rangeParameters(range), max_nodes: MAX_NODES, search });
    if (answer) this.showGraph(answer);
  }

  private async loadTop(): Promise<void> {
    const { service, kind, range, filter } = this.state.current;
    const answer = await ask<TopAnswer>("top", { service, kind, ...rangeParameters(range), search: filter });
    if (answer) this.table.show(answer);
  }

  private showGraph(answer: FlamegraphAnswer): void {
    this.shown = answer;
    const { zoom, search, color } = this.state.current;
    const isEmpty = answer.total === 0;
    this.content.classList.toggle("is-empty", isEmpty);
    if (isEmpty) this.say(`No samples of ${this.state.current.service} in this time range. Widen it, or choose another service.`);
    else this.say("");
    this.flame.show(buildTree(answer), answer.unit, { zoom, search, color });
    this.dress();
  }

  private async guard(work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      this.say(error.message, () => void this.load());
    }
  }

  private say(text: string, retry?: () => void): void {
    this.message.hidden = text === "";
    this.message.classList.toggle("is-error", retry !== undefined);
    this.message.replaceChildren(el("span", {}, text), ...(retry ? [el("button", { type: "button", class: "button", on: { click: retry } }, "Try again")] : []));
  }

  private changed(view: View, before: View): void {
    this.dress();
    const asked = (v: View): string => JSON.stringify([v.service, v.kind, v.range]);
    if (asked(view) !== asked(before)) void this.load();
    else {
      if (view.search !== before.search) {
        this.flame.setSearch(view.search);
        void this.guard(() => this.loadSearch());
      }
      if (view.filter !== before.filter) void this.guard(() => this.loadTop());
      if (view.zoom !== before.zoom) this.flame.zoom(view.zoom);
      if (view.color !== before.color) this.flame.setColor(view.color);
      if (view.showsHeat && !before.showsHeat) void this.guard(() => this.loadHeat());
      if (view.isLive && !before.isLive) void this.load();
    }
  }

  /** Everything that follows from the view without asking the server. */
  private dress(): void {
    const view = this.state.current;
    this.header.show(view, this.range());
    this.table.configure(view);
    this.content.dataset["layout"] = view.layout;
    this.heat.element.hidden = !view.showsHeat;
    this.heatToggle.setAttribute("aria-pressed", String(view.showsHeat));
    this.reset.hidden = view.zoom === "";
    this.download.href = address("export", { service: view.service, kind: view.kind, ...rangeParameters(view.range), format: "folded" });
    segments(this.layout, [["both", "Both"], ["graph", "Graph"], ["table", "Table"]], view.layout, (layout) => this.state.set({ layout }));
    segments(this.color, [["kind", "By kind"], ["mapping", "By file"]], view.color, (color) => this.state.set({ color }));
    document.title = view.service ? `${view.service} · flamebus` : "flamebus";
    this.dressSummary();
  }

  private dressSummary(): void {
    const { shown } = this;
    if (!shown) return;
    const { fromMs, toMs } = this.range();
    const found = shown.search && this.state.current.search === shown.search.text ? shown.search : null;
    this.summary.replaceChildren(
      el("b", { class: "total" }, amount(shown.total, shown.unit)),
      el("span", { class: "muted" }, `${count(shown.samples)} samples · ${span(fromMs, toMs, Date.now())}`),
      ...(found ? [el("span", { class: "found", id: "found" }, `${percent(found.share[0])} in ${count(found.functions)} matching functions`)] : []),
    );
    this.dressLegend();
  }

  private dressLegend(): void {
    const tree = this.flame.current;
    if (!tree) return;
    const by = this.state.current.color;
    const groups = selfBy(tree, (node) => (by === "kind" ? node.kind : node.mapping)).filter(([, value]) => value > 0).slice(0, LEGEND_ENTRIES);
    const entries = groups.map(([group, value]) => {
      const dot = el("span", { class: "dot" });
      dot.style.backgroundColor = groupColor(group, by, this.theme.isDark);
      return el("span", { class: "legend-entry" }, dot, KIND_NAMES[group] ?? (group || "no file"), el("span", { class: "muted" }, percent(tree.value ? value / tree.value : 0)));
    });
    this.legend.replaceChildren(...entries);
  }

  private range(): { fromMs: number; toMs: number } {
    const { range } = this.state.current;
    if (!isRelative(range)) return range;
    const toMs = this.shown?.to_unix_ms ?? Date.now();
    return { fromMs: toMs - durationMs(range.since), toMs };
  }

  private widen(): void {
    const { fromMs, toMs } = this.range();
    this.state.set({ range: widen(fromMs, toMs, Date.now()) });
  }

  private sort(column: SortColumn): void {
    const { sort, descending } = this.state.current;
    this.state.set({ sort: column, descending: sort === column ? !descending : column !== "function" }, { isMinor: true });
  }

  private repaint(): void {
    this.series.repaint();
    this.heat.repaint();
    this.flame.repaint();
    this.table.configure(this.state.current);
    this.dressLegend();
  }

  private onKey(event: KeyboardEvent): void {
    const target = event.target as HTMLElement;
    if (event.metaKey || event.ctrlKey || event.altKey || this.help.open) return;
    if (event.key === "Escape") {
      if (this.state.current.zoom) this.state.set({ zoom: "" });
      else if (this.state.current.search) {
        this.header.search.value = "";
        this.state.set({ search: "" });
      }
    }
    if (target.matches("input, select, textarea")) return;
    const call = { "/": () => this.header.search.focus(), "?": () => this.help.showModal(), t: () => this.theme.toggle(), w: () => this.widen(), l: () => this.state.set({ isLive: !this.state.current.isLive }) }[event.key];
    if (call) {
      event.preventDefault();
      call();
    }
  }
}

function segments<Value extends string>(holder: HTMLElement, choices: [Value, string][], chosen: Value, choose: (value: Value) => void): void {
  if (holder.dataset["chosen"] === chosen) return;
  holder.dataset["chosen"] = chosen;
  holder.replaceChildren(
    ...choices.map(([value, name]) => el("button", { type: "button", "data-value": value, "aria-pressed": String(value === chosen), on: { click: () => choose(value) } }, name)),
  );
}

new Page();
