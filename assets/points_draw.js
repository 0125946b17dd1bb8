// The points canvas: drawing. An SVG plot, the model's curves behind, the points in front.

const clamp = (value, [low, high]) => Math.min(Math.max(value, low), high);
const round = (value) => Math.round(value * 1000) / 1000;

/** About `count` round numbers across [low, high]. */
function ticks([low, high], count) {
  const rough = (high - low) / Math.max(count, 1);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((factor) => factor * power >= rough * 0.999);
  const out = [];
  for (let n = Math.ceil(low / step - 1e-9); n * step <= high + step * 1e-9; n += 1) out.push(round(n * step));
  return out;
}

/** A number as it is read: a real minus sign. */
const shown = (value, digits) => (digits === undefined ? String(value) : value.toFixed(digits)).replace("-", "\u2212");

class PlotDrawing {
  toX(x) {
    const [low, high] = this.data.x_range;
    return this.area.left + ((x - low) / (high - low)) * this.area.width;
  }

  toY(y) {
    const [low, high] = this.data.y_range;
    return this.area.top + ((high - y) / (high - low)) * this.area.height;
  }

  fromX(px) {
    const [low, high] = this.data.x_range;
    return clamp(low + ((px - this.area.left) / this.area.width) * (high - low), this.data.x_range);
  }

  fromY(py) {
    const [low, high] = this.data.y_range;
    return clamp(high - ((py - this.area.top) / this.area.height) * (high - low), this.data.y_range);
  }

  /** Sizes grow with the plot: letters that fit a phone are too small for the back row of a lecture hall. */
  layOut() {
    const width = this.frame.clientWidth;
    this.narrow = width < 560;
    this.font = Math.min(Math.max(width / 58, 13), 19);
    this.full = { width, height: Math.min(this.data.height, Math.max(width * 0.95, 240)) };
    const named = this.narrow ? [] : this.data.curves.filter((curve) => curve.label);
    const letters = Math.max(0, ...named.map((curve) => Math.min(curve.label.length, 22)));
    const right = letters ? Math.min(letters * this.font * 0.62 + 30, width * 0.32) : 14;
    this.area = { left: this.font * 2.9, top: 12, right, bottom: this.font * 2.9 };
    this.area.width = width - this.area.left - right;
    this.area.height = this.full.height - this.area.top - this.area.bottom;
  }

  render() {
    if (!this.data || this.frame.clientWidth < 60) return;
    this.layOut();
    const { width, height } = this.full;
    for (const [name, value] of Object.entries({ width, height, viewBox: `0 0 ${width} ${height}` })) {
      this.svg.setAttribute(name, value);
    }
    this.svg.setAttribute("aria-label", this.data.text.plot);
    this.svg.style.fontSize = `${this.font}px`;
    const { left, top } = this.area;
    for (const [name, value] of Object.entries({ x: left, y: top, width: this.area.width, height: this.area.height })) {
      this.clip.setAttribute(name, value);
    }
    this.renderGrid();
    this.renderCurves();
    this.renderPoints();
  }

  renderGrid() {
    const { left, top, width, height } = this.area;
    const parts = [make("rect", { class: "paper", x: left, y: top, width, height, rx: 6 })];
    for (const x of ticks(this.data.x_range, width / (this.font * 4.5))) {
      const at = this.toX(x);
      parts.push(make("line", { class: x === 0 ? "axis" : "rule", x1: at, x2: at, y1: top, y2: top + height }));
      parts.push(make("text", { class: "tick", x: at, y: top + height + this.font * 1.25, "text-anchor": "middle", text: shown(x) }));
    }
    for (const y of ticks(this.data.y_range, height / (this.font * 3))) {
      const at = this.toY(y);
      parts.push(make("line", { class: y === 0 ? "axis" : "rule", x1: left, x2: left + width, y1: at, y2: at }));
      parts.push(make("text", { class: "tick", x: left - 8, y: at + this.font * 0.35, "text-anchor": "end", text: shown(y) }));
    }
    parts.push(make("text", {
      class: "name", x: left + width / 2, y: this.full.height - this.font * 0.35, "text-anchor": "middle", text: "x",
    }));
    parts.push(make("text", {
      class: "name", "text-anchor": "middle", text: "y",
      transform: `translate(${this.font * 0.95} ${top + height / 2}) rotate(-90)`,
    }));
    this.grid.replaceChildren(...parts);
  }

  renderCurves() {
    const colour = (curve) => curve.colour ?? "var(--st-text-color)";
    const bands = this.data.curves.filter(({ half }) => half.length).map((curve) => make("path", {
      class: "band", d: this.band(curve), style: `fill: ${colour(curve)}`,
    }));
    this.lines.replaceChildren(...bands, ...this.data.curves.map((curve) => make("path", {
      class: "curve", d: this.path(curve.y), opacity: curve.opacity,
      style: `stroke: ${colour(curve)}; stroke-width: ${curve.width}`,
      "stroke-dasharray": curve.dash ? `${curve.width * 2.5} ${curve.width * 2.2}` : null,
    })));
    const named = this.data.curves.filter((curve) => curve.label);
    this.legend.replaceChildren(...(this.narrow ? named : []).map((curve) => make("span", { class: "entry" },
      make("span", { class: curve.dash ? "swatch dash" : "swatch", style: `--swatch: ${colour(curve)}; opacity: ${curve.opacity}` }),
      make("span", { text: curve.label }))));
    this.renderLabels(this.narrow ? [] : named, colour);
  }

  path(ys) {
    const [low, high] = this.data.x_range;
    const [bottom, top] = this.data.y_range;
    const beyond = [bottom - 2 * (top - bottom), top + 2 * (top - bottom)];
    let pen = "M";
    const parts = [];
    ys.forEach((y, n) => {
      if (y === null) { pen = "M"; return; }
      const x = low + ((high - low) * n) / (ys.length - 1);
      parts.push(`${pen}${this.toX(x).toFixed(1)} ${this.toY(clamp(y, beyond)).toFixed(1)}`);
      pen = "L";
    });
    return parts.join("");
  }

  /** There along the upper edge, back along the lower one. */
  band({ y, half }) {
    if (y.includes(null)) return "";
    const edge = (sign) => this.path(y.map((value, n) => value + sign * half[n]));
    const back = edge(-1).slice(1).split("L").reverse().join("L");
    return `${edge(1)}L${back}Z`;
  }

  /** Each name beside the end of its curve; names that would overlap are pushed apart and tied to their ends. */
  renderLabels(named, colour) {
    const { left, top, width, height } = this.area;
    const gap = this.font * 1.35;
    const edge = left + width;
    const items = named.map((curve) => {
      const last = curve.y.findLast((y) => y !== null) ?? 0;
      return { curve, end: this.toY(clamp(last, this.data.y_range)) };
    }).sort((a, b) => a.end - b.end);
    items.forEach((item, n) => { item.at = n ? Math.max(item.end, items[n - 1].at + gap) : Math.max(item.end, top + gap / 2); });
    let floor = top + height - gap * 0.3;
    for (const item of [...items].reverse()) {
      item.at = Math.min(item.at, floor);
      floor = item.at - gap;
    }
    this.labels.replaceChildren(...items.flatMap(({ curve, end, at }) => [
      make("path", { class: "tie", d: `M${edge} ${end}L${edge + 18} ${at}`, style: `stroke: ${colour(curve)}` }),
      make("circle", { cx: edge, cy: end, r: 5, style: `fill: ${colour(curve)}` }),
      this.label(curve.label, edge + 24, at + this.font * 0.35),
    ]));
  }

  label(words, x, y) {
    const room = Math.floor((this.full.width - x) / (this.font * 0.52));
    const text = words.length > room ? `${words.slice(0, Math.max(room - 1, 1))}\u2026` : words;
    return make("text", { class: "label", x, y, text });
  }

  renderPoints() {
    const { text, max_points: most } = this.data;
    const seen = new Set();
    this.points.forEach((point, n) => {
      seen.add(point.id);
      const mark = this.nodes.get(point.id) ?? this.mark(point);
      const [px, py] = [this.toX(point.x), this.toY(point.y)];
      mark.setAttribute("transform", `translate(${px.toFixed(1)} ${py.toFixed(1)})`);
      mark.setAttribute("aria-label", fill(text.point, { number: n + 1, x: shown(point.x, 2), y: shown(point.y, 2) }));
      mark.classList.toggle("selected", point.id === this.selected);
      mark.classList.toggle("held", point.id === this.drag?.id);
    });
    for (const [id, mark] of this.nodes) {
      if (!seen.has(id)) { mark.remove(); this.nodes.delete(id); }
    }
    const held = this.points.find(({ id }) => id === this.selected);
    this.hint.textContent = this.points.length ? "" : text.hint;
    this.hint.setAttribute("x", this.area.left + this.area.width / 2);
    this.hint.setAttribute("y", this.area.top + this.font * 2.2);
    this.buttons.add.disabled = this.points.length >= most;
    this.buttons.remove.disabled = !held;
    this.buttons.undo.disabled = !this.past.length;
    this.buttons.clear.disabled = !this.points.length;
    this.showReadout(this.drag && held);
  }

  mark(point) {
    const dot = Math.max(this.font * 0.52, 8);
    const mark = make("g", { class: "mark", tabindex: "0", role: "button", "data-id": point.id },
      make("circle", { class: "reach", r: 22 }), make("circle", { class: "dot", r: dot }));
    mark.addEventListener("focus", () => { this.selected = point.id; this.renderPoints(); });
    this.nodes.set(point.id, mark);
    this.marks.append(mark);
    return mark;
  }

  /** The coordinates under the hand, else how many points there are. */
  showReadout(point) {
    const { text, max_points: most } = this.data;
    this.readout.textContent = point
      ? `${this.data.x_label} ${shown(point.x, 2)}   ${this.data.y_label} ${shown(point.y, 2)}`
      : fill(text.count, { count: this.points.length, most });
  }
}
