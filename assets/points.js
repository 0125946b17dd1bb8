// The points canvas: what people do on it (points_draw.js draws it; metalab/ui/canvas/points.py is its Python side).

const LIVE_MS = 100;
const GRAB = { mouse: 14, touch: 24, pen: 18 };
const HISTORY = 100;

class Plot extends PlotDrawing {
  constructor(root, data) {
    super();
    this.root = root;
    this.sender = new Sender(LIVE_MS);
    this.nextId = 0;
    this.nodes = new Map();
    this.selected = null;
    this.drag = null;
    this.revision = null;
    this.build(data.text);
    this.observer = new ResizeObserver(() => this.render());
    this.observer.observe(this.frame);
  }

  build(text) {
    this.layers = ["grid", "curves", "marks", "labels"].map((name) => make("g", { class: name }));
    [this.grid, this.lines, this.marks, this.labels] = this.layers;
    this.clipId = `clip-${Math.random().toString(36).slice(2)}`;
    this.clip = make("rect");
    this.lines.setAttribute("clip-path", `url(#${this.clipId})`);
    this.hint = make("text", { class: "hint", "text-anchor": "middle" });
    this.svg = make("svg", { class: "plot", role: "group" },
      make("clipPath", { id: this.clipId }, this.clip), this.grid, this.lines, this.labels, this.hint, this.marks);
    this.frame = make("div", { class: "frame" }, this.svg);
    this.legend = make("div", { class: "legend", "aria-hidden": "true" });
    this.buttons = {
      add: button("add", text.add, text.add, () => this.addByButton()),
      remove: button("remove", text.remove, text.remove, () => this.remove(this.selected)),
      undo: button("undo", text.undo, text.undo, () => this.undo()),
      clear: button("clear", text.clear, text.clear, () => this.clear()),
    };
    this.readout = make("span", { class: "readout" });
    this.bar = make("div", { class: "bar", role: "toolbar" }, ...Object.values(this.buttons), this.readout);
    this.live = make("div", { class: "hidden-text", "aria-live": "polite" });
    this.notice = make("p", { class: "notice", role: "status" });
    this.root.append(this.frame, this.legend, this.bar, this.notice, this.live);
    this.svg.addEventListener("pointerdown", (event) => this.down(event));
    this.svg.addEventListener("pointermove", (event) => this.move(event));
    this.svg.addEventListener("pointerup", (event) => this.up(event));
    this.svg.addEventListener("pointercancel", () => this.cancel());
    this.svg.addEventListener("pointerleave", () => this.hover(null));
    this.svg.addEventListener("dblclick", (event) => this.removeAt(event));
    this.svg.addEventListener("contextmenu", (event) => this.removeAt(event));
    this.svg.addEventListener("keydown", (event) => this.key(event));
    holdScroll(this.svg, () => this.drag?.id !== undefined);
  }

  update(data, send) {
    this.data = data;
    if (this.revision !== data.revision) {
      this.revision = data.revision;
      this.points = data.points.map(([x, y]) => ({ id: (this.nextId += 1), x, y, born: 0 }));
      this.past = [];
      this.drag = this.selected = null;
      this.sender.stop();
    }
    this.notice.textContent = data.problem;
    this.sender.connect(send, data.seq);
    this.render();
  }

  stop() {
    this.sender.stop();
    this.observer.disconnect();
  }

  // ---- changes ----

  value() {
    return { revision: this.revision, points: this.points.map(({ x, y }) => [round(x), round(y)]) };
  }

  remember(points = this.points) {
    this.past.push(points.map((point) => ({ ...point })));
    if (this.past.length > HISTORY) this.past.shift();
  }

  commit(message = "") {
    this.live.textContent = message;
    this.sender.now(this.value());
    this.render();
  }

  place(x, y) {
    if (this.points.length >= this.data.max_points) {
      this.notice.textContent = this.data.text.full;
      return null;
    }
    this.remember();
    const point = { id: (this.nextId += 1), x: round(x), y: round(y), born: performance.now() };
    this.points.push(point);
    this.selected = point.id;
    return point;
  }

  sayAdded({ x, y }) {
    return fill(this.data.text.added, { x: x.toFixed(2), y: y.toFixed(2) });
  }

  /** Without a mouse: in the middle of the widest stretch that has no point yet. */
  addByButton() {
    const [low, high] = this.data.x_range;
    const xs = [low, ...this.points.map((point) => point.x).sort((a, b) => a - b), high];
    let best = 1;
    for (let n = 1; n < xs.length; n += 1) if (xs[n] - xs[n - 1] > xs[best] - xs[best - 1]) best = n;
    const point = this.place((xs[best] + xs[best - 1]) / 2, clamp(0, this.data.y_range));
    if (!point) return;
    this.commit(this.sayAdded(point));
    this.nodes.get(point.id).focus();
  }

  remove(id) {
    const at = this.points.findIndex((point) => point.id === id);
    if (at < 0) return;
    const focused = this.nodes.get(id)?.contains(this.root.getRootNode().activeElement);
    this.remember();
    this.points.splice(at, 1);
    this.drag = this.selected = null;
    this.commit(this.data.text.removed);
    const next = this.points[Math.min(at, this.points.length - 1)];
    if (focused && next) this.nodes.get(next.id).focus();
    else if (focused) this.buttons.add.focus();
  }

  undo() {
    if (!this.past.length) return;
    this.points = this.past.pop();
    this.drag = null;
    this.commit(this.data.text.undone);
  }

  clear() {
    if (!this.points.length) return;
    this.remember();
    this.points = [];
    this.drag = this.selected = null;
    this.commit(this.data.text.cleared);
  }

  // ---- pointer and keyboard ----

  position(event) {
    const box = this.svg.getBoundingClientRect();
    return { px: event.clientX - box.left, py: event.clientY - box.top };
  }

  inside({ px, py }) {
    const { left, top, width, height } = this.area;
    return px >= left - 6 && px <= left + width + 6 && py >= top - 6 && py <= top + height + 6;
  }

  hit({ px, py }, kind) {
    let best = null;
    let reach = GRAB[kind] ?? GRAB.touch;
    for (const point of this.points) {
      const away = Math.hypot(this.toX(point.x) - px, this.toY(point.y) - py);
      if (away <= reach) [best, reach] = [point, away];
    }
    return best;
  }

  down(event) {
    if (this.drag || event.button !== 0) return;
    const at = this.position(event);
    const found = this.hit(at, event.pointerType);
    if (found) {
      this.grab(found, event, this.points.map((point) => ({ ...point })));
      this.nodes.get(found.id).focus({ preventScroll: true });
    } else if (event.pointerType === "mouse" && this.inside(at)) {
      const point = this.place(this.fromX(at.px), this.fromY(at.py));
      if (!point) return;
      this.grab(point, event, null);
      this.commit(this.sayAdded(point));
      this.nodes.get(point.id).focus({ preventScroll: true });
    } else if (this.inside(at)) {
      // A finger on empty ground may be about to scroll the page: it places a point only when lifted in place.
      this.drag = { pointer: event.pointerId, tap: at };
      return;
    }
    event.preventDefault();
  }

  grab(point, event, before) {
    const at = this.position(event);
    this.svg.setPointerCapture(event.pointerId);
    this.drag = {
      pointer: event.pointerId, id: point.id, before, moved: false,
      dx: this.toX(point.x) - at.px, dy: this.toY(point.y) - at.py, start: at,
    };
    this.selected = point.id;
    this.render();
  }

  move(event) {
    const at = this.position(event);
    const drag = this.drag;
    if (!drag || drag.pointer !== event.pointerId) {
      if (event.pointerType === "mouse") this.hover(at);
      return;
    }
    if (drag.tap) return;
    if (!drag.moved && Math.hypot(at.px - drag.start.px, at.py - drag.start.py) < 3) return;
    const point = this.points.find(({ id }) => id === drag.id);
    if (!drag.moved && drag.before) this.remember(drag.before);
    drag.moved = true;
    point.x = round(this.fromX(at.px + drag.dx));
    point.y = round(this.fromY(at.py + drag.dy));
    this.renderPoints();
    this.sender.soon(this.value());
  }

  up(event) {
    const drag = this.drag;
    if (!drag || drag.pointer !== event.pointerId) return;
    this.drag = null;
    if (drag.moved) this.commit();
    else if (drag.tap) {
      const at = this.position(event);
      if (Math.hypot(at.px - drag.tap.px, at.py - drag.tap.py) > 12) return;
      const point = this.place(this.fromX(at.px), this.fromY(at.py));
      if (point) this.commit(this.sayAdded(point));
    }
    this.render();
  }

  cancel() {
    const drag = this.drag;
    this.drag = null;
    if (drag?.moved) this.commit();
  }

  removeAt(event) {
    const point = this.hit(this.position(event), event.pointerType ?? "mouse");
    if (!point) return;
    event.preventDefault();
    // The second click of a double click that has just placed this point is no wish to remove it.
    if (event.type === "dblclick" && performance.now() - point.born < 600) return;
    this.drag = null;
    this.remove(point.id);
  }

  key(event) {
    const mark = event.target.closest(".mark");
    const point = mark && this.points.find(({ id }) => String(id) === mark.dataset.id);
    if (!point || event.ctrlKey || event.metaKey || event.altKey) return;
    const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
    if (way) {
      const { x_range: xs, y_range: ys } = this.data;
      const size = event.shiftKey ? 10 : 1;
      if (!event.repeat) this.remember();
      point.x = round(clamp(point.x + (way[0] * size * (xs[1] - xs[0])) / 100, xs));
      point.y = round(clamp(point.y + (way[1] * size * (ys[1] - ys[0])) / 100, ys));
      this.renderPoints();
      if (event.repeat) this.sender.soon(this.value());
      else this.sender.now(this.value());
    } else if (event.key === "Delete" || event.key === "Backspace") this.remove(point.id);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  hover(at) {
    const free = at && this.inside(at);
    this.svg.style.cursor = at && this.hit(at, "mouse") ? "grab" : free ? "crosshair" : "";
    this.showReadout(free ? { x: this.fromX(at.px), y: this.fromY(at.py) } : null);
  }
}

const plots = new WeakMap();

export default function ({ parentElement, data, setStateValue }) {
  const root = parentElement.querySelector(".points");
  if (!plots.has(root)) plots.set(root, new Plot(root, data));
  const plot = plots.get(root);
  plot.update(data, (value) => setStateValue("points", value));
  // Streamlit also calls this when a newer call overtook ours: only a root that left the page is finished with.
  return () => { if (!root.isConnected) plot.stop(); };
}
