// The character canvas: class cards with pads, the query pad and its probability bars.
// metalab/ui/canvas/characters.py is its Python side.

const LIVE_MS = 200;

class Board {
  constructor(root) {
    this.root = root;
    this.sender = new Sender(LIVE_MS);
    this.revision = null;
    this.shape = "";
    this.observer = new ResizeObserver(() => this.show());
  }

  update(data, send) {
    const fresh = this.revision !== data.revision;
    const shape = JSON.stringify([data.ways, data.shots, data.labels, data.colours, data.text]);
    this.data = data;
    if (fresh) {
      this.revision = data.revision;
      this.sender.stop();
      this.makePads(data);
    }
    if (fresh || shape !== this.shape) {
      this.shape = shape;
      this.build();
    }
    this.notice.textContent = data.problem;
    this.sender.connect(send, data.seq);
    this.show();
  }

  stop() {
    this.sender.stop();
    this.observer.disconnect();
  }

  /** Pads for as many classes and examples as there can be: those out of use keep what was drawn on them. */
  makePads({ support, query, text }) {
    const pad = (strokes, options) => new Pad({
      strokes, text, refused: () => { this.notice.textContent = fill(text.full, { most: MAX_STROKES }); }, ...options,
    });
    const changed = (live) => { if (!live) this.send(false); };
    const count = (most) => [...Array(most).keys()];
    this.pads = count(text.most_ways).map((way) => count(text.most_shots).map(
      (shot) => pad(support[way]?.[shot] ?? [], { withWords: false, changed })));
    this.query = pad(query, { withWords: true, changed: (live) => this.send(live) });
  }

  value() {
    return { revision: this.revision, support: this.pads.map((row) => row.map((pad) => pad.strokes)), query: this.query.all() };
  }

  send(live) {
    this.notice.textContent = this.data.problem;
    if (live) this.sender.soon(this.value());
    else this.sender.now(this.value());
    this.showBars();
  }

  // ---- building ----

  build() {
    const { text, ways, shots } = this.data;
    const cards = make("div", { class: shots > 1 ? "cards wide" : "cards" });
    cards.style.setProperty("--ways", ways);
    cards.style.setProperty("--shots", shots);
    for (let way = 0; way < ways; way += 1) cards.append(this.card(way));
    this.notice = make("p", { class: "notice", role: "status" });
    this.clearAllButton = button("clear", text.clear_all, text.clear_all, () => this.clearAll());
    this.bars = this.data.labels.map((label, way) => this.bar(label, way));
    this.say = make("p", { class: "say" });
    this.chart = make("div", { class: "chart" }, ...this.bars.map(({ row }) => row));
    this.spoken = make("div", { class: "hidden-text", "aria-live": "polite" });
    this.query.name(text.query_pad, text.undo_query, text.clear_query);
    this.hint = make("p", { class: "pad-hint", "aria-hidden": "true", text: text.query_hint });
    this.query.sheet.append(this.hint);
    const seen = make("div", { class: "seen" }, this.query.preview, make("span", { "aria-hidden": "true", text: text.seen }));
    const query = make("section", { class: "query", "aria-label": text.query },
      make("div", { class: "title", "aria-hidden": "true", text: text.query }), this.query.sheet,
      make("div", { class: "tools" }, this.query.undoButton, this.query.clearButton));
    const answer = make("section", { class: "answer", "aria-label": text.prediction },
      make("div", { class: "title", "aria-hidden": "true", text: text.prediction }), this.say, this.chart, seen);
    const lower = make("div", { class: "lower" }, query, answer);
    this.root.replaceChildren(cards, make("div", { class: "foot" }, this.clearAllButton),
      ...(this.data.asks ? [lower] : []), this.notice, this.spoken);
    this.observer.disconnect();
    this.observer.observe(this.root);
  }

  card(way) {
    const { text, labels, colours, shots } = this.data;
    const label = labels[way];
    const row = make("div", { class: "row" });
    this.pads[way].slice(0, shots).forEach((pad, shot) => {
      const words = { label, number: shot + 1 };
      pad.name(fill(text.pad, words), fill(text.undo_pad, words), fill(text.clear_pad, words));
      row.append(make("div", { class: "pad" }, pad.sheet,
        make("div", { class: "tools" }, pad.preview, pad.undoButton, pad.clearButton)));
    });
    const card = make("section", { class: "card", "aria-label": label },
      make("div", { class: "title" }, make("span", { class: "dot" }), make("span", { text: label })), row);
    card.style.setProperty("--class", colours[way]);
    return card;
  }

  bar(label, way) {
    const thumb = make("canvas", { class: "thumb", "aria-hidden": "true" });
    const amount = make("div", { class: "amount" });
    const percent = make("span", { class: "percent" });
    const row = make("div", { class: "probability" }, thumb, make("span", { class: "who", text: label }),
      make("div", { class: "track" }, amount), percent);
    row.style.setProperty("--class", this.data.colours[way]);
    return { row, thumb, amount, percent };
  }

  clearAll() {
    const used = [...this.pads.flat(), this.query].filter((pad) => pad.strokes.length);
    if (!used.length) return;
    for (const pad of used) {
      pad.past.push(pad.strokes);
      pad.strokes = [];
      pad.show();
    }
    this.send(false);
  }

  // ---- showing ----

  shown() {
    const { ways, shots } = this.data;
    return this.pads.slice(0, ways).map((row) => row.slice(0, shots));
  }

  show() {
    if (!this.root.clientWidth) return;
    const { previews, query_preview: seen } = this.data;
    this.shown().forEach((row, way) => row.forEach((pad, shot) => {
      pad.show();
      pad.showPreview(previews?.[way][shot]);
    }));
    this.query.show();
    this.query.showPreview(seen);
    this.showBars();
  }

  showBars() {
    const { probabilities, labels, text } = this.data;
    const rows = this.shown();
    const ready = rows.every((row) => row.some((pad) => pad.strokes.length));
    const drawn = this.query.all().length > 0;
    const known = ready && drawn ? probabilities : null;
    const best = known ? known.indexOf(Math.max(...known)) : -1;
    rows.forEach((row, way) => {
      const { row: node, thumb, amount, percent } = this.bars[way];
      const first = row.find((pad) => pad.strokes.length);
      paintStrokes(thumb, first?.strokes ?? [], getComputedStyle(thumb).color);
      amount.style.width = `${known ? known[way] * 100 : 0}%`;
      percent.textContent = known ? `${Math.round(known[way] * 100)}%` : "";
      node.classList.toggle("best", way === best);
    });
    const todo = !ready ? text.need_support : !drawn ? text.need_query : text.wait;
    const result = known ? fill(text.result, { label: labels[best], percent: this.bars[best].percent.textContent }) : "";
    this.say.textContent = result || todo;
    this.say.classList.toggle("known", Boolean(known));
    this.hint.hidden = drawn;
    this.clearAllButton.disabled = !drawn && rows.flat().every((pad) => !pad.strokes.length);
    // Read out when the pen rests, not at each of its movements.
    if (!this.query.stroke && result !== this.spoken.textContent) this.spoken.textContent = result;
  }
}

const boards = new WeakMap();

export default function ({ parentElement, data, setStateValue }) {
  const root = parentElement.querySelector(".characters");
  if (!boards.has(root)) boards.set(root, new Board(root));
  const board = boards.get(root);
  board.update(data, (value) => setStateValue("drawings", value));
  // Streamlit also calls this when a newer call overtook ours: only a root that left the page is finished with.
  return () => { if (!root.isConnected) board.stop(); };
}
