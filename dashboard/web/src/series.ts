// The time series above the flame graph: cores over time, and a brush that selects a range.

import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import type { SeriesAnswer } from "./answers";
import { el } from "./dom";
import { moment, rate, rates, rateUnit, tick } from "./format";
import { cssColor } from "./theme";

const HEIGHT_PX = 146;
/** A brush narrower than this is a slip of the hand. */
const MIN_BRUSH_PX = 6;

export class SeriesView {
  readonly element = el("div", { class: "series" });
  private readonly readout = el("div", { class: "series-readout", "aria-hidden": "true" });
  private plot: uPlot | null = null;
  private answer: SeriesAnswer | null = null;

  constructor(private readonly onBrush: (fromMs: number, toMs: number) => void) {
    new ResizeObserver(() => this.resize()).observe(this.element);
  }

  show(answer: SeriesAnswer): void {
    this.answer = answer;
    this.draw();
  }

  /** Draw again with the colours of the current theme. */
  repaint(): void {
    if (this.answer) this.draw();
  }

  private resize(): void {
    const width = this.element.clientWidth;
    if (!this.plot) this.draw();
    else if (Math.abs(width - this.plot.width) > 1) this.plot.setSize({ width, height: HEIGHT_PX });
  }

  private draw(): void {
    const { answer } = this;
    const width = this.element.clientWidth;
    if (!answer || width < 50) return;
    this.plot?.destroy();
    this.element.replaceChildren(this.readout);
    // A point stands at the end of its step and the line is held back to its start.
    const times = answer.values.map((_, index) => (answer.start_unix_ms + (index + 1) * answer.step_ms) / 1000);
    const values = rates(answer.values, answer.unit, answer.step_ms);
    this.describe(values, answer);
    this.plot = new uPlot(this.plotOptions(width, answer), [times, withoutOpenEnd(values, answer)], this.element);
    this.element.append(el("div", { class: "series-unit muted", "aria-hidden": "true" }, rateUnit(answer.unit)));
  }

  private describe(values: number[], answer: SeriesAnswer): void {
    const peak = Math.max(0, ...values);
    this.element.setAttribute("role", "img");
    this.element.setAttribute(
      "aria-label",
      `${rateUnit(answer.unit)} over time, ${values.length} points, peak ${rate(peak, answer.unit)}. Drag to select a range, or use Custom.`,
    );
  }

  private plotOptions(width: number, answer: SeriesAnswer): uPlot.Options {
    const muted = cssColor("--muted");
    const axis = {
      stroke: muted,
      font: "11px system-ui, sans-serif",
      grid: { stroke: cssColor("--grid"), width: 1 },
      ticks: { show: false },
    };
    return {
      width,
      height: HEIGHT_PX,
      legend: { show: false },
      padding: [8, 8, 0, 0],
      cursor: { y: false, drag: { x: true, y: false, setScale: false }, points: { size: 6 } },
      scales: {
        x: { time: true, range: () => [answer.from_unix_ms / 1000, answer.to_unix_ms / 1000] },
        y: { range: (_plot, _low, high) => [0, Math.max(high * 1.12, 1e-6)] },
      },
      axes: [
        { ...axis, size: 40, space: 70, values: [...CLOCK_TICKS] },
        { ...axis, size: 46, space: 34, values: (_plot, splits) => splits.map(tick) },
      ],
      series: [
        {},
        {
          stroke: cssColor("--accent"),
          fill: cssColor("--accent-soft"),
          width: 1.5,
          ...(uPlot.paths.stepped ? { paths: uPlot.paths.stepped({ align: -1 }) } : {}),
          points: { show: false },
        },
      ],
      hooks: { setSelect: [(plot) => this.brushed(plot)], setCursor: [(plot) => this.read(plot, answer)] },
    };
  }

  private brushed(plot: uPlot): void {
    const { left, width } = plot.select;
    if (width < MIN_BRUSH_PX) return;
    const from = plot.posToVal(left, "x") * 1000;
    const to = plot.posToVal(left + width, "x") * 1000;
    plot.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
    // Whole seconds: nobody brushes more finely, and links stay readable.
    const fromMs = Math.floor(from / 1000) * 1000;
    this.onBrush(fromMs, Math.max(Math.ceil(to / 1000) * 1000, fromMs + 1000));
  }

  private read(plot: uPlot, answer: SeriesAnswer): void {
    const index = plot.cursor.idx;
    const value = index === null || index === undefined ? undefined : plot.data[1]?.[index];
    if (value === null || value === undefined || index === null || index === undefined) {
      this.readout.textContent = "";
      return;
    }
    const start = answer.start_unix_ms + index * answer.step_ms;
    this.readout.textContent = `${moment(start, Date.now())}  ${rate(value, answer.unit)}`;
  }
}

/** A window is stored at most this long after its start: its length, the allowed lateness, and the writing. */
const OPEN_MS = 25_000;

/** The values, without zeros at the end that only say that the last windows have not been stored yet. */
export function withoutOpenEnd(values: number[], answer: SeriesAnswer): (number | null)[] {
  const open: (number | null)[] = [...values];
  for (let index = values.length - 1; index >= 0 && values[index] === 0; index -= 1) {
    if (answer.start_unix_ms + (index + 1) * answer.step_ms < answer.to_unix_ms - OPEN_MS) break;
    open[index] = null;
  }
  return open;
}

/** uPlot's table of time formats by tick distance: 24-hour clock, the date where the day changes. */
const CLOCK_TICKS: (string | number | null)[][] = [
  [86_400, "{YYYY}-{MM}-{DD}", null, null, null, null, null, null, 1],
  [60, "{HH}:{mm}", "\n{YYYY}-{MM}-{DD}", null, "\n{MM}-{DD}", null, null, null, 1],
  [1, "{HH}:{mm}:{ss}", "\n{YYYY}-{MM}-{DD}", null, "\n{MM}-{DD}", null, null, null, 1],
];
