"use strict";

/* From columns to the numbers that are drawn. Student's t comes with the data: no statistics are made up here. */
const Numbers = (() => {
  /** The values of a column: as they stand, or looked up by code. */
  function decode(column) {
    return column.values ?? column.codes.map((code) => column.levels[code]);
  }

  const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;

  /** Sample standard deviation (n - 1); null for a single value. */
  function deviation(values) {
    if (values.length < 2) return null;
    const middle = mean(values);
    return Math.sqrt(values.reduce((sum, value) => sum + (value - middle) ** 2, 0) / (values.length - 1));
  }

  /** 95 % interval of the mean by Student's t; null for a single value. `quantiles`: t at .975 by number of values. */
  function interval(values, quantiles) {
    const spread = deviation(values);
    if (spread === null) return null;
    const half = (quantiles[values.length] * spread) / Math.sqrt(values.length);
    return [mean(values) - half, mean(values) + half];
  }

  /** Points of a figure: of the trials in `rows`, one for each arm, its `values` by seed. */
  function points(columns, rows, measure) {
    const arms = new Map();
    for (const row of rows) {
      const value = columns[measure][row];
      if (value === null || !columns.counted[row]) continue;
      const arm = columns.arm[row];
      if (!arms.has(arm)) {
        arms.set(arm, {
          comparison: columns.comparison[row],
          setting: columns.setting[row],
          ratio: columns.data_ratio[row],
          method: columns.method[row],
          sparsity: columns.sparsity[row],
          values: new Map(),
        });
      }
      arms.get(arm).values.set(columns.seed[row], value);
    }
    return [...arms.values()].sort((a, b) => a.sparsity - b.sparsity);
  }

  /** Differences of a point to `dense`, its partner, seed by seed. */
  function gains(point, dense) {
    if (!dense) return [];
    return [...point.values].filter(([seed]) => dense.values.has(seed)).map(([seed, value]) => value - dense.values.get(seed));
  }

  /** The number of seeds that most points have, of two that are as frequent the larger; 0 is a missing point. */
  function usual(counts) {
    const there = counts.filter((count) => count > 0);
    const often = (count) => there.filter((other) => other === count).length;
    return Math.max(0, ...there.filter((count) => there.every((other) => often(other) <= often(count))));
  }

  /** Round numbers between low and high, about `count` of them. */
  function ticks(low, high, count) {
    const rough = (high - low) / count;
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= rough);
    const first = Math.ceil(low / step - 1e-9);
    const found = [];
    for (let place = first; place * step <= high + 1e-9 * step; place++) found.push(Number((place * step).toPrecision(12)));
    return found;
  }

  /** As `+1.2`, with a true minus sign; what rounds to 0 has no sign. */
  function signed(value, digits = 1) {
    const text = Math.abs(value).toFixed(digits);
    if (Number(text) === 0) return text;
    return (value > 0 ? "+" : "−") + text;
  }

  return { decode, mean, deviation, interval, points, gains, usual, ticks, signed };
})();
