// The call tree that the flame graph draws, built from the columns of /api/v1/flamegraph.

import type { FlamegraphAnswer } from "./answers";

export interface FrameNode {
  name: string;
  mapping: string;
  kind: string;
  /** Self and total value in the profile's unit. */
  self: number;
  value: number;
  /** Bounds of the 95 % interval of the share of the whole profile. */
  low: number;
  high: number;
  /** Names the frame by its path from the root, the same in every answer: fit for an address. */
  key: string;
  children: FrameNode[];
  /** Set by d3-flame-graph while it is zoomed. */
  fade?: boolean;
  hide?: boolean;
}

const FNV_OFFSET = 0x811c9dc5;
const FNV_PRIME = 0x01000193;

/** FNV-1a over UTF-16 units, 32 bits. */
function hash32(text: string, seed: number): number {
  let value = seed >>> 0;
  for (let index = 0; index < text.length; index += 1) {
    value = Math.imul(value ^ text.charCodeAt(index), FNV_PRIME) >>> 0;
  }
  return value;
}

/** Key of a frame below the caller with the key `caller`: 64 bits in hexadecimal, so that a clash is not expected. */
export function childKey(caller: string, mapping: string, name: string): string {
  const text = `${caller}\u0000${mapping}\u0000${name}`;
  const high = hash32(text, FNV_OFFSET);
  const low = hash32(text, hash32("second half", FNV_OFFSET) ^ high);
  return high.toString(16).padStart(8, "0") + low.toString(16).padStart(8, "0");
}

/** The root of the tree. Nodes come callers first, row 0 is the root. */
export function buildTree(answer: FlamegraphAnswer): FrameNode {
  const { nodes, names, mappings, kinds } = answer;
  const made: FrameNode[] = [];
  for (let row = 0; row < nodes.parent.length; row += 1) {
    const caller = row === 0 ? undefined : made[nodes.parent[row] ?? 0];
    const name = row === 0 ? "all" : (names[nodes.name[row] ?? 0] ?? "");
    const mapping = mappings[nodes.mapping[row] ?? 0] ?? "";
    const node: FrameNode = {
      name,
      mapping,
      kind: row === 0 ? "" : (kinds[nodes.kind[row] ?? 0] ?? ""),
      self: nodes.self[row] ?? 0,
      value: nodes.total[row] ?? 0,
      low: nodes.low[row] ?? 0,
      high: nodes.high[row] ?? 0,
      key: caller ? childKey(caller.key, mapping, name) : "",
      children: [],
    };
    made.push(node);
    caller?.children.push(node);
  }
  return made[0] ?? emptyRoot();
}

function emptyRoot(): FrameNode {
  return { name: "all", mapping: "", kind: "", self: 0, value: 0, low: 0, high: 0, key: "", children: [] };
}

/** All frames, callers first. */
export function* walk(root: FrameNode): Generator<FrameNode> {
  const pending = [root];
  for (let node = pending.pop(); node; node = pending.pop()) {
    yield node;
    pending.push(...node.children);
  }
}

/** Self value by some property of frames, largest first. */
export function selfBy(root: FrameNode, property: (node: FrameNode) => string): [string, number][] {
  const sums = new Map<string, number>();
  for (const node of walk(root)) {
    if (node !== root) sums.set(property(node), (sums.get(property(node)) ?? 0) + node.self);
  }
  return [...sums].sort((a, b) => b[1] - a[1]);
}

/** Whether a frame's function contains the text, whatever its case: what the server's search means too. */
export function matches(node: FrameNode, text: string): boolean {
  return text !== "" && node.key !== "" && node.name.toLowerCase().includes(text.toLowerCase());
}
