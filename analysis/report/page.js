"use strict";

/* Filters, figures, the table of trials, downloads, theme and print. */
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const columns = Object.fromEntries(Object.entries(data.columns).map(([name, column]) => [name, Numbers.decode(column)]));
  const MEASURES = { test_accuracy: "test accuracy", clean_accuracy: "clean accuracy", corrupted_accuracy: "accuracy on corrupted images", robust_accuracy: "accuracy under attack", validation_accuracy: "validation accuracy", train_accuracy: "training accuracy" };
  const FACETS = { data: "Data set", hardness: "Difficulty", method: "Method", data_ratio: "Data ratio", seed: "Seed" };
  const FEW_PANELS = 12, PAGE = 50;
  const element = (id) => document.getElementById(id);

  /** An HTML element with properties and children; texts are never taken for markup. */
  function make(name, properties = {}, ...children) {
    const made = Object.assign(document.createElement(name), properties);
    made.append(...children);
    return made;
  }

  const tip = {
    show(lines, x, y) {
      const box = element("tip");
      box.replaceChildren(...lines.map((line, index) => make(index ? "div" : "strong", {}, line)));
      box.hidden = false;
      const { width, height } = box.getBoundingClientRect();
      box.style.left = `${Math.max(8, Math.min(x + 14, innerWidth - width - 8))}px`;
      box.style.top = `${y - height - 12 > 8 ? y - height - 12 : y + 16}px`;
    },
    hide() { element("tip").hidden = true; },
  };

  // Filters ---------------------------------------------------------------------------------------------------------

  const order = Object.keys(data.methods);
  const missing = new Set(data.missing.map((point) => JSON.stringify(point)));
  const choices = {}, chosen = {};
  for (const facet of Object.keys(FACETS)) {
    const found = [...new Set(columns[facet])];
    const ranked = facet === "method" ? order.filter((name) => found.includes(name)) : found.sort((a, b) => (a > b ? 1 : a < b ? -1 : 0));
    choices[facet] = ranked;
    chosen[facet] = new Set(ranked);
  }

  function buildFilters() {
    for (const [facet, title] of Object.entries(FACETS)) {
      if (choices[facet].length < 2) continue;
      const group = make("fieldset", { className: "facet" }, make("legend", {}, title));
      group.dataset.facet = facet;
      const all = make("button", { type: "button", className: "quiet" }, "all");
      const none = make("button", { type: "button", className: "quiet" }, "none");
      all.addEventListener("click", () => setAll(facet, true));
      none.addEventListener("click", () => setAll(facet, false));
      const chips = choices[facet].map((choice) => chip(facet, choice));
      group.append(make("span", { className: "chips" }, ...chips, make("span", { className: "pair" }, all, none)));
      element("filters").append(group);
    }
    element("filters").append(make("p", { id: "shown", className: "note" }));
    element("shown").setAttribute("aria-live", "polite");
  }

  function chip(facet, choice) {
    const box = make("input", { type: "checkbox", checked: true });
    box.dataset.choice = String(choice);
    box.addEventListener("change", () => {
      if (box.checked) chosen[facet].add(choice);
      else chosen[facet].delete(choice);
      draw();
    });
    const label = make("label", { className: "chip" }, box);
    if (facet === "method") label.append(Charts.swatch(data.methods[choice]));
    label.append(String(choice));
    return label;
  }

  function setAll(facet, on) {
    chosen[facet] = new Set(on ? choices[facet] : []);
    for (const box of document.querySelectorAll(`[data-facet="${facet}"] input`)) box.checked = on;
    draw();
  }

  function rowsChosen() {
    const rows = [];
    for (let row = 0; row < data.count; row++) {
      if (Object.keys(FACETS).every((facet) => chosen[facet].has(columns[facet][row]))) rows.push(row);
    }
    return rows;
  }

  // Figures ---------------------------------------------------------------------------------------------------------

  let rows = [], allPanels = false;

  function draw() {
    rows = rowsChosen();
    element("shown").textContent = `${rows.length.toLocaleString("en")} of ${data.count.toLocaleString("en")} trials`;
    drawFigures();
    page = 0;
    fillTable();
  }

  function drawFigures() {
    tip.hide();
    const measure = element("measure").value;
    const points = Numbers.points(columns, rows, measure);
    const isMissing = ({ setting, ratio, method, sparsity }) => missing.has(JSON.stringify([setting, ratio, method, sparsity]));
    const context = { methods: data.methods, t: data.t, colors: data.colors, label: MEASURES[measure], tip, isMissing };
    const settings = new Set(points.map((point) => point.setting)).size;
    const byComparison = grouped(points, (point) => point.comparison);
    const panels = [...byComparison.values()].sort(
      (a, b) => (a[0].setting > b[0].setting) - (a[0].setting < b[0].setting) || a[0].ratio - b[0].ratio
    );
    fill("accuracy", panels, (panel) => {
      const { setting, ratio } = panel[0];
      const part = ratio === 1 ? "all data" : `data ratio ${ratio}`;
      const name = settings > 1 ? `${setting}, ${part}` : part;
      return [name, seedsOf(panel.map((point) => point.values.size)), Charts.accuracy(panel, name, context)];
    });
    drawHeatmap(points, byComparison, settings, context);
    fillNumbers(points, byComparison);
  }

  function drawHeatmap(points, byComparison, settings, context) {
    const partners = new Map();
    for (const [comparison, group] of byComparison) {
      partners.set(comparison, group.find((point) => data.methods[point.method].dense));
    }
    const cells = points.filter((point) => !data.methods[point.method].dense).map((point) => ({
      ...point,
      gains: Numbers.gains(point, partners.get(point.comparison)).map((gain) => 100 * gain),
    }));
    const limit = Math.max(1e-9, ...cells.filter((cell) => cell.gains.length).map((cell) => Math.abs(Numbers.mean(cell.gains))));
    const panels = [...grouped(cells, (cell) => `${cell.setting}\n${String(order.indexOf(cell.method)).padStart(4)}`)]
      .sort(([a], [b]) => (a > b) - (a < b)).map(([, panel]) => panel).filter((panel) => panel.some((cell) => cell.gains.length));
    fill("heatmap", panels, (panel) => {
      const { setting, method } = panel[0];
      const name = settings > 1 ? `${method}: ${setting}` : method;
      return [name, seedsOf(panel.map((cell) => cell.gains.length)), Charts.heatmap(panel, name, limit, context)];
    }, "No method that is shown has a dense partner of the same seed.");
    element("scale").hidden = !panels.length;
    element("scale-bar").style.background = `linear-gradient(to right, ${data.colors.join(",")})`;
    element("scale-low").textContent = Numbers.signed(-limit);
    element("scale-high").textContent = Numbers.signed(limit);
  }

  function grouped(items, key) {
    const groups = new Map();
    for (const item of items) {
      const name = key(item);
      if (!groups.has(name)) groups.set(name, []);
      groups.get(name).push(item);
    }
    return groups;
  }

  function seedsOf(counts) {
    const there = counts.filter((count) => count);
    const usual = Numbers.usual(there);
    if (Math.max(...there) === 1) return "n = 1: no spread";
    return there.every((count) => count === usual) ? `n = ${usual}` : `n = ${usual}, others numbered`;
  }

  /** Put panels into a figure: a few at first, since a large sweep has hundreds. */
  function fill(id, panels, build, empty = "No trial with this accuracy is chosen.") {
    const shown = allPanels ? panels : panels.slice(0, FEW_PANELS);
    const made = shown.map((panel) => {
      const [title, seeds, drawn] = build(panel);
      const head = make("figcaption", {}, make("span", {}, title), make("span", { className: "note" }, seeds));
      return make("figure", { className: "panel" }, head, drawn);
    });
    element(id).replaceChildren(...(made.length ? made : [make("p", { className: "note" }, empty)]));
    if (shown.length < panels.length) {
      const more = make("button", { type: "button", className: "more" }, `Draw all ${panels.length} panels`);
      more.addEventListener("click", () => { allPanels = true; drawFigures(); });
      element(id).append(more);
    }
  }

  function fillNumbers(points, byComparison) {
    const body = element("numbers").tBodies[0];
    if (!element("numbers-box").open) { body.replaceChildren(); return; }
    const rank = (point) => [point.setting, point.ratio, order.indexOf(point.method), point.sparsity];
    const ranked = points.map((point) => [rank(point), point]).sort(([a], [b]) => {
      const first = a.findIndex((value, index) => value !== b[index]);
      return first < 0 ? 0 : a[first] > b[first] ? 1 : -1;
    });
    body.replaceChildren(...ranked.map(([, point]) => {
      const dense = byComparison.get(point.comparison).find((other) => data.methods[other.method].dense);
      const values = [...point.values.values()].map((value) => 100 * value);
      const gains = point === dense ? [] : Numbers.gains(point, dense).map((gain) => 100 * gain);
      const bounds = gains.length ? Numbers.interval(gains, data.t) : null;
      const spread = Numbers.deviation(values);
      const cells = [point.setting, point.ratio, point.method, point.sparsity, values.length, Numbers.mean(values).toFixed(2),
        spread === null ? "" : spread.toFixed(2), gains.length ? Numbers.signed(Numbers.mean(gains), 2) : "",
        bounds ? bounds.map((bound) => Numbers.signed(bound, 2)).join(" to ") : ""];
      return make("tr", {}, ...cells.map((cell) => make("td", {}, String(cell))));
    }));
  }

  // The table of trials ---------------------------------------------------------------------------------------------

  const percent = (value) => (100 * value).toFixed(2);
  const power = (value) => value.toExponential(2).replace("e+", "e");
  const TABLE = [
    ["trial", "Trial"], ["data", "Data"], ["hardness", "Difficulty"], ["data_ratio", "Ratio"], ["method", "Method"], ["sparsity", "Sparsity"],
    ["seed", "Seed"], ["test_accuracy", "Test %", percent], ["clean_accuracy", "Clean %", percent], ["robust_accuracy", "Robust %", percent],
    ["train_accuracy", "Train %", percent], ["train_flops", "Train FLOPs", power], ["nonzero_parameters", "Parameters", (value) => value.toLocaleString("en")],
    ["seconds", "Seconds", (value) => value.toFixed(1)],
  ].filter(([name]) => columns[name].some((value, row) => value !== null && (name !== "clean_accuracy" || value !== columns.test_accuracy[row])));
  let sorting = { name: "trial", down: false }, page = 0;

  function buildTable() {
    const head = element("trials-head");
    for (const [name, title] of TABLE) {
      const button = make("button", { type: "button", title: data.meanings[name] ?? "" }, title);
      button.addEventListener("click", () => {
        sorting = { name, down: sorting.name === name && !sorting.down };
        page = 0;
        fillTable();
      });
      const cell = make("th", { scope: "col", className: columns[name].some((value) => typeof value === "number") ? "number" : "" }, button);
      cell.dataset.column = name;
      head.append(cell);
    }
    element("previous").addEventListener("click", () => { page -= 1; fillTable(); });
    element("next").addEventListener("click", () => { page += 1; fillTable(); });
    element("search").addEventListener("input", () => { page = 0; fillTable(); });
  }

  function rowsOfTable() {
    const wanted = element("search").value.trim().toLowerCase();
    const said = (row) => TABLE.map(([name]) => columns[name][row]).join(" ").toLowerCase();
    const found = wanted ? rows.filter((row) => said(row).includes(wanted)) : [...rows];
    const { name, down } = sorting, values = columns[name];
    // Missing values are last in both directions.
    return found.sort((a, b) => {
      if (values[a] === null || values[b] === null) return (values[a] === null) - (values[b] === null);
      const sign = values[a] > values[b] ? 1 : values[a] < values[b] ? -1 : 0;
      return (down ? -sign : sign) || a - b;
    });
  }

  function fillTable(whole = false) {
    const found = rowsOfTable(), pages = Math.max(1, Math.ceil(found.length / PAGE));
    page = Math.max(0, Math.min(page, pages - 1));
    const shown = whole ? found : found.slice(page * PAGE, (page + 1) * PAGE);
    element("trials").tBodies[0].replaceChildren(...shown.map((row) => make("tr", {}, ...TABLE.map(([name, , format]) => {
      const value = columns[name][row];
      const text = value === null ? "–" : format ? format(value) : String(value);
      return make("td", { className: typeof value === "number" ? "number" : "" }, name === "trial" ? make("code", {}, text) : text);
    }))));
    for (const cell of element("trials-head").children) {
      const is = cell.dataset.column === sorting.name;
      cell.setAttribute("aria-sort", is ? (sorting.down ? "descending" : "ascending") : "none");
    }
    const first = found.length ? page * PAGE + 1 : 0;
    element("pages").textContent = whole
      ? `${found.length.toLocaleString("en")} trials`
      : `${first.toLocaleString("en")}–${(first ? first + shown.length - 1 : 0).toLocaleString("en")} of ${found.length.toLocaleString("en")}`;
    element("previous").disabled = page === 0;
    element("next").disabled = page >= pages - 1;
  }

  // Downloads -------------------------------------------------------------------------------------------------------

  // A spreadsheet evaluates text that starts like a formula (see analysis/spreadsheet.py).
  function quoted(value) {
    const inert = typeof value === "string" && /^[=+\-@\t\r\n]/.test(value) && Number.isNaN(Number(value));
    const text = value === null ? "" : inert ? `'${value}` : String(value);
    return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  }

  function download(name, wanted) {
    const names = data.table_columns;
    const lines = [names.join(","), ...wanted.map((row) => names.map((column) => quoted(columns[column][row])).join(","))];
    const link = make("a", { href: URL.createObjectURL(new Blob([lines.join("\n") + "\n"], { type: "text/csv" })), download: name });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  }

  // Theme and print -------------------------------------------------------------------------------------------------

  function buildTheme() {
    const button = element("theme");
    const system = matchMedia("(prefers-color-scheme: dark)");
    button.addEventListener("click", () => {
      const root = document.documentElement;
      const dark = root.dataset.theme ? root.dataset.theme === "dark" : system.matches;
      root.dataset.theme = dark ? "light" : "dark";
    });
  }

  let opened = [], before = false;
  addEventListener("beforeprint", () => {
    before = allPanels;
    allPanels = true;
    opened = [...document.querySelectorAll("details:not([open])")];
    for (const box of opened) box.open = true;
    drawFigures();
    fillTable(true);
  });
  addEventListener("afterprint", () => {
    allPanels = before;
    for (const box of opened) box.open = false;
    drawFigures();
    fillTable();
  });

  const known = Object.keys(MEASURES).filter((name) => columns[name].some((value) => value !== null));
  element("measure").append(...(known.length ? known : ["test_accuracy"]).map((name) => make("option", { value: name }, MEASURES[name])));
  element("measure").addEventListener("change", drawFigures);
  element("numbers-box").addEventListener("toggle", drawFigures);
  element("download-all").addEventListener("click", () => download("trials.csv", [...Array(data.count).keys()]));
  element("download-chosen").addEventListener("click", () => download("trials-chosen.csv", rowsOfTable()));
  // The page contains each picture once. Its download link uses the picture shown.
  for (const shown of document.querySelectorAll("figure.paper")) {
    shown.querySelector('a[download$=".svg"]').href = shown.querySelector("img").src;
  }
  buildFilters();
  buildTable();
  buildTheme();
  draw();
  document.documentElement.dataset.ready = "true";
})();
