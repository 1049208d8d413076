// d3-flame-graph publishes no types, and d3-transition only apart; these are the parts of their faces that the page uses.
declare module "d3-transition" {
  /** Ends the transition of an element, and those that wait. */
  export function interrupt(element: Element): void;
}

declare module "d3-flame-graph" {
  import type { Selection } from "d3-selection";

  export interface Placed<Datum> {
    data: Datum;
    id: number;
    depth: number;
    x0: number;
    x1: number;
    value: number;
    highlight?: boolean;
    parent: Placed<Datum> | null;
    children?: Placed<Datum>[];
  }

  export interface Tooltip<Datum> {
    (): void;
    show(event: MouseEvent, node: Placed<Datum>): void;
    hide(): void;
    destroy?(): void;
  }

  export interface FlameGraph<Datum> {
    (selection: Selection<HTMLElement, Datum, null, undefined>): void;
    width(pixels: number): FlameGraph<Datum>;
    cellHeight(pixels: number): FlameGraph<Datum>;
    minFrameSize(pixels: number): FlameGraph<Datum>;
    transitionDuration(ms: number): FlameGraph<Datum>;
    inverted(on: boolean): FlameGraph<Datum>;
    resetHeightOnZoom(on: boolean): FlameGraph<Datum>;
    sort(compare: (a: Placed<Datum>, b: Placed<Datum>) => number): FlameGraph<Datum>;
    tooltip(tooltip: Tooltip<Datum>): FlameGraph<Datum>;
    getName(name: (node: Placed<Datum>) => string): FlameGraph<Datum>;
    setColorMapper(color: (node: Placed<Datum>, original: string) => string): FlameGraph<Datum>;
    setSearchMatch(match: (node: Placed<Datum>, term: string) => boolean): FlameGraph<Datum>;
    setSearchHandler(handler: (found: Placed<Datum>[], sum: number, total: number) => void): FlameGraph<Datum>;
    onClick(handler: (node: Placed<Datum>) => void): FlameGraph<Datum>;
    search(term: string): void;
    clear(): void;
    zoomTo(node: Placed<Datum>): void;
    resetZoom(): void;
    update(data?: Datum): FlameGraph<Datum>;
    destroy(): FlameGraph<Datum>;
  }

  export default function flamegraph<Datum>(): FlameGraph<Datum>;
}
