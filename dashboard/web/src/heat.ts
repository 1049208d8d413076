// The sub-second heat map: one column a second, rows of 20 ms, so that a beat inside the second becomes a pattern. It
// lies below the series on the same time axis.

import type { HeatmapAnswer } from "./answers";
import { el } from "./dom";
import { count, duration, moment } from "./format";
import { cssColor } from "./theme";

const ROW_PX = 3;

export class HeatView {
  readonly element: HTMLElement;
  private readonly canvas = el("canvas", { role: "img" });
  private readonly readout = el("span", { class: "muted heat-readout" });
  private answer: HeatmapAnswer | null = null;

  constructor() {
    this.element = el("div", { class: "heat" }, this.canvas, this.readout);
    this.canvas.addEventListener("mousemove", (event) => this.read(event));
    this.canvas.addEventListener("mouseleave", () => this.explain());
    new ResizeObserver(() => this.repaint()).observe(this.element);
  }

  show(answer: HeatmapAnswer): void {
    this.answer = answer;
    const peak = Math.max(0, ...answer.counts);
    this.canvas.setAttribute("aria-label", `Samples per ${answer.row_ms} ms, ${answer.columns} columns, at most ${count(peak)} in one`);
    this.explain();
    this.repaint();
  }

  /** What the picture shows, while no bin is pointed at. */
  private explain(): void {
    const { answer } = this;
    if (!answer) return;
    const range = duration((answer.to_unix_ms - answer.from_unix_ms) * 1e6);
    this.readout.textContent = `Each column is a second, each row ${answer.row_ms} ms within it, upward; ${range} are shown.`;
  }

  repaint(): void {
    const { answer } = this;
    const width = this.element.clientWidth;
    if (!answer || answer.columns === 0 || width < 50) return;
    const ratio = window.devicePixelRatio || 1;
    const height = answer.rows * ROW_PX;
    this.canvas.width = Math.round(width * ratio);
    this.canvas.height = Math.round(height * ratio);
    this.canvas.style.height = `${height}px`;
    const context = this.canvas.getContext("2d");
    if (context) this.paint(context, answer);
  }

  private paint(context: CanvasRenderingContext2D, answer: HeatmapAnswer): void {
    const peak = Math.max(1, ...answer.counts);
    const { width, height } = this.canvas;
    const columnPx = (width * answer.column_ms) / (answer.to_unix_ms - answer.from_unix_ms);
    const firstPx = (width * (answer.start_unix_ms - answer.from_unix_ms)) / (answer.to_unix_ms - answer.from_unix_ms);
    const rowPx = height / answer.rows;
    context.fillStyle = cssColor("--accent");
    answer.counts.forEach((samples, index) => {
      if (samples === 0) return;
      const column = Math.floor(index / answer.rows);
      // Time within the second grows upward, as on any axis.
      const row = answer.rows - 1 - (index % answer.rows);
      // The root keeps rare samples visible beside the busiest bin.
      context.globalAlpha = 0.08 + 0.92 * Math.sqrt(samples / peak);
      context.fillRect(Math.floor(firstPx + column * columnPx), Math.floor(row * rowPx), Math.ceil(columnPx), Math.ceil(rowPx));
    });
    context.globalAlpha = 1;
  }

  private read(event: MouseEvent): void {
    const { answer } = this;
    if (!answer) return;
    const box = this.canvas.getBoundingClientRect();
    const atMs = answer.from_unix_ms + ((event.clientX - box.left) / box.width) * (answer.to_unix_ms - answer.from_unix_ms);
    const column = Math.floor((atMs - answer.start_unix_ms) / answer.column_ms);
    const row = answer.rows - 1 - Math.floor(((event.clientY - box.top) / box.height) * answer.rows);
    const samples = column >= 0 ? answer.counts[column * answer.rows + row] : undefined;
    if (samples === undefined) return this.explain();
    const second = moment(answer.start_unix_ms + column * answer.column_ms, Date.now());
    this.readout.textContent = `${second} + ${row * answer.row_ms} ms: ${count(samples)} samples`;
  }
}
