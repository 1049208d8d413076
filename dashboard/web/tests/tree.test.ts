import { describe, expect, it } from "vitest";
import type { FlamegraphAnswer } from "../src/answers";
import { buildTree, matches, selfBy, walk } from "../src/tree";

const answer: FlamegraphAnswer = {
  from_unix_ms: 0, to_unix_ms: 1, unit: "nanoseconds", total: 10, samples: 10, pruned_nodes: 0, search: null,
  names: ["", "main", "work"], mappings: ["", "app"], kinds: ["", "native"],
  nodes: { parent: [0, 0, 1], name: [0, 1, 2], mapping: [0, 1, 1], kind: [0, 1, 1], self: [0, 3, 7], total: [10, 10, 7], low: [0, 0.9, 0.4], high: [1, 1, 0.9] },
};

describe("the tree", () => {
  it("hangs frames below their callers", () => {
    const root = buildTree(answer);
    expect(root.children.map((node) => node.name)).toEqual(["main"]);
    expect(root.children[0]?.children[0]).toMatchObject({ name: "work", self: 7, value: 7, mapping: "app", kind: "native" });
  });
  it("gives every frame a key of its own, the same each time", () => {
    const keys = [...walk(buildTree(answer))].map((node) => node.key);
    expect(new Set(keys).size).toBe(3);
    expect([...walk(buildTree(answer))].map((node) => node.key)).toEqual(keys);
  });
  it("adds self values up to the total", () => {
    expect(selfBy(buildTree(answer), (node) => node.kind)).toEqual([["native", 10]]);
  });
  it("matches part of a name in any case, never the root", () => {
    const root = buildTree(answer);
    expect(matches(root, "a")).toBe(false);
    expect(matches(root.children[0] ?? root, "MAI")).toBe(true);
  });
});
