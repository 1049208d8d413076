// The JSON that /api/v1 answers with; docs/http.md describes each field. Times are Unix milliseconds, values are in
// `unit` (nanoseconds of CPU time for the kind cpu).

export type Interval = [share: number, low: number, high: number];

export interface ServiceRow {
  name: string;
  /** Sum of its values of the kind asked for, in the kind's unit. */
  total: number;
}

export interface Span {
  from_unix_ms: number;
  to_unix_ms: number;
}

export interface SeriesAnswer extends Span {
  unit: string;
  step_ms: number;
  start_unix_ms: number;
  values: number[];
  samples: number[];
}

export interface FrameColumns {
  parent: number[];
  name: number[];
  mapping: number[];
  kind: number[];
  self: number[];
  total: number[];
  low: number[];
  high: number[];
}

export interface SearchMatch {
  text: string;
  value: number;
  share: Interval;
  functions: number;
}

export interface FlamegraphAnswer extends Span {
  unit: string;
  total: number;
  samples: number;
  names: string[];
  mappings: string[];
  kinds: string[];
  nodes: FrameColumns;
  pruned_nodes: number;
  search: SearchMatch | null;
}

export interface FunctionRow {
  function: string;
  mapping: string;
  kind: string;
  self: number;
  total: number;
  self_share: Interval;
  total_share: Interval;
}

export interface TopAnswer extends Span {
  unit: string;
  total: number;
  samples: number;
  functions: FunctionRow[];
  function_count: number;
}

export type LossClass = "lost" | "dropped" | "late" | "incomplete";

export interface LossRow {
  class: LossClass;
  reason: string;
  samples: number;
  share: number;
}

export interface LossesAnswer extends Span {
  samples: number;
  missing_samples: number;
  missing_share: number;
  losses: LossRow[];
}

export interface HeatmapAnswer extends Span {
  start_unix_ms: number;
  column_ms: number;
  row_ms: number;
  rows: number;
  columns: number;
  counts: number[];
}

export interface Problem {
  type: string;
  title: string;
  status: number;
  detail: string;
  retriable: boolean;
}
