// How numbers, times and sizes are written. Pure.

const whole = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat("en-US", { notation: "compact", maximumFractionDigits: 1 });

export const count = (n) => (n == null ? "–" : whole.format(n));

/** `1 room`, `3 rooms` */
export const counted = (n, thing) => `${count(n)} ${thing}${n === 1 ? "" : "s"}`;

export const rate = (n) =>
  n == null
    ? "–"
    : n >= 10_000
      ? short.format(n)
      : n >= 10
        ? whole.format(n)
        : String(Math.round(n * 10) / 10);

export function bytes(n) {
  if (n == null) return "–";
  for (const unit of ["B", "KiB", "MiB", "GiB"]) {
    if (n < 1024 || unit === "GiB")
      return `${n < 10 && unit !== "B" ? n.toFixed(1) : Math.round(n)} ${unit}`;
    n /= 1024;
  }
}

export function seconds(s) {
  if (s == null) return "–";
  if (s < 0.001) return `${Math.round(s * 1e6)} µs`;
  if (s < 1) return `${(s * 1e3).toFixed(s < 0.01 ? 1 : 0)} ms`;
  return `${s.toFixed(1)} s`;
}

export const micros = (us) => seconds(us == null ? null : us / 1e6);

/** How long something takes or took, in the two largest units. */
export function span(s) {
  const units = [
    ["d", 86400],
    ["h", 3600],
    ["min", 60],
    ["s", 1],
  ];
  const parts = [];
  let rest = Math.max(0, Math.floor(s));
  for (const [name, size] of units) {
    if (rest >= size && parts.length < 2) parts.push(`${Math.floor(rest / size)} ${name}`);
    rest %= size;
  }
  return parts.join(" ") || "0 s";
}

export function ago(ms) {
  if (!ms) return "–";
  const s = (Date.now() - ms) / 1000;
  return s < 2 ? "now" : `${span(s).split(" ").slice(0, 2).join(" ")} ago`;
}

const two = (n) => String(n).padStart(2, "0");

/** The time of day, with milliseconds. */
export function clock(ms) {
  const at = new Date(ms);
  return `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}.${String(at.getMilliseconds()).padStart(3, "0")}`;
}

export function date(ms) {
  const at = new Date(ms);
  return `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())} ${two(at.getHours())}:${two(at.getMinutes())}`;
}

/** Cuts a text for a line. */
export const brief = (text, max = 160) => (text.length > max ? `${text.slice(0, max)}…` : text);
