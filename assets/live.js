// The live panel: mounts once, follows its runs by server-sent events and redraws at most ten times a second.
// Text from outside is only ever set as textContent.

const PANELS = new WeakMap();
const DRAW_EVERY_MS = [100, 240]; // on a slow machine drawing takes at most a third of the time, down to four times a second
const NOTES = 3;
const HIDDEN_CLOSES_AFTER_MS = 5000;
const LOOK_AGAIN_MS = 5000;

export default function (component) {
  const { data, parentElement, setTriggerValue } = component;
  let panel = PANELS.get(parentElement);
  if (!panel) {
    panel = new Panel(parentElement);
    PANELS.set(parentElement, panel);
  }
  panel.update(data, (run, name) => setTriggerValue("command", { run, name }));
  return () => setTimeout(() => panel.disposeIfGone(), 1000);
}

class Panel {
  constructor(parent) {
    this.root = make("div", { class: "ml-live" });
    parent.append(this.root);
    this.runs = [];
    this.cursors = {};
    this.settings = { metric: "loss", outer: null, smoothing: 0.6, logX: false, logY: false, logLoss: false };
    this.outerStep = Infinity;
    this.following = true;
    this.dirty = new Set();
    this.began = performance.now();
    this.onVisibility = () => this.visibilityChanged();
    document.addEventListener("visibilitychange", this.onVisibility);
    this.resizes = new ResizeObserver(() => this.redraw("learning", "adaptation", "functions"));
    this.clock = setInterval(() => this.tick(), 1000);
  }

  // Python's data arrive at the first mount, at each rerun that changes them, and when the theme changes.
  update(data, send) {
    this.send = send;
    const first = !this.data;
    const before = first ? "" : JSON.stringify(this.data);
    this.data = data;
    this.speak = speaker(data.texts, data.language);
    if (first || before !== JSON.stringify(data)) {
      const known = new Map(this.runs.map((run) => [run.id, run]));
      this.runs = data.runs.map((spec) => Object.assign(known.get(spec.id) || newRun(spec), { name: spec.name, colours: spec.colours }));
      if (first) this.settings.metric = data.metric;
      this.build();
      chartLibrary(data.plotly).then(
        (plotly) => { this.plotly = plotly; this.redraw("learning", "adaptation", "functions"); },
        () => this.banner(this.speak.say("no_plotly")),
      );
      this.connect();
    } else if (this.ended) {
      this.connect();
    }
    requestAnimationFrame(() => { this.look = readLook(this.root); this.redraw("runs", "learning", "adaptation", "functions"); });
  }

  disposeIfGone() {
    if (this.root.isConnected) return;
    this.disconnect();
    clearInterval(this.clock);
    clearInterval(this.player);
    this.resizes.disconnect();
    document.removeEventListener("visibilitychange", this.onVisibility);
    for (const view of Object.values(this.views || {})) if (this.plotly) this.plotly.purge(view.plot);
  }

  // --- the stream -----------------------------------------------------------------------------------------------

  connect() {
    this.disconnect();
    this.ended = false;
    if (this.runs.length === 0) return;
    const place = this.runs.map((run) => encodeURIComponent(this.cursors[run.id] || "")).join(",");
    const url = `${this.data.base}/metalab/runs/${this.runs.map((run) => run.id).join(",")}/events`;
    const source = new EventSource(`${url}?cursor=${encodeURIComponent(place)}`);
    source.onopen = () => { this.banner(""); this.reached(true); };
    source.onmessage = (event) => this.receive(JSON.parse(event.data));
    source.addEventListener("end", () => {
      this.ended = true;
      source.close();
      if (this.mayGoOn()) this.retry = setTimeout(() => this.connect(), LOOK_AGAIN_MS);
    });
    source.onerror = () => {
      if (this.source !== source || this.ended) return;
      this.banner(this.speak.say("reconnecting"));
      this.reached(false);
      if (source.readyState === EventSource.CLOSED) this.explain(url);
    };
    this.source = source;
  }

  // Whoever owns a run that stopped short may resume it: other viewers look again now and then.
  mayGoOn() {
    return this.runs.some((run) => ["stopped", "interrupted", "failed"].includes(run.status.state));
  }

  disconnect() {
    clearTimeout(this.retry);
    if (this.source) this.source.close();
    this.source = null;
  }

  // What a run does now is unknown while its server cannot be reached, and no command would arrive.
  reached(yes) {
    this.lost = !yes;
    this.redraw("runs");
  }

  // An EventSource does not say why it was refused: ask once more in a way that does, and try again later.
  async explain(url) {
    const abort = new AbortController();
    const problem = await fetch(url, { signal: abort.signal }).then((answer) => answer.status, () => 0);
    abort.abort();
    const key = { 404: "gone", 429: "too_many" }[problem];
    if (key) this.banner(this.speak.say(key));
    if (problem !== 404) this.retry = setTimeout(() => this.connect(), 2000 + 3000 * Math.random());
  }

  receive(update) {
    const run = this.runs.find((known) => known.id === update.run.id);
    if (!run) return;
    const had = run.evaluations.length;
    mergeUpdate(run, update);
    this.cursors[run.id] = update.cursor;
    run.pressed = null;
    this.redraw("runs");
    if (update.full || Object.keys(update.metrics || {}).length || (update.notes || []).length) this.redraw("learning");
    if (update.full || run.evaluations.length !== had) {
      if (this.following) this.outerStep = Infinity;
      this.redraw("adaptation", "functions");
    }
  }

  // Browsers open few connections to one host: a tab that nobody looks at gives its own back.
  visibilityChanged() {
    clearTimeout(this.sleep);
    if (document.hidden) {
      this.sleep = setTimeout(() => { this.asleep = true; this.disconnect(); }, HIDDEN_CLOSES_AFTER_MS);
    } else if (this.asleep) {
      this.asleep = false;
      if (!this.ended || this.mayGoOn()) this.connect();
      this.redraw("runs", "learning", "adaptation", "functions");
    }
  }

  press(run, name) {
    run.pressed = name;
    this.redraw("runs");
    this.send(run.id, name);
    for (const wait of [400, 1200, 3000]) setTimeout(() => { if (this.ended) this.connect(); }, wait);
    setTimeout(() => { run.pressed = null; this.redraw("runs"); }, 3000);
  }

  // --- the page -------------------------------------------------------------------------------------------------

  build() {
    const say = this.speak.say;
    this.note = make("p", { class: "ml-banner", role: "status" });
    this.note.hidden = true;
    this.rows = new Map(this.runs.map((run) => [run.id, new RunRow(this, run)]));
    const extra = this.data.left_out.map((name) => make("p", { class: "ml-left-out", text: say("left_out", { run: name, most: this.data.most }) }));
    this.views = { learning: this.card("learning"), adaptation: this.card("adaptation"), functions: this.card("functions") };
    this.views.functions.card.hidden = true;
    this.functionsChoice = make("div", { class: "ml-choice", role: "group", "aria-label": say("functions_of") });
    this.views.functions.key.before(this.functionsChoice);
    this.buildLearningControls();
    this.buildScrubber();
    this.buildMetricChoice();
    const grid = make("div", { class: "ml-grid" }, this.views.learning.card, this.views.adaptation.card);
    this.root.replaceChildren(this.note, make("div", { class: "ml-runs" }, ...[...this.rows.values()].map((row) => row.node), ...extra), this.metricChoice, grid, this.views.functions.card);
    for (const view of Object.values(this.views)) this.resizes.observe(view.plot);
  }

  card(name) {
    const say = this.speak.say;
    const plot = make("div", { class: "ml-plot", role: "img", "aria-label": say("waiting") });
    const empty = make("p", { class: "ml-empty", text: say("waiting") });
    const key = make("p", { class: "ml-key" });
    const controls = make("div", { class: "ml-controls" });
    const save = (kind) => make("button", { type: "button", class: "ml-small", title: say(`save_${kind}`), "aria-label": `${say(`save_${kind}`)}: ${say(`title_${name}`)}`, onclick: () => this.save(name, kind) }, icon("download"), kind.toUpperCase());
    const head = make("div", { class: "ml-head" }, make("h3", { text: say(`title_${name}`) }), make("div", { class: "ml-saves" }, save("png"), save("svg"), save("csv")));
    const stage = make("div", { class: "ml-stage" }, plot, empty);
    stage.style.minHeight = `${this.data.height}px`;
    return { card: make("section", { class: `ml-card ml-${name}`, "aria-label": say(`title_${name}`) }, head, key, stage, controls), plot, empty, key, controls, drawn: false };
  }

  buildLearningControls() {
    this.notes = make("p", { class: "ml-notes" });
    this.views.learning.card.append(this.notes);
    const { smoothing, logX, logY } = this.settings;
    const choose = (metric) => make("button", { type: "button", class: "ml-toggle", "data-metric": metric, hidden: true, title: this.speak.say(`${metric}_help`), text: this.speak.say(metric), onclick: () => { this.settings.outer = this.settings.outer === metric ? null : metric; this.redraw("learning"); } });
    this.outerChoice = OUTER_METRICS.map(choose);
    const shown = make("output", { text: smoothing.toFixed(2) });
    const slider = make("input", { type: "range", min: 0, max: 0.99, step: 0.01, value: smoothing, "aria-label": this.speak.say("smoothing"), title: this.speak.say("smoothing_help") });
    slider.oninput = () => { this.settings.smoothing = Number(slider.value); shown.textContent = Number(slider.value).toFixed(2); this.redraw("learning"); };
    this.views.learning.controls.append(
      make("label", { class: "ml-slider" }, make("span", { text: this.speak.say("smoothing") }), slider, shown),
      this.toggle("log_x", logX, (on) => { this.settings.logX = on; this.redraw("learning"); }),
      this.toggle("log_y", logY, (on) => { this.settings.logY = on; this.redraw("learning"); }),
      ...this.outerChoice,
    );
  }

  toggle(text, on, change) {
    const button = make("button", { type: "button", class: "ml-toggle", "aria-pressed": on, title: this.speak.say(`${text}_help`), text: this.speak.say(text) });
    button.onclick = () => {
      const now = button.getAttribute("aria-pressed") !== "true";
      button.setAttribute("aria-pressed", now);
      change(now);
    };
    return button;
  }

  buildScrubber() {
    const say = this.speak.say;
    this.range = make("input", { type: "range", min: 0, max: 0, step: 1, value: 0, class: "ml-range", "aria-label": say("scrubber"), title: say("scrubber_help") });
    this.range.oninput = () => this.scrubTo(Number(this.range.value));
    this.play = make("button", { type: "button", class: "ml-toggle ml-play", "aria-pressed": false, "aria-label": say("play"), title: say("play"), onclick: () => this.playOrPause() }, icon("resume"));
    this.where = make("output", { class: "ml-where" });
    this.live = make("button", { type: "button", class: "ml-toggle ml-follow", "aria-pressed": true, title: say("live_help"), text: say("live"), onclick: () => { this.following = true; this.outerStep = Infinity; this.redraw("adaptation", "functions"); } });
    this.views.adaptation.controls.append(
      make("div", { class: "ml-scrubber" }, this.play, this.range, this.live),
      this.where,
      this.toggle("log_loss", this.settings.logLoss, (on) => { this.settings.logLoss = on; this.redraw("adaptation"); }),
    );
  }

  buildMetricChoice() {
    const say = this.speak.say;
    const choose = (metric) => make("button", { type: "button", class: "ml-toggle", "data-metric": metric, title: say(`${metric}_help`), text: say(metric), onclick: () => { this.settings.metric = metric; this.settings.outer = null; this.redraw("learning", "adaptation"); } });
    this.metricChoice = make("div", { class: "ml-metric", role: "group", "aria-label": say("metric") }, ...METRICS.map(choose));
    this.metricChoice.hidden = true;
  }

  scrubTo(index) {
    const steps = evaluationSteps(this.runs);
    this.following = index >= steps.length - 1;
    this.outerStep = this.following ? Infinity : steps[index];
    this.redraw("adaptation", "functions");
  }

  playOrPause() {
    const playing = this.play.getAttribute("aria-pressed") === "true";
    clearInterval(this.player);
    this.play.setAttribute("aria-pressed", !playing);
    if (playing) return;
    let index = Number(this.range.value) >= Number(this.range.max) ? -1 : Number(this.range.value);
    this.player = setInterval(() => {
      index += 1;
      this.scrubTo(index);
      if (index >= Number(this.range.max)) this.playOrPause();
    }, 350);
  }

  banner(text) {
    this.note.textContent = text;
    this.note.hidden = text === "";
  }

  tick() {
    if (this.runs.some((run) => Object.keys(run.series).length === 0)) this.redraw("learning", "adaptation");
  }

  // --- drawing --------------------------------------------------------------------------------------------------

  redraw(...what) {
    for (const part of what) this.dirty.add(part);
    if (this.frame) return;
    const pause = Math.min(DRAW_EVERY_MS[1], Math.max(DRAW_EVERY_MS[0], 3 * (this.drawTook || 0)));
    const wait = Math.max(0, pause - (performance.now() - (this.lastDraw || 0)));
    this.frame = setTimeout(() => requestAnimationFrame(() => { this.frame = null; this.draw(); }), wait);
  }

  draw() {
    if (!this.root.isConnected || !this.look) return;
    this.lastDraw = performance.now();
    const dirty = this.dirty;
    this.dirty = new Set();
    if (dirty.has("runs")) for (const row of this.rows.values()) row.draw(this.look, this.speak, this.data.commands);
    const metrics = metricsOf(this.runs);
    this.metricChoice.hidden = metrics.length < 2;
    offer(this.metricChoice.children, metrics, this.settings.metric);
    const outer = outerMetricsOf(this.runs);
    if (!outer.includes(this.settings.outer)) this.settings.outer = null;
    offer(this.outerChoice, outer, this.settings.outer);
    if (metrics.length && !metrics.includes(this.settings.metric)) this.settings.metric = "loss";
    if (dirty.has("learning")) this.drawLearning();
    if (dirty.has("adaptation")) this.drawAdaptation();
    if (dirty.has("functions")) this.drawFunctions();
    this.drawTook = performance.now() - this.lastDraw;
  }

  figureState() {
    return { ...this.settings, runs: this.runs, outerStep: this.outerStep, lossLabel: this.data.loss_label };
  }

  drawLearning() {
    const view = this.views.learning;
    const { outer, logX, logY } = this.settings;
    const metric = outer || this.settings.metric;
    drawKey(view.key, learningKey(this.look, this.speak, metric, this.runs));
    this.drawNotes();
    const ready = this.runs.some((run) => Object.keys(run.series).length > 0);
    if (!this.stage(view, ready)) return;
    const range = () => String(view.plot._fullLayout && view.plot._fullLayout.yaxis.range);
    const before = range();
    this.react(view, (size) => learningFigure({ ...this.figureState(), metric }, this.look, { ...size, revision: `${metric} ${logX} ${logY}` }, this.speak), this.data.height);
    if (range() !== before) this.redraw("learning"); // the labels at the lines' ends were placed for the axis as it was
  }

  drawAdaptation() {
    const view = this.views.adaptation;
    const steps = evaluationSteps(this.runs);
    this.drawScrubber(steps);
    drawKey(view.key, adaptationKey(this.look, this.speak, this.runs));
    if (!this.stage(view, steps.length > 0)) return;
    const { metric, logLoss } = this.settings;
    this.react(view, (size) => adaptationFigure(this.figureState(), this.look, { ...size, revision: `${metric} ${logLoss}` }, this.speak), this.data.height);
  }

  drawNotes() {
    const notes = this.runs.flatMap((run) => run.notes).sort((a, b) => a.step - b.step);
    const lines = notes.slice(-NOTES).map((note) => this.speak.say("note", { step: this.speak.number(note.step), text: note.text }));
    this.notes.textContent = lines.join("\n");
    this.notes.hidden = lines.length === 0;
  }

  drawScrubber(steps) {
    const last = Math.max(0, steps.length - 1);
    const index = this.following ? last : Math.max(0, steps.indexOf(this.outerStep));
    this.range.max = last;
    this.range.value = index;
    this.range.disabled = steps.length < 2;
    this.play.disabled = steps.length < 2;
    this.live.setAttribute("aria-pressed", this.following);
    this.where.textContent = steps.length ? this.speak.say("at_outer_step", { step: this.speak.number(steps[index]) }) : "";
    this.range.setAttribute("aria-valuetext", this.where.textContent);
  }

  drawFunctions() {
    const view = this.views.functions;
    const drawable = this.runs.filter((run) => run.probe && run.evaluations.some((evaluation) => evaluation.functions));
    const run = drawable.find(({ id }) => id === this.functionsOf) || drawable[0];
    const ready = Boolean(run);
    this.functionsOf = run?.id;
    const choose = ({ id }) => { this.functionsOf = id; this.redraw("functions"); };
    drawRunChoice(this.functionsChoice, drawable, run, { look: this.look, help: this.speak.say("functions_help"), choose });
    view.card.hidden = !ready;
    if (!this.stage(view, ready)) return;
    drawKey(view.key, functionsKey(this.look, this.speak, run));
    const stacked = view.plot.clientWidth < STACKED;
    const tasks = Math.min(3, run.probe.tasks.length);
    this.react(view, (size) => functionsFigure(run, this.figureState(), this.look, { ...size, revision: "functions" }, this.speak), stacked ? 250 * tasks : Math.round(this.data.height * 0.9));
  }

  // Shows either the plot or the words that stand in for it; true if the plot can be drawn now.
  stage(view, ready) {
    const queued = this.runs.find((run) => run.status.state === "queued");
    const seconds = this.speak.duration((performance.now() - this.began) / 1000);
    view.empty.hidden = ready && Boolean(this.plotly);
    view.plot.style.visibility = ready ? "visible" : "hidden";
    if (!view.empty.hidden) {
      const over = this.runs.every(({ status }) => ["finished", "failed"].includes(status.state));
      const text = queued && queued.status.queue_place ? "queued" : over ? "not_kept" : "waiting_time";
      view.empty.textContent = this.speak.say(text, { place: this.speak.number(queued?.status.queue_place ?? 0), time: seconds });
    }
    return ready && Boolean(this.plotly) && view.plot.clientWidth > 0;
  }

  react(view, figure, height) {
    const size = sizeOf(view.plot, height);
    const { data, layout, summary } = figure(size);
    this.plotly.react(view.plot, data, layout, { displaylogo: false, displayModeBar: size.touch ? false : "hover", modeBarButtons: [["zoom2d", "pan2d", "zoomIn2d", "zoomOut2d", "resetScale2d"]] });
    if (!view.drawn) view.plot.on("plotly_relayout", () => this.redraw("learning"));
    view.drawn = true;
    view.plot.setAttribute("aria-label", summary);
  }

  save(name, kind) {
    const view = this.views[name];
    const filename = `metalab-${name}-${this.runs.map((run) => run.id).join("-").slice(0, 60)}`;
    if (kind !== "csv") {
      if (!view.drawn) return;
      const image = savedPicture(view, this.speak.say(`title_${name}`));
      const { width, height } = image.layout;
      this.plotly.downloadImage(image, { format: kind, scale: kind === "png" ? 2 : 1, width, height, filename });
      return;
    }
    const table = { learning: () => curveRows(this.runs), adaptation: () => adaptationRows(this.runs), functions: () => functionRows(this.runs.find(({ id }) => id === this.functionsOf)) }[name]();
    const link = make("a", { href: URL.createObjectURL(new Blob([csvOf(table.header, table.rows)], { type: "text/csv" })), download: `${filename}.csv` });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  }
}
