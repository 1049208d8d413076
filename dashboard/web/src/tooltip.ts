// What the tooltip of a frame says.

import { KIND_NAMES } from "./colors";
import { el } from "./dom";
import { amount, interval, percent } from "./format";
import type { FrameNode } from "./tree";

function row(name: string, value: string, extra: string): HTMLElement {
  return el("tr", {}, el("th", { scope: "row" }, name), el("td", {}, value), el("td", { class: "muted" }, extra));
}

/** Function, file, total and self with their shares of the whole profile, and the 95 % interval of the total's share. */
export function tooltipContent(node: FrameNode, whole: number, unit: string): HTMLElement[] {
  const share = whole > 0 ? node.value / whole : 0;
  const selfShare = whole > 0 ? node.self / whole : 0;
  const where = [KIND_NAMES[node.kind] ?? node.kind, node.mapping].filter(Boolean).join(" · ");
  const rows = [row("Total", amount(node.value, unit), percent(share)), row("Self", amount(node.self, unit), percent(selfShare))];
  if (node.high > 0 && node.key !== "") rows.push(row("95 %", interval(node.low, node.high), "of total"));
  return [
    el("div", { class: "tip-name" }, node.key === "" ? "Whole profile" : node.name),
    el("div", { class: "muted" }, where),
    el("table", {}, el("tbody", {}, ...rows)),
  ];
}
