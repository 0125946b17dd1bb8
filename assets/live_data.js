// What the live panel knows of a run, and how it turns numbers into short series and text. No drawing, no DOM.

function newRun(spec) {
  return { id: spec.id, name: spec.name, axis: spec.axis, colours: spec.colours, status: {}, series: {}, evaluations: [], probe: null, notes: [], version: 0 };
}

// Updates may overlap (a viewer joins while others are being served), so steps that are already there are dropped.
function mergeUpdate(run, update) {
  if (update.full) {
    run.series = {};
    run.evaluations = [];
    run.notes = [];
  }
  Object.assign(run.status, update.run);
  for (const [name, points] of Object.entries(update.metrics || {})) {
    const series = (run.series[name] ||= { step: [], value: [] });
    for (let i = 0; i < points.step.length; i++) {
      if (series.step.length === 0 || points.step[i] > series.step[series.step.length - 1]) {
        series.step.push(points.step[i]);
        series.value.push(points.value[i]);
      }
    }
  }
  for (const evaluation of update.evaluations || []) {
    const last = run.evaluations[run.evaluations.length - 1];
    if (!last || evaluation.step > last.step) run.evaluations.push(evaluation);
  }
  for (const note of update.notes || []) {
    if (!run.notes.some((known) => known.step === note.step && known.text === note.text)) run.notes.push(note);
  }
  if (update.probe) run.probe = update.probe;
  run.version += 1;
}

// Exponential moving average without the bias towards zero of its first values.
function smooth(values, weight) {
  let mean = 0;
  let mass = 0;
  return values.map((value) => {
    if (value === null) return null;
    mean = weight * mean + (1 - weight) * value;
    mass = weight * mass + (1 - weight);
    return mean / mass;
  });
}

// At most `limit` points: of each stretch its first, lowest and highest, so that no spike disappears.
function thin(steps, values, limit) {
  const n = steps.length;
  if (n <= limit) return { x: steps, y: values };
  const x = [];
  const y = [];
  const stretch = Math.ceil((3 * n) / limit);
  for (let start = 0; start < n; start += stretch) {
    let low = start;
    let high = start;
    for (let i = start; i < Math.min(n, start + stretch); i++) {
      if (values[i] !== null && (values[low] === null || values[i] < values[low])) low = i;
      if (values[i] !== null && (values[high] === null || values[i] > values[high])) high = i;
    }
    for (const i of [...new Set([start, low, high])].sort((a, b) => a - b)) {
      x.push(steps[i]);
      y.push(values[i]);
    }
  }
  if (x[x.length - 1] !== steps[n - 1]) {
    x.push(steps[n - 1]);
    y.push(values[n - 1]);
  }
  return { x, y };
}

// The run's newest evaluation at or before an outer step, or null.
function evaluationAt(run, step) {
  let found = null;
  for (const evaluation of run.evaluations) if (evaluation.step <= step) found = evaluation;
  return found;
}

function evaluationSteps(runs) {
  return [...new Set(runs.flatMap((run) => run.evaluations.map((evaluation) => evaluation.step)))].sort((a, b) => a - b);
}

// What the panel can show: the metrics of these runs that have a name here.
const METRICS = ["loss", "accuracy", "return", "perplexity", "negative_log_likelihood"];

function metricsOf(runs) {
  const seen = new Set(runs.flatMap((run) => run.evaluations.flatMap((evaluation) => Object.keys(evaluation.curves))));
  return METRICS.filter((metric) => seen.has(metric));
}

// What is known of outer steps alone: the learning chart can show it, there is nothing of it to adapt.
const OUTER_METRICS = ["gradient_norm", "gradient_agreement"];

function outerMetricsOf(runs) {
  return OUTER_METRICS.filter((metric) => runs.some((run) => run.series[`train/${metric}`]));
}

// What the adaptation chart counts: shots only where no run takes inner steps.
function axisOf(runs) {
  return runs.length > 0 && runs.every((run) => run.axis === "shot") ? "shot" : "inner step";
}

// Text and numbers in the reader's language.
function speaker(texts, language) {
  const number = new Intl.NumberFormat(language, { maximumFractionDigits: 0 });
  const rate = new Intl.NumberFormat(language, { maximumSignificantDigits: 3 });
  const value = new Intl.NumberFormat(language, { maximumSignificantDigits: 3 });
  const percent = new Intl.NumberFormat(language, { style: "percent", maximumFractionDigits: 1 });
  const say = (key, parts = {}) => texts[key].replace(/\{(\w+)\}/g, (all, name) => (name in parts ? String(parts[name]) : all));
  const duration = (seconds) => {
    const whole = Math.max(0, Math.round(seconds));
    if (whole < 60) return say("seconds", { seconds: number.format(whole) });
    if (whole < 3600) return say("minutes", { minutes: number.format(Math.floor(whole / 60)), seconds: number.format(whole % 60) });
    return say("hours", { hours: number.format(Math.floor(whole / 3600)), minutes: number.format(Math.floor((whole % 3600) / 60)) });
  };
  return {
    say,
    duration,
    number: (x) => number.format(x),
    rate: (x) => rate.format(x),
    value: (x, metric) => (x === null || x === undefined ? "–" : metric === "accuracy" ? percent.format(x) : value.format(x)),
  };
}

// One table as CSV. A name that a spreadsheet would run as a formula is quoted as text.
function csvOf(header, rows) {
  const cell = (x) => {
    if (x === null || x === undefined) return "";
    if (typeof x === "number") return String(x);
    const text = /^[=+\-@\t\r]/.test(x) ? `'${x}` : x;
    return /[",\n\r]/.test(text) ? `"${text.replace(/"/g, '""')}"` : text;
  };
  return [header, ...rows].map((row) => row.map(cell).join(",")).join("\r\n") + "\r\n";
}

function curveRows(runs) {
  const rows = [];
  for (const run of runs) {
    for (const [name, series] of Object.entries(run.series)) {
      series.step.forEach((step, i) => rows.push([run.id, run.name, name, step, series.value[i]]));
    }
  }
  return { header: ["run", "name", "metric", "outer_step", "value"], rows };
}

function adaptationRows(runs) {
  const rows = [];
  for (const run of runs) {
    for (const evaluation of run.evaluations) {
      for (const [metric, curve] of Object.entries(evaluation.curves)) {
        curve.mean.forEach((mean, k) => {
          rows.push([run.id, run.name, metric, evaluation.step, run.axis, k, "mean", mean, curve.low[k], curve.high[k]]);
          curve.tasks.forEach((task, i) => rows.push([run.id, run.name, metric, evaluation.step, run.axis, k, `task ${i + 1}`, task[k], null, null]));
        });
      }
    }
  }
  return { header: ["run", "name", "metric", "outer_step", "axis", "k", "what", "value", "low95", "high95"], rows };
}

function functionRows(run) {
  const rows = [];
  for (const evaluation of run.evaluations) {
    (evaluation.functions || []).forEach((byStep, task) => {
      const label = run.probe.tasks[task] ? run.probe.tasks[task].label : `task ${task + 1}`;
      byStep.forEach((values, k) => values.forEach((y, i) => rows.push([run.id, label, evaluation.step, run.axis, k, run.probe.x[i], y])));
    });
  }
  return { header: ["run", "task", "outer_step", "axis", "k", "x", "prediction"], rows };
}
