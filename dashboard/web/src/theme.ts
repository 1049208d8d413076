// Light and dark: the system's choice until the person makes one.

export type Theme = "light" | "dark";

const STORED = "flamebus.theme";

export class ThemeState {
  private listeners: (() => void)[] = [];
  private readonly system = window.matchMedia("(prefers-color-scheme: dark)");

  constructor() {
    this.apply();
    this.system.addEventListener("change", () => this.apply());
  }

  get isDark(): boolean {
    return this.chosen() === null ? this.system.matches : this.chosen() === "dark";
  }

  onChange(listener: () => void): void {
    this.listeners.push(listener);
  }

  /** Switch, and remember it in this browser unless it is the system's choice anyway. */
  toggle(): void {
    const wanted: Theme = this.isDark ? "light" : "dark";
    if ((wanted === "dark") === this.system.matches) window.localStorage.removeItem(STORED);
    else window.localStorage.setItem(STORED, wanted);
    this.apply();
  }

  private chosen(): string | null {
    return window.localStorage.getItem(STORED);
  }

  private apply(): void {
    document.documentElement.dataset["theme"] = this.isDark ? "dark" : "light";
    for (const listener of this.listeners) listener();
  }
}

/** A colour of the style sheet, by the name of its custom property. */
export function cssColor(name: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}
