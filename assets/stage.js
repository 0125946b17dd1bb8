// The stage of a race (metalab/ui/stage.py is its Python side): the score, one player for all figures, the figures.
// Figures (stage_figures.js) are plotly's data, layout and frames; frame k is inner step k. Text from outside is only set as textContent.

const STAGE_ICONS = {
  play: "M8 5v14l11-7z",
  pause: "M6 5h4v14H6zM14 5h4v14h-4z",
  back: "M18 5v14l-9-7zM5 5h3v14H5z",
  forward: "M6 5v14l9-7zM16 5h3v14h-3z",
};
const TELL_MS = 120;
const SETTLE_MS = 600;
const WHOLE_SHOW_MS = 5000;
const MOST_PICKED = 1000;

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
  update(data, send, sendPick) {
    this.send = send;
    this.sendPick = sendPick;
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
    const library = data.pictures.some(({ figure }) => figure.layout.scene) ? data.whole_plotly : data.plotly;
    this.library = library;
    chartLibrary(library).then(
      (plotly) => { if (this.library === library) this.drawWith(plotly); },
      () => { this.trouble.textContent = data.text.no_plotly; },
    );
  }

  // What one library drew another cannot change.
  drawWith(plotly) {
    if (this.plotly && this.plotly !== plotly) {
      for (const card of this.cards.values()) {
        this.plotly.purge(card.plot);
        card.drawn = card.listening = null;
      }
    }
    this.plotly = plotly;
    this.drawsWith = this.library;
    this.draw();
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
    this.range.setAttribute("aria-label", text.step);
    this.range.title = text.step;
    this.range.max = this.data.steps;
    this.trouble.textContent = this.data.trouble;
    this.player.hidden = this.data.steps === 0;
    this.score.hidden = this.data.lanes.length === 0;
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
      for (const kind of ["png", "svg", "csv"]) {
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
    const png = node("button", { type: "button", text: "PNG", onclick: () => this.saveImage(name, "png") });
    const svg = node("button", { type: "button", text: "SVG", onclick: () => this.saveImage(name, "svg") });
    const csv = node("button", { type: "button", text: "CSV", onclick: () => this.saveCsv(name) });
    const head = node("div", { class: "head" }, title, node("div", { class: "saves" }, png, svg, csv));
    const section = node("section", { "data-name": name }, head, key, plot, alt);
    this.watcher.observe(section);
    return { section, title, plot, key, alt, png, svg, csv, near: true };
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
    const { text, steps, counts } = this.data;
    this.range.value = k;
    this.where.textContent = words(text.where, { step: counts[k] ?? k, steps: counts[steps] ?? steps });
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
    if (!this.plotly || this.drawsWith !== this.library || !this.data) return;
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
    const { figure, aspect, height, name } = fitting(card.picture, width);
    const state = `${k} ${width} ${look.dark}`;
    if (card.drawn === state) return false;
    card.drawn = state;
    const tall = aspect ? Math.min(width * aspect + 32, 1150) : width < 480 ? Math.min(height, 300) : height;
    const touch = matchMedia("(pointer: coarse)").matches;
    const { pickable } = this.data;
    const lasso = pickable && Boolean(figure.layout.dragmode);
    const { data, layout } = figureAt(figure, k, look, { width, height: tall, revision: name, touch, lasso });
    this.drawKey(card, width, look);
    const bar = touch ? lasso : aspect && !pickable ? false : "hover";
    const flat = ["zoom2d", "pan2d", "resetScale2d", ...(pickable ? ["lasso2d", "select2d"] : [])];
    const buttons = figure.layout.scene ? ["orbitRotation", "zoom3d", "pan3d", "resetCameraDefault3d"] : flat;
    const drawing = this.plotly.react(card.plot, data, layout, { displaylogo: false, displayModeBar: bar, modeBarButtons: [buttons] });
    if (pickable && !card.listening) {
      card.listening = true;
      drawing.then(() => {
        card.plot.on("plotly_click", (event) => this.pick(name, "click", event));
        card.plot.on("plotly_selected", (event) => this.pick(name, "lasso", event));
        card.plot.on("plotly_deselect", () => this.pick(name, "lasso", null));
      });
    }
    return true;
  }

  // What of a figure was clicked or encircled; drawing anew while a circle is drawn also says "selected", with nothing.
  pick(name, how, event) {
    if (event === undefined) return;
    const points = (event?.points ?? []).slice(0, MOST_PICKED).map(({ curveNumber, x, y, customdata }) => ({ curve: curveNumber, x, y, data: customdata ?? null }));
    this.picks = (this.picks ?? 0) + 1;
    this.sendPick({ revision: this.revision, seq: this.picks, picture: name, how, points });
  }

  // Where the figure is too narrow for names at the lines' ends, they stand above it.
  drawKey(card, width, look) {
    const { key, figure } = card.picture;
    const items = key.map(({ look: kind, text }) => node("span", {}, node("i", { class: kind }), text));
    if (width < NARROW && hasEndLabels(figure.layout)) {
      const ends = figure.layout.annotations.filter(isEnd).map(({ text, font, name }) => ({ label: unescaped(text), colour: font?.color ?? look.text, dash: name.slice(4) }));
      for (const { label, colour, dash } of this.data.lanes.length ? this.data.lanes : ends) {
        const item = node("span", {}, node("i", { class: `own ${dash ?? ""}` }), label);
        item.style.setProperty("--own", look.paint(colour));
        items.push(item);
      }
    }
    card.key.replaceChildren(...items);
  }

  // ---- saving ----

  saveImage(name, format) {
    const { picture: one, plot } = this.cards.get(name);
    const look = readStageLook(this.root, this.data.dark);
    const width = Math.max(plot.clientWidth, 480);
    const key = savedKey(one.key, width);
    const room = 60 + 18 * Math.max(key.length - 1, 0);
    const height = (one.aspect ? Math.min(width * one.aspect + 32, 1400) : one.height) + room + 10;
    const { data, layout } = figureAt(one.figure, this.now(), look, { width, height, revision: name });
    layout.paper_bgcolor = look.background;
    layout.margin = { ...layout.margin, t: (layout.margin?.t ?? 10) + room };
    layout.title = titled(this.data.steps ? `${one.title} (${this.where.textContent})` : one.title, key);
    this.plotly.downloadImage({ data, layout }, { format, scale: format === "png" ? 2 : 1, width, height, filename: `metalab-${this.data.prefix}-${name}` });
  }

  saveCsv(name) {
    const { picture: one } = this.cards.get(name);
    const link = node("a", { href: URL.createObjectURL(new Blob([csvText(one, this.data.column, this.data.counts)], { type: "text/csv" })), download: `metalab-${this.data.prefix}-${name}.csv` });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  }
}

const stages = new WeakMap();

export default function ({ parentElement, data, setStateValue }) {
  const root = parentElement.querySelector(".ml-stage");
  if (!stages.has(root)) stages.set(root, new Stage(root));
  const stage = stages.get(root);
  stage.update(data, (value) => setStateValue("player", value), (value) => setStateValue("pick", value));
  return () => { setTimeout(() => { if (!root.isConnected) stage.stop(); }, 1000); };
}
