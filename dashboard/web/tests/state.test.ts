import { describe, expect, it } from "vitest";
import { DEFAULT_VIEW, durationMs, readView, widen, writeView } from "../src/state";

describe("the view in the address", () => {
  it("comes back as it was written", () => {
    const view = { ...DEFAULT_VIEW, service: "shop/кассе & co", search: "a+b", zoom: "0f", sort: "total" as const, descending: false, isLive: true, range: { fromMs: 1_700_000_000_000, toMs: 1_700_000_060_000 } };
    expect(readView(writeView(view))).toEqual(view);
  });
  it("ignores what makes no sense", () => {
    expect(readView("?since=soon&sort=colour&view=3&from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z")).toEqual({ ...DEFAULT_VIEW, descending: false });
  });
  it("adds durations up", () => expect(durationMs("1h30m")).toBe(5_400_000));
  it("never widens into the future", () => expect(widen(100, 200, 210)).toEqual({ fromMs: 10, toMs: 210 }));
});
