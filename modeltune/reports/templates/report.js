// Sorts tables and draws charts from the data beside each run, when they come into view.
(() => {
  "use strict";
  const root = document.documentElement;
  root.classList.add("js");

  const make = (name, text, parent) => {
    const made = document.createElement(name);
    if (text) made.textContent = text;
    if (parent) parent.append(made);
    return made;
  };

  // Tables: a button in each header; numbers by all their digits, what has none last.

  const keyOf = (row, column) => {
    const cell = row.cells[column];
    const text = cell.dataset.key ?? cell.textContent.trim();
    const number = text === "inf" ? Infinity : text === "-inf" ? -Infinity : Number(text);
    return text === "" || text === "-" ? null : Number.isNaN(number) ? text : number;
  };
  const compare = (a, b) => {
    if (typeof a === "number" && typeof b === "number") return a - b;
    if (typeof a !== typeof b) return typeof a === "number" ? -1 : 1;
    return a.localeCompare(b, undefined, { numeric: true });
  };
  const sort = (table, column) => {
    const heads = [...table.tHead.rows[0].cells];
    const up = heads[column].getAttribute("aria-sort") !== "ascending";
    heads.forEach((head, place) =>
      head.setAttribute("aria-sort", place === column ? (up ? "ascending" : "descending") : "none"));
    const body = table.tBodies[0];
    const keyed = [...body.rows].map((row) => [keyOf(row, column), row]);
    keyed.sort(([a], [b]) => a === null || b === null ? (a === null) - (b === null) : up ? compare(a, b) : compare(b, a));
    body.append(...keyed.map(([, row]) => row));
  };
  for (const table of document.querySelectorAll("table.sortable")) {
    [...table.tHead.rows[0].cells].forEach((head, column) => {
      if (head.classList.contains("plain")) return;
      const button = make("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      head.setAttribute("aria-sort", "none");
      button.addEventListener("click", () => sort(table, column));
    });
  }

  // Where rows look like cards on a phone they are still rows to a screen reader.

  const roles = { TABLE: "table", THEAD: "rowgroup", TBODY: "rowgroup", TR: "row", TD: "cell" };
  for (const table of document.querySelectorAll("table.cards")) {
    for (const part of [table, ...table.querySelectorAll("thead, tbody, tr, th, td")]) {
      part.setAttribute("role", roles[part.tagName] ?? (part.scope === "col" ? "columnheader" : "rowheader"));
    }
  }

  // Within a run: links to its sections.

  for (const run of document.querySelectorAll("details.run")) {
    const nav = make("nav");
    nav.setAttribute("aria-label", "Sections of this run");
    [...run.querySelectorAll(":scope > section")].forEach((section, place) => {
      section.id = `${run.id}-${place}`;
      make("a", section.querySelector("h3").textContent, nav).href = `#${section.id}`;
    });
    run.querySelector(".about").after(nav);
  }

  // Counter-examples that are images: before and after.

  for (const figure of document.querySelectorAll("figure[data-pair]")) {
    JSON.parse(figure.dataset.pair).forEach((rows, place) => {
      const canvas = make("canvas", "", figure);
      canvas.width = rows[0].length;
      canvas.height = rows.length;
      canvas.setAttribute("role", "img");
      canvas.setAttribute("aria-label", place ? "after" : "before");
      const shades = rows.flat().flatMap((shade) => [shade, shade, shade, 255]);
      canvas.getContext("2d").putImageData(new ImageData(new Uint8ClampedArray(shades), canvas.width), 0, 0);
      if (!place) make("span", "\u2192", figure).setAttribute("aria-hidden", "true");
    });
    if (figure.childElementCount === 2) figure.lastElementChild.remove();
  }

  // Links to a folded run unfold it.

  const unfold = () => {
    const found = /^#run-\d+$/.test(location.hash) && document.querySelector(location.hash);
    if (found) found.open = true;
  };
  addEventListener("hashchange", unfold);
  unfold();

  // Charts.

  const islands = new Map();
  const dataOf = (figure) => {
    const id = figure.dataset.of;
    if (!islands.has(id)) islands.set(id, JSON.parse(document.getElementById(id).textContent));
    return islands.get(id);
  };
  const colour = (name) => getComputedStyle(root).getPropertyValue(`--${name}`).trim();
  const shown = (value) =>
    value === null || value === undefined ? "-" : Number(value.toPrecision(4)).toString();
  const isTrain = (name) => !name.startsWith("val_");
  const points = (size, fill) => ({ show: true, size, width: 1, fill, stroke: fill });
  const dots = (label, name, size = 7) => ({
    label, stroke: colour(name), width: 0, paths: () => null, points: points(size, colour(name)), mark: "dot", hue: name,
  });
  // Values that no line would show: undefined is a place of other curves, null a gap in this one.
  const alone = (u, series) => {
    const found = [];
    let stretch = [];
    const end = () => { if (stretch.length === 1) found.push(stretch[0]); stretch = []; };
    u.data[series].forEach((value, i) => { if (value === null) end(); else if (value !== undefined) stretch.push(i); });
    end();
    return found;
  };
  const line = (label, name, more = {}) => ({
    label, stroke: colour(name), width: 2, points: { ...points(4, colour(name)), show: false, filter: alone }, mark: "line", hue: name, ...more,
  });

  const horizontal = (value, name, dash, text, place = 0) => (u) => {
    const y = u.valToPos(value, "y", true);
    const { left, top, width, height } = u.bbox;
    if (!(y >= top - 1 && y <= top + height + 1)) return;
    const { ctx } = u;
    ctx.save();
    ctx.strokeStyle = ctx.fillStyle = colour(name);
    ctx.lineWidth = devicePixelRatio * 1.5;
    ctx.setLineDash(dash.map((each) => each * devicePixelRatio));
    ctx.beginPath();
    ctx.moveTo(left, y);
    ctx.lineTo(left + width, y);
    ctx.stroke();
    ctx.font = `${11 * devicePixelRatio}px system-ui, sans-serif`;
    // Texts of several lines stand side by side, the baseline's at the other end.
    ctx.textAlign = place < 0 ? "right" : "left";
    ctx.textBaseline = y - top < 18 * devicePixelRatio ? "top" : "bottom";
    const at = place < 0 ? left + width - 5 * devicePixelRatio : left + (5 + 100 * place) * devicePixelRatio;
    ctx.fillText(text, at, y + (ctx.textBaseline === "top" ? 4 : -3) * devicePixelRatio);
    ctx.restore();
  };
  const diagonal = (u) => {
    const low = Math.max(u.scales.x.min, u.scales.y.min);
    const high = Math.min(u.scales.x.max, u.scales.y.max);
    if (low >= high) return;
    const { ctx } = u;
    ctx.save();
    ctx.strokeStyle = colour("muted");
    ctx.lineWidth = devicePixelRatio;
    ctx.setLineDash([5 * devicePixelRatio, 4 * devicePixelRatio]);
    ctx.beginPath();
    ctx.moveTo(u.valToPos(low, "x", true), u.valToPos(low, "y", true));
    ctx.lineTo(u.valToPos(high, "x", true), u.valToPos(high, "y", true));
    ctx.stroke();
    ctx.restore();
  };
  // A line behind the series, such as what the baseline answered; uPlot's own series share their x.
  const trace = ({ x, y }, name, width, dash, isStepped) => (u) => {
    const { ctx } = u;
    ctx.save();
    ctx.strokeStyle = colour(name);
    ctx.lineWidth = devicePixelRatio * width;
    ctx.setLineDash(dash.map((each) => each * devicePixelRatio));
    ctx.beginPath();
    x.forEach((value, i) => {
      const px = u.valToPos(value, "x", true), py = u.valToPos(y[i], "y", true);
      if (isStepped && i) ctx.lineTo(u.valToPos(x[i - 1], "x", true), py);
      ctx[i ? "lineTo" : "moveTo"](px, py);
    });
    ctx.stroke();
    ctx.restore();
  };
  const behind = (baseline, isStepped = false) => (baseline ? [trace(baseline, "s3", 1.5, [6, 4], isStepped)] : []);
  const others = (classes, chosen, curve, isStepped = false) =>
    classes.filter((_, i) => i !== chosen).map((each) => trace(each[curve], "faint", 0.75, [], isStepped));
  const besides = (name, baseline, classes = []) => [
    ["line", "s1", name], ...(baseline ? [["dashed", "s3", "baseline"]] : []), ...(classes.length > 1 ? [["line", "faint", "the others"]] : []),
  ];
  // Where a run that chose a threshold is on its curve.
  const diamond = (point, x, y) => (u) => {
    if (!point || point[y] === null) return;
    const { ctx } = u;
    const px = u.valToPos(point[x], "x", true), py = u.valToPos(point[y], "y", true), size = 6 * devicePixelRatio;
    ctx.save();
    ctx.fillStyle = colour("card");
    ctx.strokeStyle = colour("s2");
    ctx.lineWidth = 2 * devicePixelRatio;
    ctx.beginPath();
    ctx.moveTo(px, py - size);
    ctx.lineTo(px + size, py);
    ctx.lineTo(px, py + size);
    ctx.lineTo(px - size, py);
    ctx.closePath();
    ctx.fill();
    ctx.stroke();
    ctx.restore();
  };
  const pointed = (point) => (point ? [["diamond", "s2", `operating point, threshold ${shown(point.threshold)}`]] : []);
  const unit = () => [-0.03, 1.03];
  const threshold = (at) => (at === null ? "above every score" : `score ${shown(at)}`);
  // A cross at the lower edge for what has no value, such as a failed trial.
  const crosses = (xs, ys) => (u) => {
    const { ctx } = u;
    const size = 3.5 * devicePixelRatio;
    ctx.save();
    ctx.strokeStyle = colour("fail");
    ctx.lineWidth = 2 * devicePixelRatio;
    xs.forEach((x, i) => {
      if (ys[i] !== null || x === null) return;
      const px = u.valToPos(x, "x", true);
      const py = u.bbox.top + u.bbox.height - 2 * size;
      ctx.beginPath();
      ctx.moveTo(px - size, py - size);
      ctx.lineTo(px + size, py + size);
      ctx.moveTo(px + size, py - size);
      ctx.lineTo(px - size, py + size);
      ctx.stroke();
    });
    ctx.restore();
  };
  // Values beyond the data still belong into view: bounds, baselines.
  const including = (values) => (u, low, high) => {
    const known = [low, high, ...values].filter((value) => Number.isFinite(value));
    if (!known.length) return [0, 1];
    const from = Math.min(...known), to = Math.max(...known);
    const pad = (to - from) * 0.08 || Math.abs(to) * 0.05 || 0.5;
    return [from - pad, to + pad];
  };
  // Room at both ends: uPlot leaves out points of several at the last x.
  const wider = (u, low, high) => {
    if (low === null || high === null) return [0, 1];
    // Of values that are all the same uPlot has made a range of its own, with them at one end.
    const xs = u.data[0];
    if (xs[0] === xs[xs.length - 1]) low = high = xs[0];
    const pad = (high - low) * 0.04 || Math.abs(low) * 0.05 || 0.5;
    return [low - pad, high + pad];
  };
  const widerLog = (u, low, high) => {
    if (low === null || high === null) return [1, 10];
    const pad = Math.max((high / low) ** 0.04, 1.1);
    return [low / pad, high * pad];
  };
  // uPlot's own splits never end on a range that does not begin at a round number.
  const logSplits = (u, axis, low, high) => {
    const splits = [], first = Math.floor(Math.log10(low));
    const every = Math.ceil((Math.log10(high) - first) / 8);
    for (let power = first; power <= Math.log10(high); power += every) {
      for (let digit = 1; digit < (every > 1 ? 2 : 10); digit += 1) {
        const split = Number(`${digit}e${power}`);
        if (split >= low && split <= high) splits.push(split);
      }
    }
    return splits.length > 1 ? splits : [low, Math.sqrt(low * high), high];
  };
  const logLabels = (splits) => {
    const few = splits.length < 4, digits = splits.at(-1) / splits[0] < 100 ? "125" : "1";
    const short = (split) => (split < 1e5 ? shown(split) : split.toExponential(0).replace("+", ""));
    return splits.map((split) => (few || digits.includes(split.toExponential()[0]) ? short(split) : ""));
  };
  const byX = (xs, ...columns) => {
    const order = xs.map((_, i) => i).filter((i) => xs[i] !== null).sort((i, j) => xs[i] - xs[j]);
    return [order, order.map((i) => xs[i]), ...columns.map((column) => order.map((i) => column[i]))];
  };

  // Over the same epochs, for each metric the columns of those curves that have it, and these curves.
  const aligned = (curves, ...metrics) => {
    const kept = metrics.map((metric) => curves.filter((curve) => curve.values[metric]));
    const xs = [...new Set(kept.flat().flatMap((curve) => curve.epochs))].sort((a, b) => a - b);
    const place = new Map(xs.map((x, i) => [x, i]));
    const columns = metrics.map((metric, which) => kept[which].map((curve) => {
      const column = new Array(xs.length).fill(undefined);
      curve.epochs.forEach((x, i) => { column[place.get(x)] = curve.values[metric][i]; });
      return column;
    }));
    return [xs, columns, kept];
  };
  const whole = { incrs: [1, 2, 5].flatMap((n) => [...Array(12).keys()].map((power) => n * 10 ** power)).sort((a, b) => a - b) };

  // Each kind returns series, data and axes; `choices` asks for a menu of metrics.
  const kinds = {
    search(data) {
      const { search } = data;
      const xs = search.places;
      const best = search.scores.map((score, i) => (i === search.best ? score : null));
      return {
        x: "trial, in order of the search", y: search.metric, ticks: whole,
        series: [dots("score", "s5", 6), line("best so far", "s1", { paths: uPlot.paths.stepped({ align: 1 }) }), dots("winner", "s2", 11)],
        data: [xs, search.scores, search.so_far, best],
        hooks: [crosses(xs, search.scores)], xRange: (u, low, high) => [low - 0.5, high + 0.5],
        failed: search.scores.includes(null),
        named: (i) => `trial ${search.ids[i]}`,
      };
    },
    time(data) {
      const { search } = data;
      return {
        x: "trial, in order of the search", y: "seconds", ticks: whole, height: 170, range: (u, low, high) => [0, Math.max(high, 1e-3) * 1.08],
        series: [{ label: "seconds", stroke: colour("s5"), fill: colour("s5"), width: 0, paths: uPlot.paths.bars({ size: [0.7, 24] }), points: { show: false }, hue: "s5", mark: "dot" }],
        data: [search.places, search.seconds],
        named: (i) => `trial ${search.ids[i]}`, xRange: (u, low, high) => [low - 0.7, high + 0.7], plain: true,
      };
    },
    value(data, at) {
      const { search } = data;
      const value = search.values[at];
      const levels = value.levels;
      // Dots of one level side by side: by the order of the search.
      const count = Math.max(search.ids.length, 2);
      const xs = levels ? value.at.map((x, i) => (x === null ? null : x + (i / (count - 1) - 0.5) * 0.5)) : value.at;
      const [order, sorted, scores] = byX(xs, search.scores);
      const best = order.map((i) => (i === search.best ? search.scores[i] : null));
      return {
        x: "", y: search.metric, height: 190, plain: true,
        series: [dots("score", "s5", 6), dots("winner", "s2", 11)],
        data: [sorted, scores, best],
        ticks: !levels && !value.log && value.at.every((x) => x === null || Number.isInteger(x)) ? whole : {},
        ...(value.log && { splits: logSplits, filter: (u, splits) => splits, values: (u, splits) => logLabels(splits) }),
        log: value.log, xRange: value.log ? widerLog : wider,
        ...(levels && {
          splits: () => levels.map((_, i) => i), xRange: () => [-0.6, levels.length - 0.4],
          values: (u, splits) => splits.map((split) => { const text = levels[split] ?? ""; return text.length > 12 ? `${text.slice(0, 11)}…` : text; }),
        }),
        named: (i) => `trial ${search.ids[order[i]]}, ${levels ? levels[value.at[order[i]]] : shown(value.at[order[i]])}`,
      };
    },
    best(data, at, metric) {
      const trial = data.curves.trials.filter((each) => each.best);
      const [xs, [[train], [validation]]] = aligned(trial, metric, `val_${metric}`);
      const series = [], columns = [];
      if (train) { series.push(line("train", "s2", { dash: [6, 4] })); columns.push(train); }
      if (validation) { series.push(line("validation", "s1")); columns.push(validation); }
      return { x: "epoch", y: metric, ticks: whole, series, data: [xs, ...columns], named: (i) => `epoch ${xs[i]}` };
    },
    all(data, at, metric) {
      const [xs, [columns], [kept]] = aligned(data.curves.trials, metric);
      // The best one last: over all others.
      const order = kept.map((_, i) => i).sort((i, j) => kept[i].best - kept[j].best);
      return {
        x: "epoch", y: metric, ticks: whole, many: true,
        series: order.map((i) => kept[i].best
          ? line(`${kept[i].name} (best)`, "s1", { width: 3 })
          : line(kept[i].name, "faint", { width: 1, alpha: 0.75 })),
        data: [xs, ...order.map((i) => columns[i])],
        legend: [["line", "s1", "best trial"], ["line", "faint", "other trials"]],
        named: (i) => `epoch ${xs[i]}`,
      };
    },
    refits(data, at, metric) {
      const [xs, [train, validation], [trained, validated]] = aligned(data.curves.refits, metric, `val_${metric}`);
      const series = [
        ...trained.map((refit) => line(`train, ${refit.name}`, "s2", { width: 1.25, dash: [6, 4] })),
        ...validated.map((refit) => line(`validation, ${refit.name}`, "s1", { width: 1.25 })),
      ];
      return {
        x: "epoch", y: metric, ticks: whole, series, many: true, data: [xs, ...train, ...validation],
        legend: [["dashed", "s2", "train"], ["line", "s1", "validation"]], named: (i) => `epoch ${xs[i]}`,
      };
    },
    scatter(data, at) {
      const { truth, predicted } = data.numbers[at];
      const [, xs, ys] = byX(truth, predicted);
      return { x: "true", y: "predicted", series: [dots("sample", "s1", 5)], data: [xs, ys], hooks: [diagonal], plain: true, xRange: wider, named: (i) => `true ${shown(xs[i])}`, range: including(xs) };
    },
    residuals(data, at) {
      const { truth, predicted } = data.numbers[at];
      const [, xs, ys] = byX(predicted, predicted.map((value, i) => (value === null || truth[i] === null ? null : value - truth[i])));
      return { x: "predicted", y: "predicted - true", series: [dots("sample", "s1", 5)], data: [xs, ys], hooks: [horizontal(0, "muted", [5, 4], "")], plain: true, xRange: wider, named: (i) => `predicted ${shown(xs[i])}` };
    },
    errors(data, at) {
      const { x, y, baseline, words } = data.numbers[at].errors;
      return {
        x: "share of the samples", y: "absolute error, up to", words, series: [line("this run", "s1")], data: [x, y],
        behind: behind(baseline), legend: besides("this run", baseline), xRange: unit, plain: !baseline,
        range: (u, low, high) => [0, Math.max(high, ...(baseline ? baseline.y : [])) * 1.05 || 1], named: (i) => `${shown(x[i] * 100)} % of the samples`,
      };
    },
    roc(data, at, chosen) {
      const { classes } = data.answers[at];
      const { name, roc, words, point } = classes[chosen];
      return {
        x: "false positive rate", y: "recall", words: `${name}, ${words.roc}`, series: [line("recall", "s1")], data: [roc.x, roc.y], hooks: [diagonal, diamond(point, "false_positive_rate", "recall")],
        behind: [...others(classes, chosen, "roc"), ...behind(roc.baseline)], legend: [...besides(name, roc.baseline, classes), ...pointed(point)], height: 300,
        xRange: unit, range: unit, named: (i) => `${threshold(roc.at[i])}, false positive rate ${shown(roc.x[i])}`,
      };
    },
    pr(data, at, chosen) {
      const { classes } = data.answers[at];
      const { name, pr, words, share, point } = classes[chosen];
      return {
        x: "recall", y: "precision", words: `${name}, ${words.pr}`, series: [line("precision", "s1", { paths: uPlot.paths.stepped({ align: -1 }) })], data: [pr.x, pr.y],
        hooks: [horizontal(share, "muted", [5, 4], ""), diamond(point, "recall", "precision")], height: 300,
        behind: [...others(classes, chosen, "pr", true), ...behind(pr.baseline, true)], legend: [...besides(name, pr.baseline, classes), ...pointed(point)],
        xRange: unit, range: unit, named: (i) => `${threshold(pr.at[i])}, recall ${shown(pr.x[i])}`,
      };
    },
    reliability(data, at, chosen) {
      const { classes } = data.answers[at];
      const { name, bins, words } = classes[chosen];
      const known = bins.mean.map((_, i) => i).filter((i) => bins.mean[i] !== null);
      const series = { ...line("share of the class", "s1"), points: points(7, colour("s1")) };
      return {
        x: "mean score of a bin", y: "share of the class", words: `${name}, ${words.reliability}`, series: [series],
        data: [known.map((i) => bins.mean[i]), known.map((i) => bins.share[i])], hooks: [diagonal], height: 300,
        behind: behind(bins.baseline), legend: besides(name, bins.baseline), xRange: unit, range: unit,
        named: (i) => `mean score ${shown(bins.mean[known[i]])}, ${bins.of[known[i]] + bins.others[known[i]]} samples`,
      };
    },
    scores(data, at, chosen) {
      const { name, bins, words } = data.answers[at].classes[chosen];
      const step = (label, hue, counts) => {
        const total = counts.reduce((a, b) => a + b, 0), shares = counts.map((count) => count / total);
        const series = line(label, hue, { paths: uPlot.paths.stepped({ align: 1 }), fill: `${colour(hue)}33`, points: { show: false } });
        // The last bin has an end too.
        return [series, [...shares, shares.at(-1)]];
      };
      const [[mine, ours], [rest, theirs]] = [step(name, "s1", bins.of), step("others", "s2", bins.others)];
      const last = bins.of.length - 1;
      return {
        x: "score", y: "share of its samples", words: `${name}, ${words.scores}`, series: [mine, rest], data: [bins.edges, ours, theirs], height: 300,
        range: (u, low, high) => [0, (high || 1) * 1.05], xRange: wider,
        named: (i) => { const bin = Math.min(i, last); return `${shown(bins.edges[bin])} to ${shown(bins.edges[bin + 1])}, ${bins.of[bin]} and ${bins.others[bin]} samples`; },
      };
    },
    trend(data, at) {
      const trend = data.trends[at];
      const xs = trend.runs.map((_, i) => i);
      const only = (place) => trend.means.map((value, i) => (i === place ? value : null));
      const bounds = [...trend.bounds];
      const lines = bounds.filter(({ at: y }) => y !== null).map(({ at: y, text }, i) => horizontal(y, "fail", [6, 4], text, i));
      if (trend.baseline !== null) lines.unshift(horizontal(trend.baseline, "s3", [2, 3], "baseline", -1));
      const series = [{ ...line("mean over refits", "s1"), points: points(6, colour("s1")) }, dots("this run", "s2", 11)];
      const columns = [trend.means, only(trend.this)];
      if (trend.accepted !== null) { series.push({ ...dots("baseline", "s3", 11), points: { ...points(11, colour("card")), stroke: colour("s3"), width: 2.5 }, mark: "ring" }); columns.push(only(trend.accepted)); }
      return {
        x: "runs, the latest on the right", y: trend.metric, series, data: [xs, ...columns], hooks: lines,
        range: including([...bounds.map((bound) => bound.at), trend.baseline].filter((value) => value !== null)),
        xRange: (u, low, high) => [low - 0.4, high + 0.4],
        splits: (u, axis, low, high) => { const step = Math.ceil(trend.runs.length / Math.max(1, Math.floor(u.width / 110))); return xs.filter((i) => (trend.runs.length - 1 - i) % step === 0); },
        values: (u, splits) => splits.map((i) => trend.days[i].slice(5, 10)),
        named: (i) => `${trend.runs[i]}, ${trend.days[i]}${trend.stds[i] === null ? "" : `, std ${shown(trend.stds[i])}`}`,
      };
    },
  };

  const key = (kind, hue) => {
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    svg.setAttribute("viewBox", "0 0 26 11");
    svg.setAttribute("aria-hidden", "true");
    const mark = document.createElementNS(svg.namespaceURI, kind === "dot" || kind === "ring" ? "circle" : "path");
    if (kind === "dot" || kind === "ring") {
      for (const [name, value] of [["cx", 13], ["cy", 5.5], ["r", 4], ["fill", colour(kind === "dot" ? hue : "card")], ["stroke", colour(hue)], ["stroke-width", 2]]) mark.setAttribute(name, value);
    } else {
      for (const [name, value] of [["d", "M1 5.5h24"], ["stroke", colour(hue)], ["stroke-width", 2.5]]) mark.setAttribute(name, value);
      if (kind === "cross") mark.setAttribute("d", "M9 1.5l8 8M17 1.5l-8 8");
      if (kind === "diamond") { mark.setAttribute("d", "M13 0.5l5 5l-5 5l-5 -5z"); mark.setAttribute("fill", "none"); mark.setAttribute("stroke-width", 2); }
    if (kind === "dashed") mark.setAttribute("stroke-dasharray", "6 4");
    }
    svg.append(mark);
    return svg;
  };
  const legend = (figure, entries) => {
    figure.querySelector(".legend")?.remove();
    const list = make("ul");
    list.className = "legend";
    figure.querySelector("figcaption").after(list);
    for (const [kind, hue, text] of entries) {
      const entry = make("li", "", list);
      entry.append(key(kind, hue), text);
    }
  };
  const marked = (series) => [series.dash ? "dashed" : series.mark, series.hue, series.label];

  const drawn = new Map();
  // Where each chart is read; uPlot itself finds only the first of equal x.
  const places = new Map();
  let stepped = null;
  const draw = (figure) => {
    const data = dataOf(figure);
    const at = Number(figure.dataset.at ?? 0);
    const metric = menu(figure, data);
    const chart = kinds[figure.dataset.chart](data, at, metric);
    let plot = figure.querySelector(".plot");
    drawn.get(figure)?.destroy();
    places.delete(figure);
    if (!plot) {
      plot = make("div");
      plot.className = "plot";
      plot.tabIndex = 0;
      plot.setAttribute("role", "img");
      figure.querySelector("figcaption").after(plot);
      plot.addEventListener("keydown", (event) => step(figure, event));
      const readout = make("p");
      readout.className = "readout";
      readout.setAttribute("role", "status");
      plot.after(readout);
    }
    const caption = figure.querySelector("figcaption").firstChild.textContent.trim();
    plot.setAttribute("aria-label", `${caption}: ${chart.words ?? summary(chart)}. Left and right arrow keys read values.`);
    if (!chart.plain) {
      const entries = chart.legend ?? chart.series.map(marked);
      if (chart.failed) entries.push(["cross", "fail", "failed"]);
      legend(figure, entries);
    }
    const axis = (label, more) => ({
      label: label || undefined, labelSize: label ? 20 : 0, stroke: colour("muted"), font: "11px system-ui, sans-serif",
      labelFont: "11px system-ui, sans-serif", grid: { stroke: colour("line"), width: 1 }, ticks: { stroke: colour("line"), width: 1, size: 5 }, ...more,
    });
    const readout = figure.querySelector(".readout");
    const options = {
      width: plot.clientWidth || 640, height: chart.height ?? 250, legend: { show: false }, pxAlign: 0,
      padding: [10, 12, 0, 0],
      focus: { alpha: chart.many ? 0.35 : 1 },
      cursor: { focus: { prox: chart.many ? 24 : -1 }, drag: { x: true, y: false }, points: { size: 8 }, dataIdx: (u, series, idx) => stepped ?? idx },
      scales: { x: { time: false, distr: chart.log ? 3 : 1, range: chart.xRange }, y: { range: chart.range } },
      axes: [
        axis(chart.x, { values: chart.values, splits: chart.splits, filter: chart.filter, size: 32, ...chart.ticks }),
        axis(chart.y.length > 28 ? `${chart.y.slice(0, 27)}…` : chart.y, { size: (u, values) => Math.max(36, 12 + 6.6 * Math.max(0, ...(values ?? []).map((value) => `${value ?? ""}`.length))) }),
      ],
      series: [{}, ...chart.series],
      hooks: {
        drawAxes: chart.behind ?? [],
        draw: chart.hooks ?? [],
        setCursor: [(u) => { places.set(figure, stepped ?? u.cursor.idx); readout.textContent = said(u, chart, places.get(figure)); }],
        setSeries: [(u) => { readout.textContent = said(u, chart, places.get(figure)); }],
      },
    };
    drawn.set(figure, new uPlot(options, chart.data, plot));
  };
  const said = (u, chart, idx) => {
    if (idx === null || idx === undefined) return "";
    const values = [];
    u.series.forEach((series, i) => {
      if (i === 0 || (chart.many && series._focus === false)) return;
      const value = u.data[i][idx];
      if (value !== null && value !== undefined) values.push(`${series.label} ${shown(value)}`);
    });
    const listed = values.length > 6 ? `${values.slice(0, 6).join(", ")}, and ${values.length - 6} more` : values.join(", ");
    return `${chart.named(idx)}: ${listed || "no value"}`;
  };
  const summary = (chart) => {
    const known = chart.data.slice(1).flat().filter((value) => Number.isFinite(value));
    if (!known.length) return "no values";
    const low = known.reduce((a, b) => Math.min(a, b)), high = known.reduce((a, b) => Math.max(a, b));
    return `${chart.y} between ${shown(low)} and ${shown(high)}, ${chart.data[0].length} places`;
  };
  const step = (figure, event) => {
    const u = drawn.get(figure);
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!by || !u) return;
    event.preventDefault();
    const last = u.data[0].length - 1;
    const idx = Math.min(last, Math.max(0, (places.get(figure) ?? (by > 0 ? -1 : last + 1)) + by));
    const value = u.data.slice(1).map((column) => column[idx]).find((each) => each !== null && each !== undefined);
    stepped = idx;
    u.setCursor({ left: u.valToPos(u.data[0][idx], "x"), top: value === undefined ? 0 : u.valToPos(value, "y") });
    stepped = null;
  };
  // The chart's choice: a metric, or the place of a class, which all charts of its answers share.
  const answered = ["roc", "pr", "reliability", "scores"];
  const menu = (figure, data) => {
    if (answered.includes(figure.dataset.chart)) {
      const { classes } = data.answers[Number(figure.dataset.at)];
      const select = choice(figure, "of ", classes.map((each) => each.name), "", () => {
        const { of, at } = figure.dataset;
        const same = figures.filter((each) => each.dataset.of === of && each.dataset.at === at && answered.includes(each.dataset.chart));
        for (const each of same) {
          const other = each.querySelector("select");
          if (other) other.selectedIndex = select.selectedIndex;
          each.dataset.chosen = select.selectedIndex;
          if (drawn.has(each)) draw(each);
        }
      });
      if (select && figure.dataset.chosen) select.selectedIndex = Number(figure.dataset.chosen);
      return select ? select.selectedIndex : 0;
    }
    if (!["best", "all", "refits"].includes(figure.dataset.chart)) return null;
    const { metrics, objective } = data.curves;
    const isOfAll = figure.dataset.chart === "all";
    const choices = isOfAll ? metrics : [...new Set(metrics.map((name) => name.replace(/^val_/, "")))];
    const first = isOfAll ? objective : objective.replace(/^val_/, "");
    const select = choice(figure, "metric ", choices, first, () => draw(figure));
    return select ? select.value : choices[0];
  };
  const choice = (figure, text, choices, first, change) => {
    let select = figure.querySelector("select");
    if (!select && choices.length > 1) {
      const label = make("label", text, figure.querySelector("figcaption"));
      select = make("select", "", label);
      for (const name of choices) make("option", name, select).value = name;
      select.value = choices.includes(first) ? first : choices[0];
      select.addEventListener("change", change);
    }
    return select;
  };

  const fit = (figure) => {
    const u = drawn.get(figure), width = figure.clientWidth;
    if (width && Math.abs(width - u.width) > 1) u.setSize({ width, height: u.height });
  };
  const figures = [...document.querySelectorAll("figure[data-chart]")];
  const watcher = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      if (!isIntersecting) continue;
      if (drawn.has(target)) fit(target);
      else draw(target);
    }
  }, { rootMargin: "200px" });
  figures.forEach((figure) => watcher.observe(figure));
  // One that is folded away has no width: it is drawn anew when it comes into view.
  const redraw = () => drawn.forEach((u, figure) => {
    if (figure.clientWidth) draw(figure);
    else { u.destroy(); drawn.delete(figure); }
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  let asked = 0;
  addEventListener("resize", () => {
    cancelAnimationFrame(asked);
    asked = requestAnimationFrame(() => drawn.forEach((_, figure) => fit(figure)));
  });

  // On paper all is unfolded, in light colours, and narrow enough.
  let folded = [];
  addEventListener("beforeprint", () => {
    folded = [...document.querySelectorAll("details:not([open])")];
    folded.forEach((details) => { details.open = true; });
    root.classList.add("paper");
    figures.forEach(draw);
    drawn.forEach((u) => u.setSize({ width: Math.min(u.width, 660), height: u.height }));
  });
  addEventListener("afterprint", () => {
    folded.forEach((details) => { details.open = false; });
    root.classList.remove("paper");
    redraw();
  });
})();
