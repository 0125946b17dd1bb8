// The stage of a race (metalab/ui/stage.py is its Python side): the score, one player for all figures, the figures.
// Figures are plotly's data, layout and frames; frame k is inner step k. Text from outside is only set as textContent.

const STAGE_ICONS = {
  play: "M8 5v14l11-7z",
  pause: "M6 5h4v14H6zM14 5h4v14h-4z",
  back: "M18 5v14l-9-7zM5 5h3v14H5z",
  forward: "M6 5v14l9-7zM16 5h3v14h-3z",
};
const TELL_MS = 120;
const SETTLE_MS = 600;
const WHOLE_SHOW_MS = 5000;
const NARROW = 360;

function node(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made[name] = value;
    else if (name === "text") made.textContent = value;
    else made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

function picture(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  path.setAttribute("d", STAGE_ICONS[name]);
  svg.append(path);
  return svg;
}

function plotlyFrom(url) {
  window.metalabPlotly ||= new Promise((loaded, failed) => {
    const script = node("script", { src: url });
    script.onload = () => loaded(window.Plotly);
    script.onerror = () => { window.metalabPlotly = undefined; failed(new Error(`could not load ${url}`)); };
    document.head.append(script);
  });
  return window.metalabPlotly;
}

const words = (sentence, values) => sentence.replace(/\{(\w+)\}/g, (whole, name) => (name in values ? values[name] : whole));

class Stage {
  constructor(root) {
    this.root = root;
    this.cards = new Map();
    this.step = null;
    this.told = null;
    this.observer = new ResizeObserver(() => this.draw());
    this.watcher = new IntersectionObserver((entries) => this.seen(entries), { rootMargin: "150px" });
    this.build();
  }

  build() {
    this.score = node("ul", { class: "score" });
    this.trouble = node("p", { class: "trouble", role: "status" });
    const control = (name, act) => node("button", { type: "button", class: name, onclick: act }, picture(name));
    this.buttons = {
      back: control("back", () => this.go(this.now() - 1)),
      play: control("play", () => this.playOrPause()),
      forward: control("forward", () => this.go(this.now() + 1)),
    };
    this.range = node("input", { type: "range", min: 0, step: 1, oninput: () => this.go(Number(this.range.value)) });
    this.where = node("output");
    this.player = node("div", { class: "player", role: "group" }, ...Object.values(this.buttons), this.range, this.where);
    this.grid = node("div", { class: "cards" });
    this.root.replaceChildren(this.score, this.player, this.trouble, this.grid);
    this.observer.observe(this.root);
  }

  // Runs at each rerun that changes the data, and when the theme changes.
  update(data, send) {
    this.send = send;
    if (this.raw !== data) {
      this.raw = data;
      this.data = unpacked(data);
      if (data.revision !== this.revision) {
        this.revision = data.revision;
        this.pause();
        this.step = this.told = data.step;
      }
    }
    clearTimeout(this.settling);
    if (data.settle) this.settling = setTimeout(() => this.send({ ...this.value(), settled: performance.now() }), SETTLE_MS);
    this.label();
    this.arrange();
    plotlyFrom(data.plotly).then(
      (plotly) => { this.plotly = plotly; this.draw(); },
      () => { this.trouble.textContent = data.text.no_plotly; },
    );
  }

  stop() {
    this.pause();
    clearTimeout(this.telling);
    clearTimeout(this.settling);
    this.observer.disconnect();
    this.watcher.disconnect();
    clearTimeout(this.drawing);
    for (const { plot } of this.cards.values()) this.plotly?.purge(plot);
  }

  // ---- the player: `step` is null while it follows the last inner step ----

  now() {
    return Math.min(this.step ?? this.data.steps, this.data.steps);
  }

  go(step) {
    this.pause();
    this.show(step);
  }

  show(step) {
    const { steps } = this.data;
    const k = Math.min(Math.max(step, 0), steps);
    this.step = k === steps ? null : k;
    this.draw();
    clearTimeout(this.telling);
    this.telling = setTimeout(() => this.tell(), TELL_MS);
  }

  // Python hears of the step when it rests, or, where the canvas above shows it too, at each step.
  tell() {
    if ((this.timer && !this.data.follow) || this.told === this.step) return;
    this.told = this.step;
    this.send(this.value());
  }

  value() {
    return { revision: this.revision, step: this.step };
  }

  playOrPause() {
    if (this.timer) { this.pause(); this.tell(); this.draw(); return; }
    if (this.now() >= this.data.steps) this.show(0);
    const pause = Math.max(100, Math.min(650, WHOLE_SHOW_MS / Math.max(this.data.steps, 1)));
    this.timer = setInterval(() => {
      if (this.now() + 1 >= this.data.steps) this.pause();
      this.show(this.now() + 1);
    }, pause);
    this.draw();
  }

  pause() {
    clearInterval(this.timer);
    this.timer = null;
  }

  // ---- drawing ----

  label() {
    const { text } = this.data;
    for (const name of ["back", "forward"]) {
      this.buttons[name].title = text[name];
      this.buttons[name].setAttribute("aria-label", text[name]);
    }
    this.player.setAttribute("aria-label", text.player);
    this.range.setAttribute("aria-label", text.inner_step);
    this.range.max = this.data.steps;
    this.trouble.textContent = this.data.trouble;
  }

  arrange() {
    const wanted = this.data.pictures.map(({ name }) => name);
    for (const [name, card] of this.cards) {
      if (wanted.includes(name)) continue;
      this.plotly?.purge(card.plot);
      this.watcher.unobserve(card.section);
      card.section.remove();
      this.cards.delete(name);
    }
    this.data.pictures.forEach((one, n) => {
      if (!this.cards.has(one.name)) this.cards.set(one.name, this.card(one.name));
      const card = this.cards.get(one.name);
      card.picture = one;
      card.drawn = null;
      card.section.className = `card ${one.place}`;
      card.section.setAttribute("aria-label", one.title);
      card.title.textContent = one.title;
      card.alt.textContent = one.alt;
      card.plot.setAttribute("aria-label", one.alt);
      for (const kind of ["png", "csv"]) {
        card[kind].title = this.data.text[kind];
        card[kind].setAttribute("aria-label", `${this.data.text[kind]}: ${one.title}`);
      }
      if (this.grid.children[n] !== card.section) this.grid.insertBefore(card.section, this.grid.children[n] ?? null);
    });
  }

  card(name) {
    const title = node("h3");
    const plot = node("div", { class: "plot", role: "img" });
    const key = node("div", { class: "key", "aria-hidden": "true" });
    const alt = node("p", { class: "alt" });
    const png = node("button", { type: "button", text: "PNG", onclick: () => this.savePng(name) });
    const csv = node("button", { type: "button", text: "CSV", onclick: () => this.saveCsv(name) });
    const head = node("div", { class: "head" }, title, node("div", { class: "saves" }, png, csv));
    const section = node("section", { "data-name": name }, head, key, plot, alt);
    this.watcher.observe(section);
    return { section, title, plot, key, alt, png, csv, near: true };
  }

  seen(entries) {
    for (const { target, isIntersecting } of entries) {
      const card = this.cards.get(target.dataset.name);
      if (card) card.near = isIntersecting;
    }
    this.drawCards();
  }

  draw() {
    if (!this.data || !this.root.isConnected || !this.root.clientWidth) return;
    const k = this.now();
    const { text, steps } = this.data;
    this.range.value = k;
    this.where.textContent = words(text.where, { step: k, steps });
    this.range.setAttribute("aria-valuetext", this.where.textContent);
    const playing = Boolean(this.timer);
    const says = playing ? text.pause : text.play;
    if (this.buttons.play.title !== says) {
      this.buttons.play.replaceChildren(picture(playing ? "pause" : "play"));
      this.buttons.play.title = says;
      this.buttons.play.setAttribute("aria-label", says);
    }
    this.buttons.back.disabled = k === 0;
    this.buttons.forward.disabled = k === steps;
    const look = readStageLook(this.root, this.data.dark);
    this.drawScore(k, look);
    this.drawCards();
  }

  // One figure at a time, so that the first is on the screen before the next is begun; none that nobody can see.
  drawCards() {
    clearTimeout(this.drawing);
    if (!this.plotly || !this.data) return;
    const look = readStageLook(this.root, this.data.dark);
    const waiting = [...this.cards.values()].filter((card) => card.near);
    const next = () => {
      while (waiting.length) if (this.drawCard(waiting.shift(), this.now(), look)) break;
      if (waiting.length) this.drawing = setTimeout(next);
      else this.root.dataset.drawn = `${this.drawings = (this.drawings ?? 0) + 1}`;
    };
    next();
  }

  drawScore(k, look) {
    const { lanes, metric, text } = this.data;
    const values = lanes.map((lane) => lane.values[k]);
    const finite = values.filter((value) => value !== null);
    const best = metric.best === "high" ? Math.max(...finite) : Math.min(...finite);
    this.score.replaceChildren(...lanes.map((lane, n) => {
      const value = values[n];
      const shown = value === null ? "∞" : metric.percent ? `${Math.round(value * 100)}%` : scored(value);
      const who = node("div", { class: "who" }, node("span", { text: lane.label }));
      if (lanes.length > 1 && value === best) who.append(node("span", { class: "first", text: text.best }));
      const item = node("li", {}, who, node("div", { class: "value", text: shown }), node("div", { class: "what", text: metric.label }));
      item.style.setProperty("--own", look.paint(lane.colour));
      return item;
    }));
  }

  /** Whether there was anything to draw. */
  drawCard(card, k, look) {
    const width = Math.floor(card.plot.clientWidth);
    if (!width) return false;
    const { figure, aspect, height, name } = card.picture;
    const state = `${k} ${width} ${look.dark}`;
    if (card.drawn === state) return false;
    card.drawn = state;
    const tall = aspect ? Math.min(width * aspect + 32, 900) : width < 480 ? Math.min(height, 300) : height;
    const { data, layout } = figureAt(figure, k, look, { width, height: tall, revision: name });
    this.drawKey(card, width, look);
    const touch = matchMedia("(pointer: coarse)").matches;
    this.plotly.react(card.plot, data, layout, { displaylogo: false, displayModeBar: touch || aspect ? false : "hover", modeBarButtons: [["zoom2d", "pan2d", "resetScale2d"]] });
    return true;
  }

  // Where the figure is too narrow for names at the lines' ends, they stand above it.
  drawKey(card, width, look) {
    const { key, figure } = card.picture;
    const items = key.map(({ look: kind, text }) => node("span", {}, node("i", { class: kind }), text));
    if (width < NARROW && hasEndLabels(figure.layout)) {
      for (const lane of this.data.lanes) {
        const item = node("span", {}, node("i", { class: "own" }), lane.label);
        item.style.setProperty("--own", look.paint(lane.colour));
        items.push(item);
      }
    }
    card.key.replaceChildren(...items);
  }

  // ---- saving ----

  savePng(name) {
    const { picture: one, plot } = this.cards.get(name);
    const look = readStageLook(this.root, this.data.dark);
    const width = Math.max(plot.clientWidth, 480);
    const height = (one.aspect ? Math.min(width * one.aspect + 32, 1400) : one.height) + 70;
    const { data, layout } = figureAt(one.figure, this.now(), look, { width, height, revision: name });
    layout.paper_bgcolor = look.background;
    layout.margin = { ...layout.margin, t: (layout.margin?.t ?? 10) + 60 };
    layout.title = { text: escaped(`${one.title} (${this.where.textContent})`), x: 0.02, xanchor: "left", y: 0.98, yanchor: "top", font: { size: 17 } };
    this.plotly.downloadImage({ data, layout }, { format: "png", scale: 2, width, height, filename: `metalab-adapt-${name}` });
  }

  saveCsv(name) {
    const { picture: one } = this.cards.get(name);
    const link = node("a", { href: URL.createObjectURL(new Blob([csvText(one)], { type: "text/csv" })), download: `metalab-adapt-${name}.csv` });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  }
}

function scored(value) {
  if (value >= 1e4) return value.toExponential(1);
  return value < 0.001 && value > 0 ? "< 0.001" : value.toPrecision(3);
}

// ---- figures ----

/** Arrays come as {dtype, bdata, shape}: rows of a matrix become arrays of their own, which plotly wants. */
function unpacked(value) {
  if (Array.isArray(value)) return value.map(unpacked);
  if (value === null || typeof value !== "object") return value;
  if (typeof value.bdata !== "string") return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, unpacked(inner)]));
  const bytes = Uint8Array.from(atob(value.bdata), (letter) => letter.charCodeAt(0));
  const kind = { f4: Float32Array, u1: Uint8Array, i2: Int16Array, i4: Int32Array }[value.dtype];
  const flat = new kind(bytes.buffer);
  if (value.shape.length === 1) return flat;
  const [rows, columns] = value.shape;
  return Array.from({ length: rows }, (_, row) => flat.subarray(row * columns, (row + 1) * columns));
}

/** The figure at frame k in the page's colours and size. */
function figureAt({ data, layout, frames }, k, look, { width, height, revision }) {
  const frame = frames?.[k];
  const merged = data.map((trace) => ({ ...trace }));
  frame?.data.forEach((part, i) => Object.assign(merged[frame.traces[i]], part));
  const painted = look.paint({ data: merged, layout });
  const unlabelled = width < NARROW && hasEndLabels(layout);
  const annotations = (painted.layout.annotations ?? []).filter(({ name }) => !(unlabelled && name === "end"));
  const margin = unlabelled ? { ...painted.layout.margin, r: 14 } : painted.layout.margin;
  return {
    data: painted.data,
    layout: { ...painted.layout, annotations, margin, width, height, uirevision: revision, font: { ...painted.layout.font, family: look.font }, hoverlabel: { ...painted.layout.hoverlabel, bgcolor: look.surface, bordercolor: look.border, font: { size: 15, color: look.text, family: look.font } } },
  };
}

const hasEndLabels = ({ annotations }) => Boolean(annotations?.some(({ name }) => name === "end"));

function readStageLook(root, darkOf) {
  const style = getComputedStyle(root);
  const background = style.getPropertyValue("--st-background-color").trim() || "#ffffff";
  const pen = document.createElement("canvas").getContext("2d");
  pen.fillStyle = background;
  const [r, g, b] = pen.fillStyle.startsWith("#") ? [1, 3, 5].map((i) => parseInt(pen.fillStyle.slice(i, i + 2), 16)) : [255, 255, 255];
  const dark = 0.2126 * r + 0.7152 * g + 0.0722 * b < 128;
  const swap = { ...darkOf, "#FFFFFF": background };
  const paint = (value) => {
    if (typeof value === "string") return dark ? swap[value] ?? value : value;
    if (value === null || typeof value !== "object" || ArrayBuffer.isView(value)) return value;
    if (Array.isArray(value)) return typeof value.at(-1) === "number" || ArrayBuffer.isView(value[0]) ? value : value.map(paint);
    return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, paint(inner)]));
  };
  return {
    dark, paint, background, font: style.fontFamily,
    text: style.getPropertyValue("--st-text-color").trim() || "#16202b",
    surface: style.getPropertyValue("--st-secondary-background-color").trim() || background,
    border: "rgba(127,139,151,0.5)",
  };
}

function escaped(text) {
  return text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
}

/** Every point of a figure: its series, its inner step (empty where it is the same at all), its values. */
function rowsOf({ data, frames }) {
  return data.flatMap((trace, i) => {
    if (trace.meta?.csv === false) return [];
    const at = frames?.[0]?.traces.indexOf(i) ?? -1;
    const versions = at < 0 ? [["", trace]] : frames.map((frame, k) => [k, { ...trace, ...frame.data[at] }]);
    return versions.flatMap(([k, version]) => valuesOf(version).map((values) => [trace.name ?? "", k, ...values]));
  });
}

function valuesOf({ type, mode, x, y, z, text, customdata }) {
  if (type === "heatmap") return z.flatMap((row, r) => Array.from(row, (value, c) => [y[r], x[c], value]));
  if (mode === "text") return text.map((answer, i) => [customdata[i], answer]);
  return Array.from(x, (value, i) => [value, y[i]]);
}

// A spreadsheet runs a cell that begins like a formula: such a text is made to begin with an apostrophe.
function csvText({ figure, columns }) {
  const cell = (value) => {
    if (value === null || value === undefined) return "";
    if (typeof value === "number") return String(value);
    const plain = value.replace(/<\/?sub>/g, "").replace(/&lt;/g, "<").replace(/&gt;/g, ">").replace(/&amp;/g, "&");
    const text = /^[=+\-@\t\r]/.test(plain) ? `'${plain}` : plain;
    return /[",\n\r]/.test(text) ? `"${text.replace(/"/g, '""')}"` : text;
  };
  const rows = rowsOf(figure);
  const framed = rows.some(([, k]) => k !== "");
  const table = framed ? [["series", "inner_step", ...columns], ...rows] : [["series", ...columns], ...rows.map(([series, , ...values]) => [series, ...values])];
  return table.map((row) => row.map(cell).join(",")).join("\r\n") + "\r\n";
}

const stages = new WeakMap();

export default function ({ parentElement, data, setStateValue }) {
  const root = parentElement.querySelector(".ml-stage");
  if (!stages.has(root)) stages.set(root, new Stage(root));
  const stage = stages.get(root);
  stage.update(data, (value) => setStateValue("player", value));
  return () => { setTimeout(() => { if (!root.isConnected) stage.stop(); }, 1000); };
}
