import { describe, expect, it } from "vitest";
import { retryDelayS } from "../src/banner";
import { count, duration, interval, percent, tick } from "../src/format";

describe("numbers as people read them", () => {
  it("never shows what is there as nothing", () => {
    expect(percent(0)).toBe("0 %");
    expect(percent(0.000001)).toBe("<0.01 %");
    expect(percent(1)).toBe("100 %");
    expect(interval(-0.1, 0.5)).toBe("0.0–50.0 %");
  });
  it("picks the unit of a time", () => expect([0, 4.2e5, 3.4e8, 1.5e9, 6e11].map(duration)).toEqual(["0 s", "420 µs", "340 ms", "1.50 s", "10.0 min"]));
  it("shortens counts", () => expect([940, 12_345, 4_560_000].map(count)).toEqual(["940", "12.3 k", "4.56 M"]));
  it("leaves zeros at the end off an axis", () => expect([0, 0.2, 0.30000000000000004, 12].map(tick)).toEqual(["0", "0.2", "0.3", "12"]));
});

describe("trying again", () => {
  it("waits longer each time, but never long", () => expect([1, 2, 3, 4, 5, 50].map(retryDelayS)).toEqual([2, 4, 8, 16, 30, 30]));
});
