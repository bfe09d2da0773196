"use strict";

/* The two figures that the page draws itself, as SVG: accuracy over sparsity, and the difference to dense as a map. */
const Charts = (() => {
  const WIDTH = 380, HEIGHT = 270;
  const FRAME = { left: 46, right: 10, top: 8, bottom: 38 };
  const DODGE = 2.6, WIDEST = 26; // pixels between two methods, and between the outermost

  /** An SVG element with attributes and children. */
  function node(name, attributes = {}, ...children) {
    const made = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.append(...children);
    return made;
  }

  const scale = (low, high, from, to) => (value) => from + ((value - low) / (high - low || 1)) * (to - from);
  const colored = (looks) => `--c:${looks.dense ? "var(--ink)" : looks.color}`;

  function picture(label, height = HEIGHT) {
    return node("svg", { viewBox: `0 0 ${WIDTH} ${height}`, role: "img", tabindex: 0, "aria-label": label });
  }

  /** A marker of `looks` at x, y. */
  function marker(looks, x, y, size = looks.size * 1.55) {
    const kind = looks.hollow ? "mark hollow" : looks.filled ? "mark" : "mark open";
    return node("path", { d: looks.marker, class: kind, transform: `translate(${x} ${y}) scale(${size})` });
  }

  /** A sample of a method's line, for its filter. */
  function swatch(looks) {
    const drawn = node("svg", { viewBox: "0 0 34 14", class: "swatch", style: colored(looks), "aria-hidden": "true" });
    drawn.append(node("line", { x1: 1, x2: 33, y1: 7, y2: 7, class: "line", "stroke-dasharray": looks.dash }));
    if (looks.marker) drawn.append(marker(looks, 17, 7));
    return drawn;
  }

  /** The number of seeds of a point that has another one than most, at the left of x. */
  const count = (seeds, x, y, color) => node("text", { x, y: y - 6, class: "count end", style: `fill:${color}` }, String(seeds));

  /** A cross at the foot: a point that is missing. */
  const cross = (x) => node("path", { d: "M-3,-3L3,3M-3,3L3,-3", class: "lacking", transform: `translate(${x} ${HEIGHT - FRAME.bottom - 6})` });

  function axes(drawn, xs, x, ys, y, xlabel, ylabel) {
    for (const value of ys) {
      drawn.append(node("line", { x1: FRAME.left, x2: WIDTH - FRAME.right, y1: y(value), y2: y(value), class: "grid" }));
      drawn.append(node("text", { x: FRAME.left - 6, y: y(value), class: "tick end" }, String(value)));
    }
    for (const value of xs) {
      drawn.append(node("text", { x: x(value), y: HEIGHT - FRAME.bottom + 14, class: "tick middle" }, String(value)));
    }
    const base = HEIGHT - FRAME.bottom;
    drawn.append(node("line", { x1: FRAME.left, x2: WIDTH - FRAME.right, y1: base, y2: base, class: "axis" }));
    const middle = (FRAME.left + WIDTH - FRAME.right) / 2;
    drawn.append(node("text", { x: middle, y: HEIGHT - 6, class: "label middle" }, xlabel));
    const up = `translate(11 ${(FRAME.top + base) / 2}) rotate(-90)`;
    drawn.append(node("text", { transform: up, class: "label middle" }, ylabel));
  }

  /** What a point says when it is pointed at. */
  function describe(point, dense, context) {
    const values = [...point.values.values()].map((value) => 100 * value);
    const spread = Numbers.deviation(values);
    const said = [
      point.sparsity === 0 && context.methods[point.method].dense ? point.method : `${point.method}, sparsity ${point.sparsity}`,
      `${Numbers.mean(values).toFixed(1)} %${spread === null ? "" : ` ± ${spread.toFixed(1)} (standard deviation)`}`,
      `n = ${values.length}: ${[...point.values].sort((a, b) => a[0] - b[0]).map(([seed, value]) => `seed ${seed} ${(100 * value).toFixed(1)}`).join(", ")}`,
    ];
    const gains = Numbers.gains(point, dense).map((gain) => 100 * gain);
    if (gains.length && point !== dense) {
      const bounds = Numbers.interval(gains, context.t);
      const range = bounds ? ` [${bounds.map((bound) => Numbers.signed(bound)).join(", ")}]` : " (one pair: no interval)";
      said.push(`${Numbers.signed(Numbers.mean(gains))} points to dense${range}`);
    }
    return said;
  }

  /** Accuracy over sparsity of one comparison. `context`: methods, t, label of the measure, tip. */
  function accuracy(points, title, context) {
    const dense = points.find((point) => context.methods[point.method].dense);
    const sparse = points.filter((point) => point !== dense);
    const order = Object.keys(context.methods).filter((name) => sparse.some((point) => point.method === name));
    const grid = [...new Set(sparse.map((point) => point.sparsity))].sort((a, b) => a - b);
    const ends = points.flatMap((point) => {
      const values = [...point.values.values()].map((value) => 100 * value);
      const spread = Numbers.deviation(values) ?? 0;
      return [Numbers.mean(values) - spread, Numbers.mean(values) + spread];
    });
    const [low, high] = [Math.min(...ends), Math.max(...ends)];
    const margin = 0.06 * (high - low) || 1;
    const room = Math.min(WIDEST, DODGE * Math.max(order.length - 1, 0)) / 2 + 14;
    const x = grid.length > 1
      ? scale(grid[0], grid[grid.length - 1], FRAME.left + room, WIDTH - FRAME.right - room)
      : () => (FRAME.left + WIDTH - FRAME.right) / 2;
    const y = scale(low - margin, high + margin, HEIGHT - FRAME.bottom, FRAME.top);
    const drawn = picture(`${title}. ${context.label} over sparsity of ${order.length} methods${dense ? " and dense" : ""}. Use the arrow keys to go through the points.`);
    axes(drawn, grid, x, Numbers.ticks(low - margin, high + margin, 8), y, "sparsity", `${context.label} (%)`);
    const places = [];
    if (dense) {
      const values = [...dense.values.values()].map((value) => 100 * value);
      const level = Numbers.mean(values), spread = Numbers.deviation(values);
      const looks = context.methods[dense.method];
      const group = node("g", { class: "series", style: colored(looks) });
      const [left, right] = [FRAME.left, WIDTH - FRAME.right];
      if (spread !== null) {
        group.append(node("rect", { x: left, width: right - left, y: y(level + spread), height: y(level - spread) - y(level + spread), class: "band" }));
      }
      group.append(node("line", { x1: left, x2: right, y1: y(level), y2: y(level), class: "line", "stroke-dasharray": looks.dash }));
      drawn.append(group);
      places.push({ x: right - 12, y: y(level), point: dense, group });
    }
    const usual = Numbers.usual(points.map((point) => point.values.size));
    if (dense && dense.values.size !== usual) {
      const level = Numbers.mean([...dense.values.values()].map((value) => 100 * value));
      drawn.append(count(dense.values.size, WIDTH - FRAME.right, y(level), "var(--ink)"));
    }
    order.forEach((method, index) => {
      const looks = context.methods[method];
      const shift = order.length > 1 ? Math.min(DODGE, WIDEST / (order.length - 1)) * (index - (order.length - 1) / 2) : 0;
      const group = node("g", { class: "series", style: colored(looks) });
      const own = new Map(sparse.filter((point) => point.method === method).map((point) => [point.sparsity, point]));
      const marks = [];
      let path = "", pen = "M";
      for (const sparsity of grid) {
        const point = own.get(sparsity);
        if (!point) { // no line across a missing point
          if (!context.isMissing({ ...points[0], method, sparsity })) continue; // not planned
          pen = "M";
          marks.push(cross(x(sparsity) + shift));
          continue;
        }
        const values = [...point.values.values()].map((value) => 100 * value);
        const place = { x: x(sparsity) + shift, y: y(Numbers.mean(values)), point, group };
        const spread = Numbers.deviation(values);
        path += `${pen}${place.x},${place.y}`;
        pen = "L";
        if (spread !== null) {
          const bar = [y(Numbers.mean(values) - spread), y(Numbers.mean(values) + spread)];
          marks.push(node("line", { x1: place.x, x2: place.x, y1: bar[0], y2: bar[1], class: "bar" }));
        }
        marks.push(marker(looks, place.x, place.y));
        if (point.values.size !== usual) marks.push(count(point.values.size, place.x + 10, place.y, "var(--s)"));
        places.push(place);
      }
      group.append(node("path", { d: path, class: "line", "stroke-dasharray": looks.dash }), ...marks);
      drawn.append(group);
    });
    follow(drawn, places, (place) => describe(place.point, dense, context), context.tip);
    return drawn;
  }

  /** Difference to dense of one method over sparsity and data ratio. `limit`: of the scale, in points. */
  function heatmap(cells, title, limit, context) {
    const sparsities = [...new Set(cells.map((cell) => cell.sparsity))].sort((a, b) => a - b);
    const ratios = [...new Set(cells.map((cell) => cell.ratio))].sort((a, b) => b - a);
    const height = FRAME.top + FRAME.bottom + 34 * ratios.length;
    const drawn = picture(`${title}: difference to dense in points over sparsity and data ratio. Use the arrow keys to go through the cells.`, height);
    const wide = (WIDTH - FRAME.left - FRAME.right) / sparsities.length, high = 34;
    const left = (column) => FRAME.left + column * wide, top = (row) => FRAME.top + row * high;
    const places = [];
    const usual = Numbers.usual(cells.map((cell) => cell.gains.length));
    ratios.forEach((ratio, row) => {
      drawn.append(node("text", { x: FRAME.left - 6, y: top(row) + high / 2, class: "tick end" }, String(ratio)));
      sparsities.forEach((sparsity, column) => {
        const cell = cells.find((found) => found.ratio === ratio && found.sparsity === sparsity);
        const box = { x: left(column) + 1, y: top(row) + 1, width: wide - 2, height: high - 2, rx: 2 };
        if (!cell && !context.isMissing({ ...cells[0], ratio, sparsity })) return; // not planned
        if (!cell || !cell.gains.length) {
          drawn.append(node("rect", { ...box, class: "missing" }));
          return;
        }
        const value = Numbers.mean(cell.gains);
        const color = context.colors[Math.round(((value / limit + 1) / 2) * (context.colors.length - 1))];
        const bounds = Numbers.interval(cell.gains, context.t);
        const differs = bounds && bounds[1] - bounds[0] > 1e-9; // an interval of width 0 is no evidence
        const sure = differs && (bounds[0] > 0 || bounds[1] < 0);
        const group = node("g", { class: "series" }, node("rect", { ...box, fill: color }));
        if (wide > 30) {
          const ink = { x: left(column) + wide / 2, y: top(row) + high / 2, style: `fill:${readable(color)}` };
          group.append(node("text", { ...ink, class: sure ? "cell sure" : "cell" }, Numbers.signed(value)));
          if (cell.gains.length !== usual) {
            group.append(node("text", { ...ink, x: left(column) + wide - 4, y: top(row) + high - 7, class: "count end" }, String(cell.gains.length)));
          }
        }
        drawn.append(group);
        places.push({ x: left(column) + wide / 2, y: top(row) + high / 2, cell, bounds, value, group });
      });
    });
    sparsities.forEach((sparsity, column) => {
      if (wide < 24 && column % 2) return;
      const place = { x: left(column) + wide / 2, y: height - FRAME.bottom + 14, class: "tick middle" };
      drawn.append(node("text", place, String(sparsity)));
    });
    drawn.append(node("text", { x: FRAME.left + (WIDTH - FRAME.left) / 2, y: height - 6, class: "label middle" }, "sparsity"));
    const up = `translate(11 ${(height - FRAME.bottom) / 2}) rotate(-90)`;
    drawn.append(node("text", { transform: up, class: "label middle" }, "data ratio"));
    follow(drawn, places, ({ cell, bounds, value }) => [
      `${cell.method}, sparsity ${cell.sparsity}, data ratio ${cell.ratio}`,
      `${Numbers.signed(value)} points to dense${bounds ? ` [${bounds.map((bound) => Numbers.signed(bound)).join(", ")}]` : ""}`,
      `n = ${cell.gains.length}${bounds ? ", 95 % paired interval" : ": no interval"}`,
    ], context.tip);
    return drawn;
  }

  function readable(color) {
    const [red, green, blue] = [1, 3, 5].map((start) => parseInt(color.slice(start, start + 2), 16));
    return 0.299 * red + 0.587 * green + 0.114 * blue > 127 ? "#000" : "#fff";
  }

  /** Show what the nearest of `places` says, for mouse, touch and arrow keys. */
  function follow(drawn, places, say, tip) {
    let current = -1;
    function show(index) {
      if (index === current || !places.length) return;
      drawn.querySelector(".series.near")?.classList.remove("near");
      current = index;
      drawn.classList.add("hovered");
      const place = places[index];
      place.group.classList.add("near");
      const box = drawn.getBoundingClientRect();
      const ratio = box.width / WIDTH;
      tip.show(say(place), box.left + place.x * ratio, box.top + place.y * ratio);
    }
    function leave() {
      drawn.classList.remove("hovered");
      drawn.querySelector(".series.near")?.classList.remove("near");
      current = -1;
      tip.hide();
    }
    drawn.addEventListener("pointermove", (event) => {
      const box = drawn.getBoundingClientRect();
      const ratio = WIDTH / box.width;
      const [x, y] = [(event.clientX - box.left) * ratio, (event.clientY - box.top) * ratio];
      let nearest = -1, least = Infinity;
      places.forEach((place, index) => {
        const distance = (place.x - x) ** 2 + (place.y - y) ** 2;
        if (distance < least) [nearest, least] = [index, distance];
      });
      if (nearest >= 0) show(nearest);
    });
    drawn.addEventListener("pointerleave", leave);
    drawn.addEventListener("blur", leave);
    drawn.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      if (event.key === "Escape") leave();
      if (!step || !places.length) return;
      event.preventDefault();
      show((current + step + places.length) % places.length);
    });
  }

  return { accuracy, heatmap, swatch };
})();
