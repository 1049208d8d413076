// The loss budget: what is missing from the profile, by reason, always in sight.

import type { LossesAnswer, LossRow } from "./answers";
import { el } from "./dom";
import { count, percent } from "./format";

const MEANING: Record<string, string> = {
  lost: "lost: the kernel could not hand it over",
  dropped: "dropped: flamebus chose to discard it",
  late: "late: it came after its window had closed",
  incomplete: "incomplete: it is counted, but frames of its stack are missing",
};

/** Above one sample in a hundred missing, conclusions about small frames are unsafe: say so in colour. */
const WARNING_SHARE = 0.01;

function entry(row: LossRow): HTMLElement {
  return el(
    "span",
    { class: `loss ${row.class}`, title: `${MEANING[row.class] ?? row.class}; ${count(row.samples)} samples` },
    el("span", { class: "loss-mark", "aria-hidden": "true" }),
    `${row.class} `,
    el("code", {}, row.reason),
    ` ${percent(row.share)}`,
  );
}

export class LossView {
  readonly element = el("div", { class: "losses", role: "status", "aria-label": "Loss budget" });

  show(answer: LossesAnswer): void {
    const missing = answer.missing_share;
    this.element.classList.toggle("is-warning", missing > WARNING_SHARE);
    const rows = answer.losses.filter((row) => row.samples > 0);
    const headline = missing > 0 ? `${percent(missing)} missing` : "nothing missing";
    this.element.replaceChildren(
      el("b", {}, headline),
      el("span", { class: "muted" }, `of ${count(answer.samples + answer.missing_samples)} samples`),
      ...rows.map(entry),
    );
  }
}
