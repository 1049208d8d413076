// The sub-second heat map: one column a second, rows of 20 ms, so that a beat inside the second becomes a pattern.

import type { HeatmapAnswer } from "./answers";
import { el } from "./dom";
import { count, moment } from "./format";
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
    this.canvas.addEventListener("mouseleave", () => (this.readout.textContent = ""));
    new ResizeObserver(() => this.repaint()).observe(this.element);
  }

  show(answer: HeatmapAnswer): void {
    this.answer = answer;
    const peak = Math.max(0, ...answer.counts);
    this.canvas.setAttribute("aria-label", `Samples per ${answer.row_ms} ms, ${answer.columns} columns, at most ${count(peak)} in one`);
    this.repaint();
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
    if (context) this.paint(context, answer, this.canvas.width / answer.columns, this.canvas.height / answer.rows);
  }

  private paint(context: CanvasRenderingContext2D, answer: HeatmapAnswer, columnPx: number, rowPx: number): void {
    const peak = Math.max(1, ...answer.counts);
    context.fillStyle = cssColor("--accent");
    answer.counts.forEach((samples, index) => {
      if (samples === 0) return;
      const column = Math.floor(index / answer.rows);
      // Time within the second grows upward, as on any axis.
      const row = answer.rows - 1 - (index % answer.rows);
      // The root keeps rare samples visible beside the busiest bin.
      context.globalAlpha = 0.08 + 0.92 * Math.sqrt(samples / peak);
      context.fillRect(Math.floor(column * columnPx), Math.floor(row * rowPx), Math.ceil(columnPx), Math.ceil(rowPx));
    });
    context.globalAlpha = 1;
  }

  private read(event: MouseEvent): void {
    const { answer } = this;
    if (!answer) return;
    const box = this.canvas.getBoundingClientRect();
    const column = Math.floor(((event.clientX - box.left) / box.width) * answer.columns);
    const row = answer.rows - 1 - Math.floor(((event.clientY - box.top) / box.height) * answer.rows);
    const samples = answer.counts[column * answer.rows + row];
    if (samples === undefined) return;
    const second = moment(answer.start_unix_ms + column * answer.column_ms, Date.now());
    this.readout.textContent = `${second} + ${row * answer.row_ms} ms: ${count(samples)} samples`;
  }
}
