// The line below the bar: what is the matter, and what happens next. After a failure the page tries again by itself,
// later and later, so that a page left open heals without a hand.

import { el } from "./dom";

const FIRST_RETRY_S = 2;
const LONGEST_RETRY_S = 30;

export interface Action {
  name: string;
  call: () => void;
}

/** Seconds to wait before the attempt after so many failures in a row: 2, 4, 8, 16, 30, 30, … */
export function retryDelayS(failures: number): number {
  return Math.min(LONGEST_RETRY_S, FIRST_RETRY_S * 2 ** Math.max(0, failures - 1));
}

export class Banner {
  readonly element = el("div", { class: "message", role: "alert", hidden: true });
  private readonly text = el("span");
  // Not announced: a countdown read aloud every second would drown everything else.
  private readonly countdown = el("span", { class: "countdown", "aria-live": "off" });
  private readonly button = el("button", { type: "button", class: "button", hidden: true });
  private call: () => void = () => undefined;
  private timer = 0;
  private failures = 0;

  constructor() {
    this.element.append(this.text, this.countdown, this.button);
    this.button.addEventListener("click", () => this.act());
  }

  clear(): void {
    this.failures = 0;
    this.stop();
    this.element.hidden = true;
    this.text.textContent = "";
  }

  /** Say something that is no failure, such as that there is nothing to see yet. */
  inform(text: string): void {
    this.failures = 0;
    this.put(text, null, false);
  }

  /** Say that an answer is on its way; not at once, because most come before anyone could read it. */
  wait(text: string): void {
    if (!this.element.hidden) return;
    this.put(text, null, false);
    this.element.classList.add("is-waiting");
  }

  /** Say what failed, and what a person can do. */
  fail(text: string, action: Action | null): void {
    this.put(text, action, true);
  }

  /** Say what failed, and try again by itself. */
  failAndRetry(text: string, retry: () => void): void {
    this.failures += 1;
    this.put(text, { name: "Try now", call: retry }, true);
    this.tick(retryDelayS(this.failures));
  }

  private put(text: string, action: Action | null, isError: boolean): void {
    this.stop();
    this.element.classList.toggle("is-error", isError);
    this.element.classList.remove("is-waiting");
    // Said again only when it changes: the same text would be read aloud at each attempt.
    if (this.text.textContent !== text) this.text.textContent = text;
    this.call = action?.call ?? (() => undefined);
    this.button.hidden = action === null;
    this.button.textContent = action?.name ?? "";
    this.element.hidden = false;
  }

  private tick(leftS: number): void {
    if (leftS <= 0) return this.act();
    this.countdown.textContent = `Trying again in ${leftS} s.`;
    this.timer = window.setTimeout(() => this.tick(leftS - 1), 1000);
  }

  private act(): void {
    this.stop();
    this.countdown.textContent = "Trying …";
    this.call();
  }

  private stop(): void {
    window.clearTimeout(this.timer);
    this.countdown.textContent = "";
  }
}
