// Numbers, units and times as people read them.

const NANOSECONDS_PER_SECOND = 1e9;

/** Three significant digits without an exponent: 0.00123, 1.23, 12.3, 1,230. */
export function digits(value: number): string {
  if (value === 0 || !Number.isFinite(value)) return "0";
  const size = Math.abs(value);
  if (size >= 1000) return Math.round(value).toLocaleString("en");
  const decimals = Math.max(0, 2 - Math.floor(Math.log10(size)));
  return value.toFixed(Math.min(decimals, 6));
}

/** The value of an axis tick, without zeros at its end: 0, 0.2, 1.5, 12. */
export function tick(value: number): string {
  return String(Number(value.toPrecision(6)));
}

/** A share in [0, 1] as a percentage; what is there but tiny never reads as zero. */
export function percent(share: number): string {
  if (share <= 0) return "0 %";
  if (share < 0.0001) return "<0.01 %";
  const value = share * 100;
  return `${value.toFixed(value >= 99.95 ? 0 : value >= 10 ? 1 : 2)} %`;
}

/** A 95 % interval of a share: "12.1–13.4 %". */
export function interval(low: number, high: number): string {
  const decimals = high >= 0.1 ? 1 : 2;
  return `${(Math.max(0, low) * 100).toFixed(decimals)}–${(Math.min(1, high) * 100).toFixed(decimals)} %`;
}

/** Nanoseconds as time: "340 ms", "12.3 s", "4.20 min", "3.10 h". */
export function duration(ns: number): string {
  const seconds = ns / NANOSECONDS_PER_SECOND;
  if (seconds === 0) return "0 s";
  if (seconds < 1e-3) return `${digits(seconds * 1e6)} µs`;
  if (seconds < 1) return `${digits(seconds * 1e3)} ms`;
  if (seconds < 120) return `${digits(seconds)} s`;
  if (seconds < 7200) return `${digits(seconds / 60)} min`;
  if (seconds < 172_800) return `${digits(seconds / 3600)} h`;
  return `${digits(seconds / 86_400)} d`;
}

/** A value in the profile's unit; CPU nanoseconds become CPU time. */
export function amount(value: number, unit: string): string {
  if (unit === "nanoseconds") return duration(value);
  if (unit === "bytes") return bytes(value);
  return `${count(value)} ${unit}`.trim();
}

/** Bytes with binary prefixes. */
export function bytes(value: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let power = 0;
  while (value >= 1024 && power < units.length - 1) {
    value /= 1024;
    power += 1;
  }
  return `${digits(value)} ${units[power] ?? ""}`;
}

/** Things counted: "940", "12.3 k", "4.56 M". */
export function count(value: number): string {
  if (value < 10_000) return Math.round(value).toLocaleString("en");
  if (value < 1e6) return `${digits(value / 1e3)} k`;
  if (value < 1e9) return `${digits(value / 1e6)} M`;
  return `${digits(value / 1e9)} G`;
}

/** What a series shows: CPU nanoseconds per step become cores; anything else a rate per second. */
export function rates(values: number[], unit: string, stepMs: number): number[] {
  const perSecond = 1000 / stepMs;
  const scale = unit === "nanoseconds" ? perSecond / NANOSECONDS_PER_SECOND : perSecond;
  return values.map((value) => value * scale);
}

/** The word for what {@link rates} returns. */
export function rateUnit(unit: string): string {
  return unit === "nanoseconds" ? "cores" : `${unit}/s`;
}

/** A rate with its unit: "1.24 cores", "1 core". */
export function rate(value: number, unit: string): string {
  const name = rateUnit(unit);
  return `${digits(value)} ${name === "cores" && value === 1 ? "core" : name}`;
}

const pad = (value: number): string => String(value).padStart(2, "0");

/** Local clock time; the day is added when it is not today. */
export function moment(unixMs: number, nowMs: number): string {
  const at = new Date(unixMs);
  const clock = `${pad(at.getHours())}:${pad(at.getMinutes())}:${pad(at.getSeconds())}`;
  return at.toDateString() === new Date(nowMs).toDateString() ? clock : `${day(at)} ${clock}`;
}

function day(at: Date): string {
  return `${at.getFullYear()}-${pad(at.getMonth() + 1)}-${pad(at.getDate())}`;
}

/** A range of local times with the shared day written once: "11:00:00 – 11:05:00". */
export function span(fromMs: number, toMs: number, nowMs: number): string {
  const sameDay = new Date(fromMs).toDateString() === new Date(toMs).toDateString();
  const end = sameDay ? moment(toMs, toMs) : moment(toMs, nowMs);
  return `${moment(fromMs, nowMs)} – ${end}`;
}

/** The value of an `<input type="datetime-local">`, local time with seconds. */
export function inputTime(unixMs: number): string {
  const at = new Date(unixMs);
  return `${day(at)}T${pad(at.getHours())}:${pad(at.getMinutes())}:${pad(at.getSeconds())}`;
}
