/** Prometheus text → sums, as far as these tests need it. */

/** Every sample of an edge: name → sum over its labels. */
export async function scrape(edge) {
  const text = await (await fetch(new URL("/metrics", edge.admin_url))).text();
  const sums = new Map();
  for (const line of text.split("\n")) {
    const sample = /^([a-zA-Z_:][\w:]*)(?:\{[^}]*\})?\s+(\S+)/.exec(line);
    if (sample) sums.set(sample[1], (sums.get(sample[1]) ?? 0) + Number(sample[2]));
  }
  return sums;
}

/** By how much the counters with `part` in their name grew. */
export function growth(before, after, part) {
  const grown = {};
  for (const [name, value] of after) {
    if (name.includes(part) && name.endsWith("_total") && value > (before.get(name) ?? 0)) grown[name] = value - (before.get(name) ?? 0);
  }
  return grown;
}
