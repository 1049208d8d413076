// The top table: functions by self and total value, from every stack, each share with its 95 % interval.

import type { FunctionRow, TopAnswer } from "./answers";
import { groupColor, KIND_NAMES } from "./colors";
import { debounce, el } from "./dom";
import { amount, count, interval, percent } from "./format";
import type { SortColumn } from "./state";

export interface TableOptions {
  isDark: () => boolean;
  onSort: (column: SortColumn) => void;
  onFilter: (text: string) => void;
  onPick: (functionName: string) => void;
}

const COLUMNS: [SortColumn, string, string][] = [
  ["function", "Function", "By name"],
  ["self", "Self", "Value of samples that ended in the function"],
  ["total", "Total", "Value of samples that the function was part of"],
];

/** Rows in the order asked for; equal ones by name, so that the order is always the same. */
export function sorted(rows: readonly FunctionRow[], column: SortColumn, descending: boolean): FunctionRow[] {
  const sign = descending ? -1 : 1;
  const byName = (a: FunctionRow, b: FunctionRow): number => a.function.localeCompare(b.function, "en");
  return [...rows].sort((a, b) => {
    if (column === "function") return -sign * byName(a, b);
    return sign * (a[column] - b[column]) || byName(a, b);
  });
}

export class TableView {
  readonly element: HTMLElement;
  private readonly filter: HTMLInputElement;
  private readonly head = el("tr");
  private readonly body = el("tbody");
  private readonly note = el("div", { class: "table-note muted" });
  private answer: TopAnswer | null = null;
  private order: { sort: SortColumn; descending: boolean } = { sort: "self", descending: true };
  private picked = "";

  constructor(private readonly options: TableOptions) {
    const changed = debounce(250, (text: string) => options.onFilter(text));
    this.filter = el("input", {
      type: "search",
      class: "input",
      placeholder: "Filter functions…",
      "aria-label": "Filter functions",
      on: { input: () => changed(this.filter.value.trim()) },
    });
    const table = el("table", { class: "top" }, el("thead", {}, this.head), this.body);
    this.element = el("div", { class: "table-view" }, this.filter, el("div", { class: "table-scroll", tabindex: "0", role: "region", "aria-label": "Top functions" }, table), this.note);
    this.body.addEventListener("click", (event) => this.onClick(event));
  }

  show(answer: TopAnswer): void {
    this.answer = answer;
    this.render();
  }

  configure(view: { sort: SortColumn; descending: boolean; filter: string; search: string }): void {
    this.order = { sort: view.sort, descending: view.descending };
    this.picked = view.search;
    if (document.activeElement !== this.filter) this.filter.value = view.filter;
    this.render();
  }

  private render(): void {
    this.head.replaceChildren(...COLUMNS.map(([column, name, hint]) => this.heading(column, name, hint)));
    if (!this.answer) return;
    const { answer } = this;
    const rows = sorted(answer.functions, this.order.sort, this.order.descending);
    const largest = Math.max(...rows.map((row) => row.total_share[2]), 1e-9);
    this.body.replaceChildren(...rows.map((row) => this.row(row, answer, largest)));
    const shown = rows.length < answer.function_count ? `${count(rows.length)} of ${count(answer.function_count)}` : count(rows.length);
    this.note.textContent = rows.length ? `${shown} functions · 95 % intervals below shares` : "No function matches the filter.";
  }

  private heading(column: SortColumn, name: string, hint: string): HTMLElement {
    const isActive = this.order.sort === column;
    const state = isActive ? (this.order.descending ? "descending" : "ascending") : "none";
    const arrow = isActive ? (this.order.descending ? "▾" : "▴") : "";
    const button = el("button", { type: "button", title: hint, on: { click: () => this.options.onSort(column) } }, name, el("span", { class: "arrow", "aria-hidden": "true" }, arrow));
    return el("th", { scope: "col", "aria-sort": state, class: column }, button);
  }

  private row(row: FunctionRow, answer: TopAnswer, largest: number): HTMLElement {
    const dot = el("span", { class: "dot", title: KIND_NAMES[row.kind] ?? row.kind });
    dot.style.backgroundColor = groupColor(row.kind, "kind", this.options.isDark());
    const isPicked = row.function === this.picked;
    const name = el(
      "button",
      { type: "button", class: "function-name", title: `${row.function}\n${row.mapping}`, "data-function": row.function, "aria-pressed": String(isPicked) },
      dot,
      el("span", { class: "name" }, row.function),
      el("span", { class: "muted mapping" }, row.mapping),
    );
    return el(
      "tr",
      { class: isPicked ? "picked" : "" },
      el("td", { class: "function" }, name),
      share(row.self, row.self_share, answer.unit, largest),
      share(row.total, row.total_share, answer.unit, largest),
    );
  }

  private onClick(event: Event): void {
    const button = (event.target as Element).closest<HTMLElement>("[data-function]");
    const name = button?.dataset["function"];
    if (name !== undefined) this.options.onPick(name === this.picked ? "" : name);
  }
}

/** A share with its bar; the whisker over the bar spans the 95 % interval. */
function share(value: number, [part, low, high]: FunctionRow["self_share"], unit: string, largest: number): HTMLElement {
  const bar = el("span", { class: "bar", "aria-hidden": "true" }, el("i", {}));
  bar.style.setProperty("--value", String(part / largest));
  bar.style.setProperty("--low", String(low / largest));
  bar.style.setProperty("--high", String(high / largest));
  return el(
    "td",
    { class: "share", title: `${amount(value, unit)}, 95 % interval ${interval(low, high)}` },
    el("span", { class: "numbers" }, el("b", {}, percent(part)), el("span", { class: "muted" }, part > 0 ? interval(low, high) : "")),
    bar,
  );
}
