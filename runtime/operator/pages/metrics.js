// Figures between two looks at a node: rates of its counters, and quantiles of its histograms. Pure.

/** The lines of Prometheus' text format that we read: `{name: value}`, and the buckets of histograms. */
export function parse(text) {
  const values = {};
  const buckets = {};
  for (const line of text.split("\n")) {
    const [, name, le, value] = /^(\w+)(?:\{le="([^"]+)"\})? (\S+)$/.exec(line) ?? [];
    if (name === undefined) continue;
    if (le === undefined) values[name] = Number(value);
    else
      (buckets[name.replace(/_bucket$/, "")] ??= []).push([
        le === "+Inf" ? Infinity : Number(le),
        Number(value),
      ]);
  }
  return { values, buckets };
}

/** The quantile of what was counted between two looks, within its bucket in proportion; null if nothing was. */
export function quantile(q, before, now) {
  if (!now) return null;
  const grown = now.map(([le, n], at) => [le, n - (before?.[at]?.[1] ?? 0)]);
  const all = grown.at(-1)[1];
  if (all <= 0) return null;
  let [low, below] = [0, 0];
  for (const [le, n] of grown) {
    if (n >= q * all) {
      if (le === Infinity) return low;
      return n === below ? le : low + ((le - low) * (q * all - below)) / (n - below);
    }
    [low, below] = [le, n];
  }
  return low;
}
