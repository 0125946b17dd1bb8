// The live panel's three pictures as plain Plotly figures: state in, {data, layout, summary} out. No DOM.

const THIN_POINTS = 700;
const GHOSTS = 6;
const MOST_TASK_LINES = 40;
const MOST_MARKERS = 30;
const LABEL_PIXELS = 19;
const SIGNED = ["return", "negative_log_likelihood", "gradient_agreement"]; // no logarithm of these
const NARROW = 430; // no room for labels beside the lines
const STACKED = 560; // tasks below each other

function mix(from, to, share) {
  const parts = (hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
  const [a, b] = [parts(from), parts(to)];
  return "#" + a.map((x, i) => Math.round(x + (b[i] - x) * share).toString(16).padStart(2, "0")).join("");
}

function fade(hex, alpha) {
  const [r, g, b] = [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
  return `rgba(${r},${g},${b},${alpha})`;
}

function baseLayout(look, view) {
  return {
    uirevision: view.revision,
    autosize: false,
    width: view.width,
    height: view.height,
    margin: { l: 68, r: view.narrow ? 14 : 30, t: 10, b: 52 },
    paper_bgcolor: look.background,
    plot_bgcolor: look.background,
    font: { family: look.font, size: 15, color: look.text },
    hoverlabel: { font: { family: look.font, size: 15, color: look.text }, bgcolor: look.surface, bordercolor: look.border, namelength: -1 },
    showlegend: false,
    dragmode: view.touch ? false : "zoom",
  };
}

function axis(look, title, more) {
  return {
    title: { text: title, font: { size: 16 }, standoff: 8 },
    tickfont: { size: 14 },
    gridcolor: look.grid,
    linecolor: look.border,
    zeroline: false,
    ticks: "outside",
    tickcolor: look.border,
    ticklen: 4,
    automargin: false,
    nticks: 6,
    ...more,
  };
}

function line(colour, width, dash = "solid") {
  return { color: colour, width, dash };
}

// 1. Is it learning? Meta-train and held-out metric against outer step, or what is known of outer steps alone.
function learningFigure(state, look, view, speak) {
  const metric = state.metric;
  const data = [];
  const ends = [];
  for (const run of state.runs) {
    const colour = run.colours[look.dark ? "dark" : "light"];
    const several = state.runs.length > 1;
    const called = (key) => (several ? `${escapeMarkup(run.name)}: ${speak.say(key)}` : speak.say(key));
    const add = (name, label, smoothing, style, end) => {
      const series = run.series[name];
      if (!series || series.step.length === 0) return;
      const values = smoothing ? smooth(series.value, state.smoothing) : series.value;
      const { x, y } = thin(series.step, values, THIN_POINTS);
      if (x.length > MOST_MARKERS && style.mode === "lines+markers") style = { ...style, mode: "lines" };
      data.push({ type: "scatter", x, y, name: label, hovertemplate: `%{y:${metric === "accuracy" ? ".1%" : ".4g"}}<extra>%{fullData.name}</extra>`, ...style });
      if (end) ends.push({ x: x[x.length - 1], y: y[y.length - 1], text: several ? end.several && run.name : end.text, colour });
    };
    const train = `train/${metric}`;
    if (state.smoothing > 0) {
      add(train, called("train"), false, { mode: "lines", line: line(fade(colour, several ? 0.12 : 0.2), 1), hoverinfo: "skip", hovertemplate: null });
    }
    const alone = OUTER_METRICS.includes(metric);
    const smoothed = alone ? line(colour, 2.4) : line(fade(colour, 0.55), 1.6);
    add(train, called("train"), true, { mode: "lines", line: smoothed }, { text: speak.say("train_short"), several: alone });
    const held = { mode: "lines+markers", cliponaxis: false };
    add(`validation/${metric}_before`, called("before"), false, { ...held, line: line(colour, 2.4, "dash"), marker: { size: 6, color: look.background, line: { color: colour, width: 1.6 } } }, { text: speak.say("before_short"), several: false });
    add(`validation/${metric}_after`, called("after"), false, { ...held, line: line(colour, 3.4), marker: { size: 7, color: colour } }, { text: speak.say("after_short"), several: true });
    add(`away/${metric}_after`, called("away_after"), false, { ...held, line: line(colour, 3, "dot"), marker: { size: 7, symbol: "diamond", color: colour } }, { text: speak.say("away_short"), several: false });
  }
  const layout = baseLayout(look, view);
  layout.hovermode = "x unified";
  layout.xaxis = axis(look, speak.say("outer_step"), { type: state.logX ? "log" : "linear", rangemode: state.logX ? "normal" : "tozero" });
  layout.yaxis = axis(look, metricTitle(state, speak), { type: state.logY && !SIGNED.includes(metric) ? "log" : "linear", tickformat: metric === "accuracy" ? ".0%" : "" });
  if (metric === "accuracy" && !state.logY) layout.yaxis.range = [0, 1.02];
  if (!view.narrow) {
    layout.margin.r = 20 + 9 * Math.max(0, ...ends.map((end) => (end.text ? Math.min(end.text.length, 14) : 0)));
    layout.annotations = endLabels(ends.filter((end) => end.text && end.y !== null), view);
  }
  const notes = state.runs.flatMap((run) => run.notes).filter((note) => note.step > 0 || !state.logX);
  layout.shapes = notes.map((note) => ({ type: "line", x0: note.step, x1: note.step, yref: "paper", y0: 0, y1: 1, line: { color: look.faint, width: 1, dash: "dot" } }));
  layout.annotations = [...(layout.annotations || []), ...notes.map((note) => noteMark(note, state, look))];
  return { data, layout, summary: learningSummary(state, speak) };
}

// A change of a setting during the run: a dotted line with a mark that tells what changed when pointed at.
function noteMark(note, state, look) {
  const x = state.logX ? Math.log10(note.step) : note.step;
  return { x, y: 1, yref: "paper", yanchor: "top", text: "◆", hovertext: escapeMarkup(note.text), showarrow: false, font: { size: 14, color: look.faint } };
}

// Labels at the ends of the lines, pushed apart where they would overlap. `view.pixelY` is the axis as last drawn;
// the labels are placed in parts of the plot's height, so that they never stretch the axis.
function endLabels(ends, view) {
  if (!view.pixelY) return [];
  const placed = ends.map((end) => ({ ...end, at: view.pixelY(end.y) }));
  const inside = placed.filter((end) => end.at >= -2 && end.at <= view.plotHeight + 2).sort((a, b) => a.at - b.at);
  let previous = -Infinity;
  for (const end of inside) {
    end.at = Math.max(end.at, previous + LABEL_PIXELS);
    previous = end.at;
  }
  let next = view.plotHeight + LABEL_PIXELS;
  for (const end of inside.reverse()) {
    end.at = Math.min(end.at, next - LABEL_PIXELS);
    next = end.at;
  }
  return inside.map((end) => ({
    x: 1,
    xref: "paper",
    xanchor: "left",
    xshift: 8,
    y: 1 - end.at / view.plotHeight,
    yref: "paper",
    yanchor: "middle",
    text: escapeMarkup(end.text.length > 14 ? `${end.text.slice(0, 13)}…` : end.text),
    showarrow: false,
    font: { size: 15, color: end.colour },
  }));
}

// Plotly reads a few tags in its texts; a run's name must stay text.
function escapeMarkup(text) {
  return text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
}

function metricTitle(state, speak) {
  if (state.metric !== "loss") return speak.say(`${state.metric}_axis`);
  return state.lossLabel ? `${speak.say("loss_axis")} (${state.lossLabel})` : speak.say("loss_axis");
}

function learningSummary(state, speak) {
  if (OUTER_METRICS.includes(state.metric)) return outerSummary(state, speak);
  const sentences = state.runs.map((run) => {
    const before = run.series[`validation/${state.metric}_before`];
    const after = run.series[`validation/${state.metric}_after`];
    if (!after || after.step.length === 0) return speak.say("learning_empty", { run: run.name });
    const i = after.step.length - 1;
    const home = speak.say(`learning_summary_${state.metric}`, {
      run: run.name,
      step: speak.number(after.step[i]),
      before: speak.value(before && before.value[before.value.length - 1], state.metric),
      after: speak.value(after.value[i], state.metric),
    });
    const away = run.series[`away/${state.metric}_after`];
    return away ? `${home} ${awaySummary(away.value[away.value.length - 1], state, speak)}` : home;
  });
  return sentences.join(" ");
}

// One sentence more for a run that is tried on another kind of tasks as well.
function awaySummary(value, state, speak) {
  return speak.say("away_summary", { value: speak.value(value, state.metric) });
}

function outerSummary(state, speak) {
  const sentences = state.runs.map((run) => {
    const series = run.series[`train/${state.metric}`];
    if (!series || series.step.length === 0) return speak.say("outer_empty", { run: run.name });
    const last = series.step.length - 1;
    return speak.say(`outer_summary_${state.metric}`, {
      run: run.name,
      step: speak.number(series.step[last]),
      value: speak.value(series.value[last], state.metric),
    });
  });
  return sentences.join(" ");
}

// 2. How does it adapt? The metric on held-out tasks against inner step, at one outer step, with earlier ones as ghosts.
// Runs that read their shots at once have a curve over shots where they are alone, else a dashed line at its end.
function adaptationFigure(state, look, view, speak) {
  const metric = state.metric;
  const data = [];
  const several = state.runs.length > 1;
  const format = metric === "accuracy" ? ".1%" : ".4g";
  const counted = axisOf(state.runs);
  const innerSteps = Math.max(1, ...state.runs.filter((run) => run.axis === counted).map((run) => lastStep(run, state)));
  for (const run of state.runs) {
    const colour = run.colours[look.dark ? "dark" : "light"];
    const now = evaluationAt(run, state.outerStep);
    const curve = now && now.curves[metric];
    if (!curve) continue;
    const k = curve.mean.map((_, i) => i);
    const away = now.curves[`${metric}_away`];
    if (run.axis !== counted) {
      data.push(levelOf(run, curve, innerSteps, line(colour, 4, "dash"), format, speak));
      if (away) data.push(levelOf(run, away, innerSteps, line(colour, 3.4, "dot"), format, speak));
      continue;
    }
    if (away) data.push(...awayLines(run, away, colour, several, format, speak));
    const earlier = run.evaluations.filter((evaluation) => evaluation.step < now.step && evaluation.curves[metric]);
    for (const [i, ghost] of evenly(earlier, several ? 1 : GHOSTS).entries()) {
      const count = Math.min(earlier.length, several ? 1 : GHOSTS);
      const tone = several ? fade(colour, 0.45) : fade(look.text, 0.12 + (0.22 * (i + 1)) / count);
      data.push({ type: "scatter", mode: "lines", x: k, y: ghost.curves[metric].mean, line: line(tone, 1.8), name: speak.say("at_outer_step", { step: speak.number(ghost.step) }), hovertemplate: `%{y:${format}}<extra>%{fullData.name}</extra>` });
    }
    data.push({ type: "scatter", mode: "lines", x: [...k, ...k.slice().reverse()], y: [...curve.high, ...curve.low.slice().reverse()], fill: "toself", fillcolor: fade(colour, 0.2), line: { width: 0 }, hoverinfo: "skip", name: speak.say("band") });
    const x = [];
    const y = [];
    for (const task of curve.tasks.slice(0, MOST_TASK_LINES)) {
      x.push(...k, null);
      y.push(...task, null);
    }
    if (!several) data.push({ type: "scatter", mode: "lines", x, y, line: line(fade(colour, 0.25), 1), hoverinfo: "skip", name: speak.say("tasks") });
    data.push({ type: "scatter", mode: "lines+markers", x: k, y: curve.mean, line: line(colour, 4), marker: { size: 9, color: colour }, cliponaxis: false, name: several ? escapeMarkup(run.name) : speak.say("mean"), customdata: k.map((i) => [curve.low[i], curve.high[i]]), hovertemplate: `%{y:${format}} (%{customdata[0]:${format}} – %{customdata[1]:${format}})<extra>%{fullData.name}</extra>` });
  }
  const layout = baseLayout(look, view);
  layout.hovermode = "x unified";
  layout.xaxis = axis(look, counted === "shot" ? speak.say("shot") : speak.say("inner_step"), { range: [-0.02 * innerSteps - 0.05, innerSteps * 1.02 + 0.05], dtick: innerSteps <= 12 ? 1 : undefined, tick0: 0, tickformat: "d" });
  layout.yaxis = axis(look, metricTitle(state, speak), { type: state.logLoss && metric === "loss" ? "log" : "linear", tickformat: metric === "accuracy" ? ".0%" : "", range: adaptationRange(state) });
  return { data, layout, summary: adaptationSummary(state, speak) };
}

// How a run adapts to tasks of another kind than it was trained on: a dotted line with its own band.
function awayLines(run, curve, colour, several, format, speak) {
  const k = curve.mean.map((_, i) => i);
  const name = several ? `${escapeMarkup(run.name)}: ${speak.say("away")}` : speak.say("away");
  return [
    { type: "scatter", mode: "lines", x: [...k, ...k.slice().reverse()], y: [...curve.high, ...curve.low.slice().reverse()], fill: "toself", fillcolor: fade(colour, 0.12), line: { width: 0 }, hoverinfo: "skip", name: speak.say("band") },
    { type: "scatter", mode: "lines+markers", x: k, y: curve.mean, line: line(colour, 3.4, "dot"), marker: { size: 8, symbol: "diamond", color: colour }, cliponaxis: false, name, customdata: k.map((i) => [curve.low[i], curve.high[i]]), hovertemplate: `%{y:${format}} (%{customdata[0]:${format}} – %{customdata[1]:${format}})<extra>%{fullData.name}</extra>` },
  ];
}

function lastStep(run, state) {
  const now = evaluationAt(run, state.outerStep);
  const curve = now && now.curves[state.metric];
  return curve ? curve.mean.length - 1 : 0;
}

// A run without inner steps among others: where it stands after all its shots, across the whole chart.
function levelOf(run, curve, innerSteps, look, format, speak) {
  const last = curve.mean.length - 1;
  const x = Array.from({ length: innerSteps + 1 }, (_, i) => i);
  return { type: "scatter", mode: "lines", x, y: x.map(() => curve.mean[last]), line: look, name: speak.say("after_shots", { run: escapeMarkup(run.name), shots: last }), hovertemplate: `%{y:${format}}<extra>%{fullData.name}</extra>` };
}

// `count` members spread over a list, its first and last among them.
function evenly(list, count) {
  if (list.length <= count) return list;
  if (count === 1) return [list[0]];
  return Array.from({ length: count }, (_, i) => list[Math.round((i * (list.length - 1)) / (count - 1))]);
}

// One range for all evaluations, so that scrubbing moves the curve and not the axis.
function adaptationRange(state) {
  if (state.metric === "accuracy") return [0, 1.02];
  let low = Infinity;
  let high = -Infinity;
  for (const run of state.runs) {
    for (const evaluation of run.evaluations) {
      for (const curve of [evaluation.curves[state.metric], evaluation.curves[`${state.metric}_away`]]) {
        if (!curve) continue;
        for (const x of curve.low) if (x !== null) low = Math.min(low, x);
        for (const x of curve.mean) if (x !== null) low = Math.min(low, x > 0 ? x : low);
        for (const x of curve.high) if (x !== null) high = Math.max(high, x);
      }
    }
  }
  if (!Number.isFinite(high)) return undefined;
  if (high <= 0) return [low * 1.04, 0];
  if (state.logLoss && state.metric === "loss") return [Math.log10(Math.max(low, high * 1e-5)) - 0.1, Math.log10(high) + 0.1];
  return [Math.min(0, low), high * 1.04];
}

function adaptationSummary(state, speak) {
  const sentences = state.runs.map((run) => {
    const now = evaluationAt(run, state.outerStep);
    const curve = now && now.curves[state.metric];
    if (!curve) return speak.say("adaptation_empty", { run: run.name });
    const last = curve.mean.length - 1;
    const away = now.curves[`${state.metric}_away`];
    const home = speak.say(`adaptation_summary_${state.metric}`, {
      run: run.name,
      step: speak.number(now.step),
      before: speak.value(curve.mean[0], state.metric),
      after: speak.value(curve.mean[last], state.metric),
      low: speak.value(curve.low[last], state.metric),
      high: speak.value(curve.high[last], state.metric),
      inner: speak.number(last),
      axis: run.axis === "shot" ? speak.say("shot") : speak.say("inner_step"),
    });
    return away ? `${home} ${awaySummary(away.mean[away.mean.length - 1], state, speak)}` : home;
  });
  return sentences.join(" ");
}

// 3. What does it predict? The functions before and after each inner step, on up to three tasks.
function functionsFigure(run, state, look, view, speak) {
  const probe = run.probe;
  const now = evaluationAt(run, state.outerStep);
  const tasks = probe.tasks.slice(0, 3);
  const colour = run.colours[look.dark ? "dark" : "light"];
  const data = [];
  const layout = baseLayout(look, view);
  const stacked = view.stacked;
  layout.hovermode = "closest";
  layout.margin = { l: 60, r: 14, t: 34, b: 50 };
  layout.annotations = [];
  const gap = 0.045;
  const size = (1 - gap * (tasks.length - 1)) / tasks.length;
  const range = functionRange(probe, tasks);
  tasks.forEach((task, t) => {
    const id = t === 0 ? "" : String(t + 1);
    const on = { xaxis: `x${id}`, yaxis: `y${id}` };
    const part = [t * (size + gap), t * (size + gap) + size];
    const rows = [1 - (t + 0.76) / (tasks.length - 0.24), 1 - t / (tasks.length - 0.24)];
    const bottom = !stacked || t === tasks.length - 1;
    layout[`xaxis${id}`] = axis(look, bottom ? "x" : "", { domain: stacked ? [0, 1] : part, anchor: `y${id}`, range: [probe.x[0], probe.x[probe.x.length - 1]], nticks: 5 });
    layout[`yaxis${id}`] = axis(look, stacked || t === 0 ? "y" : "", { domain: stacked ? rows : [0, 1], anchor: `x${id}`, range, showticklabels: stacked || t === 0, matches: t === 0 ? undefined : "y" });
    layout.annotations.push({ text: escapeMarkup(task.label), x: stacked ? 0.5 : (part[0] + part[1]) / 2, y: stacked ? rows[1] : 1, xref: "paper", yref: "paper", yanchor: "bottom", xanchor: "center", showarrow: false, font: { size: 15 } });
    const byStep = now && now.functions ? now.functions[t] : null;
    (byStep || []).forEach((y, k) => {
      const last = byStep.length - 1;
      const tone = k === 0 ? look.faint : mix(look.background, colour, 0.35 + (0.65 * k) / last);
      data.push({ type: "scatter", mode: "lines", x: probe.x, y, line: line(tone, k === last ? 3.8 : k === 0 ? 2.6 : 1.8, k === 0 ? "dot" : "solid"), name: k === 0 ? "f<sub>θ</sub>" : `f<sub>φ${subscript(k)}</sub>`, hovertemplate: "%{y:.3g}<extra>%{fullData.name}</extra>", ...on });
    });
    data.push({ type: "scatter", mode: "lines", x: probe.x, y: task.truth, line: line(look.text, 1.8, "dash"), name: speak.say("truth"), hovertemplate: "%{y:.3g}<extra>%{fullData.name}</extra>", ...on });
    data.push({ type: "scatter", mode: "markers", x: task.support.x, y: task.support.y, marker: { size: 10, color: look.text, line: { color: look.background, width: 1.5 } }, name: speak.say("support"), hovertemplate: "(%{x:.3g}, %{y:.3g})<extra>%{fullData.name}</extra>", ...on });
  });
  const summary = speak.say("functions_summary", { run: run.name, tasks: tasks.length, step: now ? speak.number(now.step) : "–" });
  return { data, layout, summary };
}

function subscript(k) {
  return String(k).replace(/\d/g, (digit) => "₀₁₂₃₄₅₆₇₈₉"[digit]);
}

function functionRange(probe, tasks) {
  const values = tasks.flatMap((task) => [...task.truth, ...task.support.y]);
  const low = Math.min(...values);
  const high = Math.max(...values);
  const room = 0.3 * (high - low || 1);
  return [low - room, high + room];
}
