// Colours of frames: the hue says which world a frame lives in (or which file), the shade tells neighbours apart.

import type { ColorBy } from "./state";
import type { FrameNode } from "./tree";

/** OKLCH hue and chroma of each frame kind: warm for compiled code, cool for the kernel, the rest well apart. */
const KINDS: Record<string, [hue: number, chroma: number]> = {
  native: [62, 0.115],
  kernel: [250, 0.07],
  cpython: [150, 0.095],
  jvm: [22, 0.105],
  v8js: [100, 0.11],
};

export const KIND_NAMES: Record<string, string> = {
  native: "native",
  kernel: "kernel",
  cpython: "Python",
  jvm: "JVM",
  v8js: "JavaScript",
};

/** A number in [0, 1) that depends on nothing but the text. */
export function fraction(text: string): number {
  let value = 0x811c9dc5;
  for (let index = 0; index < text.length; index += 1) {
    value = Math.imul(value ^ text.charCodeAt(index), 0x01000193) >>> 0;
  }
  value ^= value >>> 15;
  return ((Math.imul(value, 0x2c1b3c6d) >>> 0) % 4096) / 4096;
}

function oklch(lightness: number, chroma: number, hue: number): string {
  return `oklch(${lightness.toFixed(3)} ${chroma.toFixed(3)} ${hue.toFixed(1)})`;
}

/** Colour of a legend entry: a frame kind or a mapping's name, without the shade of one function. */
export function groupColor(group: string, by: ColorBy, isDark: boolean): string {
  const lightness = isDark ? 0.7 : 0.82;
  if (by === "kind") {
    const [hue, chroma] = KINDS[group] ?? [300, 0.05];
    return oklch(lightness, chroma, hue);
  }
  return oklch(lightness, 0.095, mappingHue(group));
}

function mappingHue(mapping: string): number {
  // Twenty-four steps: closer hues cannot be told apart, and equal ones should look equal.
  return Math.floor(fraction(mapping) * 24) * 15 + 5;
}

/** Colour of a frame. While a search is on, what does not match steps back. */
export function frameColor(node: FrameNode, by: ColorBy, isDark: boolean, search: { isOn: boolean; isHit: boolean }): string {
  if (search.isOn && search.isHit) return oklch(isDark ? 0.72 : 0.76, 0.17, 325);
  const shade = (fraction(node.name) - 0.5) * 0.09;
  const lightness = (isDark ? 0.68 : 0.83) + shade;
  if (search.isOn || node.key === "") return oklch(isDark ? 0.56 + shade / 2 : 0.9 + shade / 2, 0.008, 260);
  const [hue, chroma] = by === "kind" ? (KINDS[node.kind] ?? [300, 0.05]) : [mappingHue(node.mapping), 0.095];
  return oklch(lightness, chroma, hue + (fraction(node.mapping + node.name) - 0.5) * 22);
}
