// What is shown, in a line of words and a legend: the whole profile's size, what a search found, which colours there are.

import type { FlamegraphAnswer, SearchMatch } from "./answers";
import { groupColor, KIND_NAMES } from "./colors";
import { el } from "./dom";
import { amount, count, percent, rate, rates, span } from "./format";
import type { ColorBy } from "./state";
import { type FrameNode, matches, selfBy, walk } from "./tree";

const LEGEND_ENTRIES = 6;

/** Total, samples, range, and the search's result when there is one. */
export function summaryContent(shown: FlamegraphAnswer, found: SearchMatch | null, tree: FrameNode | null, nowMs: number): HTMLElement[] {
  const { from_unix_ms: fromMs, to_unix_ms: toMs } = shown;
  const [average = 0] = rates([shown.total], shown.unit, toMs - fromMs);
  const what = shown.unit === "nanoseconds" ? "of CPU time, " : "";
  const text = `${what}${rate(average, shown.unit)} on average · ${count(shown.samples)} samples · ${span(fromMs, toMs, nowMs)}`;
  return [
    el("b", { class: "total" }, amount(shown.total, shown.unit)),
    el("span", { class: "muted" }, text),
    ...(found ? [el("span", { class: "found", id: "found", role: "status" }, foundText(found, tree))] : []),
  ];
}

/** What a search found in all stacks; also where it is, when the graph has pruned it. */
export function foundText(found: SearchMatch, tree: FrameNode | null): string {
  if (found.functions === 0) return `No function matches “${found.text}”.`;
  const functions = found.functions === 1 ? "1 matching function" : `${count(found.functions)} matching functions`;
  const isDrawn = tree === null || [...walk(tree)].some((node) => matches(node, found.text));
  return `${percent(found.share[0])} in ${functions}${isDrawn ? "" : ", too small for the graph: filter the table"}`;
}

/** The colours of the graph, the largest first. */
export function legendContent(tree: FrameNode, by: ColorBy, isDark: boolean): HTMLElement[] {
  const groups = selfBy(tree, (node) => (by === "kind" ? node.kind : node.mapping)).filter(([, value]) => value > 0);
  return groups.slice(0, LEGEND_ENTRIES).map(([group, value]) => {
    const dot = el("span", { class: "dot" });
    dot.style.backgroundColor = groupColor(group, by, isDark);
    const share = percent(tree.value ? value / tree.value : 0);
    return el("span", { class: "legend-entry" }, dot, KIND_NAMES[group] ?? (group || "no file"), el("span", { class: "muted" }, share));
  });
}
