// Elements without a framework.

type Child = Node | string | null | undefined | false;

export interface Attributes {
  class?: string;
  title?: string;
  on?: { [Name in keyof HTMLElementEventMap]?: (event: HTMLElementEventMap[Name]) => void };
  [attribute: string]: unknown;
}

/** An element with attributes, listeners (`on`) and children; attributes that are false or undefined are left out. */
export function el<Tag extends keyof HTMLElementTagNameMap>(
  tag: Tag,
  attributes: Attributes = {},
  ...children: Child[]
): HTMLElementTagNameMap[Tag] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "on" || value === undefined || value === false || value === null) continue;
    element.setAttribute(name, value === true ? "" : String(value));
  }
  for (const [name, listener] of Object.entries(attributes.on ?? {})) {
    element.addEventListener(name, listener as EventListener);
  }
  element.append(...children.filter((child): child is Node | string => Boolean(child)));
  return element;
}

const SVG = "http://www.w3.org/2000/svg";

/** A 16 × 16 line icon from the data of its path; it is decoration, so assistive technology passes over it. */
export function icon(path: string): SVGSVGElement {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 16 16");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const line = document.createElementNS(SVG, "path");
  line.setAttribute("d", path);
  svg.append(line);
  return svg;
}

export const ICONS = {
  search: "M7 12A5 5 0 1 0 7 2a5 5 0 0 0 0 10ZM10.8 10.8 14 14",
  close: "M4 4l8 8M12 4l-8 8",
  theme: "M8 2a6 6 0 1 0 0 12ZM8 2a6 6 0 0 1 0 12",
  help: "M5.8 6.2A2.3 2.3 0 1 1 8.6 8.4c-.4.2-.6.5-.6 1M8 12v.2",
  live: "M2.5 8h2.6L7 3l2.4 10 1.9-5h2.2",
  calendar: "M2.5 4h11v9.5h-11zM2.5 7h11M5.5 2v3M10.5 2v3",
  download: "M8 2v8M5 7.2 8 10.2l3-3M3 13.5h10",
  widen: "M6 3 2 8l4 5M10 3l4 5-4 5",
} as const;

/** Calls after the last of a burst, `delayMs` later. */
export function debounce<Arguments extends unknown[]>(
  delayMs: number,
  call: (...values: Arguments) => void,
): (...values: Arguments) => void {
  let timer = 0;
  return (...values) => {
    window.clearTimeout(timer);
    timer = window.setTimeout(() => call(...values), delayMs);
  };
}
