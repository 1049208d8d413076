// The page: asks the API for what the view needs, and hands each answer to the part that draws it.

import "./style.css";
import type { FlamegraphAnswer, HeatmapAnswer, LossesAnswer, SeriesAnswer, ServiceRow, TopAnswer } from "./answers";
import { address, ApiError, ask } from "./api";
import { Banner } from "./banner";
import { el, icon, ICONS } from "./dom";
import { FlameView } from "./flame";
import { count } from "./format";
import { Header } from "./header";
import { HeatView } from "./heat";
import { helpDialog } from "./help";
import { LossView } from "./losses";
import { SeriesView } from "./series";
import { legendContent, summaryContent } from "./summary";
import { durationMs, isRelative, rangeParameters, type SortColumn, type View, ViewState, widen } from "./state";
import { TableView } from "./table";
import { ThemeState } from "./theme";
import { buildTree } from "./tree";

const LIVE_MS = 10_000;
const MAX_NODES = "8192";
/** How often an empty page looks again, live or not: the first window closes about 13 s after an agent's start. */
const EMPTY_MS = 5_000;

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
  private readonly banner = new Banner();
  private readonly pruned = el("div", { class: "pruned muted" });
  private readonly layout = el("div", { class: "segments", role: "group", "aria-label": "Layout" });
  private readonly color = el("div", { class: "segments", role: "group", "aria-label": "Colour by" });
  private readonly heatToggle = el("button", { type: "button", class: "button", id: "heat-toggle", title: "Samples per 20 ms" }, "Heat map");
  private readonly reset = el("button", { type: "button", class: "button", id: "reset", hidden: true }, icon(ICONS.close), el("span", {}, "Reset zoom"));
  private readonly downloads: [format: string, link: HTMLAnchorElement][] = [
    ["svg", downloadLink("SVG", "profile.svg", "Download as a picture to zoom and search in")],
    ["folded", downloadLink("Folded", "profile.folded", "Download as folded text")],
  ];
  private readonly content: HTMLElement;
  private shown: FlamegraphAnswer | null = null;
  private emptyTimer = 0;
  /** The server did not know the service: wait for its name among those offered instead of asking for it again. */
  private isUnknown = false;

  constructor() {
    this.heatToggle.addEventListener("click", () => this.state.set({ showsHeat: !this.state.current.showsHeat }));
    this.reset.addEventListener("click", () => this.state.set({ zoom: "" }));
    const widenButton = el("button", { type: "button", class: "button", title: "Twice the time range (w)", on: { click: () => this.widen() } }, icon(ICONS.widen), el("span", {}, "Widen"));
    this.content = el(
      "main",
      { class: "content is-blank" },
      el("section", { class: "card", "aria-label": "Over time" }, el("div", { class: "card-head" }, this.summary, el("div", { class: "actions" }, this.heatToggle, widenButton)), this.series.element, this.heat.element, this.losses.element),
      el("div", { class: "toolbar" }, this.layout, this.color, this.legend, el("div", { class: "actions" }, this.reset, ...this.downloads.map(([, link]) => link))),
      el("div", { class: "panes" }, el("section", { class: "card pane-graph", "aria-label": "Flame graph" }, this.flame.element, this.pruned), el("section", { class: "card pane-table", "aria-label": "Top functions" }, this.table.element)),
    );
    document.getElementById("app")?.append(this.header.element, this.banner.element, this.content, this.help);
    this.state.onChange((view, before) => this.changed(view, before));
    this.theme.onChange(() => this.repaint());
    document.addEventListener("keydown", (event) => this.onKey(event));
    window.setInterval(() => {
      if (this.state.current.isLive && !document.hidden && !this.isUnknown) void this.load();
    }, LIVE_MS);
    this.dress();
    void this.start();
  }

  /** Ask what there is to choose from, then for the profile. */
  private async start(): Promise<void> {
    await this.guard(async () => {
      const services = await this.offer();
      const [first] = services;
      const { service } = this.state.current;
      if (service && this.isUnknown && !services.includes(service)) this.sayUnknown();
      else if (service) await this.load();
      else if (first !== undefined) this.state.set({ service: first }, { isMinor: true });
      else this.sayEmpty("No profiles in this time range yet. The first come about 13 s after an agent and a worker start; or choose a longer range.");
    });
  }

  /** Services and kinds of the range, into the header; the services. */
  private async offer(): Promise<string[]> {
    const range = rangeParameters(this.state.current.range);
    const [services, kinds] = await Promise.all([
      ask<{ services: ServiceRow[] }>("services", { ...range, kind: this.state.current.kind }),
      ask<{ kinds: string[] }>("kinds", range),
    ]);
    if (!services || !kinds) return [];
    this.header.offer(services.services, kinds.kinds);
    return services.services.map((row) => row.name);
  }

  private async load(): Promise<void> {
    const { service, kind, range, search } = this.state.current;
    if (!service) return this.start();
    const parameters = { service, kind, ...rangeParameters(range) };
    document.body.classList.add("is-loading");
    if (!this.shown && !this.isUnknown) this.banner.wait("Loading the profile …");
    await this.guard(async () => {
      const [series, graph, top, losses] = await Promise.all([
        ask<SeriesAnswer>("series", parameters),
        ask<FlamegraphAnswer>("flamegraph", { ...parameters, max_nodes: MAX_NODES, search }),
        ask<TopAnswer>("top", { ...parameters, search: this.state.current.filter }),
        ask<LossesAnswer>("losses", parameters),
        this.loadHeat(),
        this.offer(),
      ]);
      if (!series || !graph || !top || !losses) return;
      this.banner.clear();
      this.isUnknown = false;
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
    if (!search || !this.shown) return this.dress();
    // The graph is there already; one node is the least that comes with an answer to the search.
    const answer = await ask<FlamegraphAnswer>("flamegraph", { service, kind, ...rangeParameters(range), max_nodes: "1", search });
    if (!answer || !this.shown) return;
    this.shown = { ...this.shown, search: answer.search };
    this.dress();
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
    if (isEmpty) this.sayEmpty(`No samples of ${this.state.current.service} in this time range. Widen it, or choose another service.`);
    this.content.classList.toggle("is-empty", isEmpty);
    this.content.classList.remove("is-blank");
    this.flame.show(buildTree(answer), answer.unit, { zoom, search, color });
    this.pruned.textContent = answer.pruned_nodes ? `${count(answer.pruned_nodes)} frames are too small to draw; table and search know them.` : "";
    this.dress();
  }

  /** Say that there is nothing to see, and look again in a while. */
  private sayEmpty(text: string): void {
    this.banner.inform(text);
    window.clearTimeout(this.emptyTimer);
    this.emptyTimer = window.setTimeout(() => void this.start(), EMPTY_MS);
  }

  private async guard(work: () => Promise<void>): Promise<void> {
    window.clearTimeout(this.emptyTimer);
    try {
      await work();
      document.body.classList.remove("is-stale");
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      this.explain(error);
    }
  }

  private explain(error: ApiError): void {
    document.body.classList.toggle("is-stale", this.shown !== null);
    if (error.status === 401) {
      // The server answers the page itself with a form for the token.
      this.banner.fail("The server wants its token again.", { name: "Give the token", call: () => window.location.reload() });
    } else if (error.isRetriable) {
      this.banner.failAndRetry(error.message, () => void this.load());
    } else if (error.kind === "unknown-service") {
      this.isUnknown = true;
      this.forget();
      this.sayUnknown();
      void this.offer().catch(() => undefined);
    } else {
      this.banner.fail(error.message, null);
    }
  }

  private sayUnknown(): void {
    this.sayEmpty(`There is no service ${this.state.current.service} in the store yet. Choose another, check its name, or wait: a new one appears after about 13 s.`);
  }

  /** Take the last profile off the page: it is not what was asked for. */
  private forget(): void {
    this.shown = null;
    this.content.classList.add("is-blank");
    document.body.classList.remove("is-stale");
  }

  private changed(view: View, before: View): void {
    this.dress();
    const asked = (v: View): string => JSON.stringify([v.service, v.kind, v.range]);
    if (view.service !== before.service) this.isUnknown = false;
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
    for (const [format, link] of this.downloads) {
      link.href = address("export", { service: view.service, kind: view.kind, ...rangeParameters(view.range), format });
    }
    segments(this.layout, [["both", "Both"], ["graph", "Graph"], ["table", "Table"]], view.layout, (layout) => this.state.set({ layout }));
    segments(this.color, [["kind", "By kind"], ["mapping", "By file"]], view.color, (color) => this.state.set({ color }));
    document.title = view.service ? `${view.service} · flamebus` : "flamebus";
    this.dressSummary();
  }

  private dressSummary(): void {
    const { shown } = this;
    if (!shown) return;
    const found = shown.search && this.state.current.search === shown.search.text ? shown.search : null;
    this.summary.replaceChildren(...summaryContent(shown, found, this.flame.current, Date.now()));
    this.dressLegend();
  }

  private dressLegend(): void {
    const tree = this.flame.current;
    if (tree) this.legend.replaceChildren(...legendContent(tree, this.state.current.color, this.theme.isDark));
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

function downloadLink(label: string, fileName: string, title: string): HTMLAnchorElement {
  return el("a", { class: "button", download: fileName, title }, icon(ICONS.download), el("span", {}, label));
}

function segments<Value extends string>(holder: HTMLElement, choices: [Value, string][], chosen: Value, choose: (value: Value) => void): void {
  if (holder.dataset["chosen"] === chosen) return;
  holder.dataset["chosen"] = chosen;
  holder.replaceChildren(
    ...choices.map(([value, name]) => el("button", { type: "button", "data-value": value, "aria-pressed": String(value === chosen), on: { click: () => choose(value) } }, name)),
  );
}

new Page();
