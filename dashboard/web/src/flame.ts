// The flame graph: d3-flame-graph draws and zooms; this module gives it colours, a tooltip, a cursor for the keyboard,
// and keeps the zoom over fresh data.

import flamegraph, { type FlameGraph, type Placed, type Tooltip } from "d3-flame-graph";
import { select } from "d3-selection";
import { interrupt } from "d3-transition";
import { frameColor } from "./colors";
import { el } from "./dom";
import { tooltipContent } from "./tooltip";
import type { ColorBy } from "./state";
import { matches, type FrameNode } from "./tree";

const CELL_PX = 19;
/** Frames narrower than this are not drawn: they could be neither seen nor hit. */
const MIN_FRAME_PX = 1.2;
const TRANSITION_MS = 180;

export interface FlameOptions {
  isDark: () => boolean;
  onZoom: (key: string) => void;
}

export class FlameView {
  readonly element = el("div", { class: "flame", role: "application", tabindex: "0", id: "graph" });
  private readonly announcer = el("div", { class: "visually-hidden", "aria-live": "polite" });
  private readonly tip = el("div", { class: "tip", role: "tooltip", hidden: true });
  private holder = el("div", { class: "flame-holder" });
  private chart: FlameGraph<FrameNode> | null = null;
  private root: Placed<FrameNode> | null = null;
  private tree: FrameNode | null = null;
  private unit = "";
  private color: ColorBy = "kind";
  private search = "";
  private zoomKey = "";
  private cursor: Placed<FrameNode> | null = null;
  private isRestoring = false;

  constructor(private readonly options: FlameOptions) {
    this.element.setAttribute(
      "aria-label",
      "Flame graph, callers above. Arrow keys move, Enter zooms, Escape resets, question mark lists all keys.",
    );
    this.element.append(this.holder, this.announcer);
    document.body.append(this.tip);
    this.element.addEventListener("keydown", (event) => this.onKey(event));
    this.element.addEventListener("blur", () => this.moveTo(null));
    new ResizeObserver(() => this.resize()).observe(this.element);
  }

  /** Draw a tree; the zoom stays on the same frame when it is still there. */
  show(tree: FrameNode, unit: string, view: { zoom: string; search: string; color: ColorBy }): void {
    this.tree = tree;
    this.unit = unit;
    this.zoomKey = view.zoom;
    this.search = view.search;
    this.color = view.color;
    this.draw();
  }

  get current(): FrameNode | null {
    return this.tree;
  }

  setSearch(text: string): void {
    this.search = text;
    this.highlight();
  }

  setColor(by: ColorBy): void {
    this.color = by;
    this.chart?.update();
  }

  repaint(): void {
    this.chart?.update();
  }

  /** Zoom to the frame with this key, or out when it is empty or no longer there. */
  zoom(key: string): void {
    this.zoomKey = key;
    if (!this.chart || !this.root) return;
    const wanted = key ? this.find((node) => node.data.key === key) : null;
    this.isRestoring = true;
    if (wanted) this.chart.zoomTo(wanted);
    else this.chart.resetZoom();
    this.isRestoring = false;
  }

  /** The frame zoomed to, if any. */
  zoomed(): FrameNode | null {
    return this.zoomKey ? (this.find((node) => node.data.key === this.zoomKey)?.data ?? null) : null;
  }

  private draw(): void {
    const width = Math.floor(this.element.clientWidth);
    if (!this.tree || width < 50) return;
    this.chart?.destroy();
    this.cursor = null;
    const holder = el("div", { class: "flame-holder" });
    this.holder.replaceWith(holder);
    this.holder = holder;
    const selection = select<HTMLElement, FrameNode>(holder).datum(this.tree);
    this.chart = this.build(width);
    this.chart(selection as Parameters<FlameGraph<FrameNode>>[0]);
    this.root = select<HTMLElement, Placed<FrameNode>>(holder).datum();
    settle(holder);
    this.chart.transitionDuration(this.transitionMs());
    if (this.search) this.highlight();
    if (this.zoomKey) this.zoom(this.zoomKey);
  }

  private build(width: number): FlameGraph<FrameNode> {
    return flamegraph<FrameNode>()
      .width(width)
      .cellHeight(CELL_PX)
      .minFrameSize(MIN_FRAME_PX)
      .transitionDuration(0)
      .inverted(true)
      .resetHeightOnZoom(true)
      .sort((a, b) => (a.data.name < b.data.name ? -1 : a.data.name > b.data.name ? 1 : 0))
      .tooltip(this.tooltip())
      .getName((node) => node.data.name)
      .setColorMapper((node) =>
        frameColor(node.data, this.color, this.options.isDark(), { isOn: this.search !== "", isHit: node.highlight === true }),
      )
      .setSearchMatch((node, term) => matches(node.data, term))
      .setSearchHandler(() => undefined)
      .onClick((node) => this.onClick(node));
  }

  private transitionMs(): number {
    return window.matchMedia("(prefers-reduced-motion: reduce)").matches ? 0 : TRANSITION_MS;
  }

  private highlight(): void {
    if (this.search) this.chart?.search(this.search);
    else this.chart?.clear();
  }

  private onClick(node: Placed<FrameNode>): void {
    this.zoomKey = node.data.key;
    if (!this.isRestoring) this.options.onZoom(node.data.key);
  }

  private resize(): void {
    const drawn = this.holder.querySelector("svg")?.clientWidth ?? 0;
    if (Math.abs(Math.floor(this.element.clientWidth) - drawn) > 1) this.draw();
  }

  private tooltip(): Tooltip<FrameNode> {
    const tip = (() => undefined) as unknown as Tooltip<FrameNode>;
    tip.show = (event, node) => this.showTip(node, event.clientX, event.clientY);
    tip.hide = () => this.hideTip();
    return tip;
  }

  private showTip(node: Placed<FrameNode>, x: number, y: number): void {
    if (!this.tree) return;
    this.tip.replaceChildren(...tooltipContent(node.data, this.tree.value, this.unit));
    this.tip.hidden = false;
    const { offsetWidth, offsetHeight } = this.tip;
    const left = x + 14 + offsetWidth > window.innerWidth ? Math.max(8, x - 14 - offsetWidth) : x + 14;
    const top = y + 18 + offsetHeight > window.innerHeight ? Math.max(8, y - 12 - offsetHeight) : y + 18;
    this.tip.style.transform = `translate(${left}px, ${top}px)`;
  }

  private hideTip(): void {
    this.tip.hidden = true;
  }

  private find(wanted: (node: Placed<FrameNode>) => boolean): Placed<FrameNode> | null {
    const pending = this.root ? [this.root] : [];
    for (let node = pending.pop(); node; node = pending.pop()) {
      if (wanted(node)) return node;
      pending.push(...(node.children ?? []));
    }
    return null;
  }

  private onKey(event: KeyboardEvent): void {
    if (event.metaKey || event.ctrlKey || event.altKey || !this.root) return;
    if (event.key === "Enter" && this.cursor) {
      const { cursor } = this;
      this.chart?.zoomTo(cursor);
      this.moveTo(this.find((node) => node.data.key === cursor.data.key));
    } else {
      const start = this.zoomKey ? this.find((node) => node.data.key === this.zoomKey) : this.root;
      const next = this.cursor ? neighbour(this.cursor, event.key) : event.key.startsWith("Arrow") ? start : undefined;
      if (next === undefined) return;
      this.moveTo(next ?? this.cursor);
    }
    event.preventDefault();
  }

  private moveTo(node: Placed<FrameNode> | null): void {
    this.cursor = node;
    const frames = select(this.holder).selectAll<SVGGElement, Placed<FrameNode>>("g.frame");
    frames.classed("cursor", (placed) => placed === node);
    const drawn = frames.filter((placed) => placed === node).node();
    if (!node || !drawn) {
      this.hideTip();
      return;
    }
    drawn.scrollIntoView({ block: "nearest" });
    const box = (drawn.querySelector("rect") ?? drawn).getBoundingClientRect();
    this.showTip(node, box.left + Math.min(box.width / 2, 60), box.bottom - 10);
    this.announcer.textContent = this.tip.innerText.replace(/\n+/g, ", ");
  }
}

/** Frames grow from nothing when they are first drawn; with fresh data every 10 s that would never let the eye rest. */
function settle(holder: HTMLElement): void {
  for (const rect of holder.querySelectorAll("g.frame > rect")) {
    interrupt(rect);
    rect.setAttribute("width", rect.parentElement?.getAttribute("width") ?? "0");
  }
}

function isDrawn(node: Placed<FrameNode>): boolean {
  return !node.data.hide && node.value > 0;
}

/** Where an arrow key leads: down to the widest callee, up to the caller, sideways among siblings; null: nowhere. */
function neighbour(node: Placed<FrameNode>, key: string): Placed<FrameNode> | null | undefined {
  if (key === "ArrowUp") return node.parent;
  if (key === "ArrowDown") {
    const shown = (node.children ?? []).filter(isDrawn);
    return shown.reduce<Placed<FrameNode> | null>((best, child) => (best && best.value >= child.value ? best : child), null);
  }
  if (key !== "ArrowLeft" && key !== "ArrowRight") return undefined;
  const siblings = (node.parent?.children ?? []).filter(isDrawn);
  return siblings[siblings.indexOf(node) + (key === "ArrowRight" ? 1 : -1)] ?? null;
}
