// Sliders that act while they are moved (metalab/ui/dials.py is their Python side); canvas.js stands in front.

const DIAL_MS = 60;

class Dials {
  constructor(root) {
    this.root = root;
    this.sender = new Sender(DIAL_MS);
    this.values = {};
  }

  update(data, send) {
    if (this.revision !== data.revision) {
      this.revision = data.revision;
      this.sender.stop();
      this.values = Object.fromEntries(data.dials.map((dial) => [dial.name, dial.value]));
      this.root.replaceChildren(...data.dials.map((dial) => this.row(dial)));
    }
    this.sender.connect(send, data.seq);
  }

  row(dial) {
    const id = `dial-${dial.name.replace(/\W/g, "-")}`;
    const input = make("input", {
      id, type: "range", min: 0, max: dial.stops.length - 1, step: 1, "aria-describedby": dial.help && `${id}-help`,
      oninput: () => this.move(dial, input, shown, true),
      onchange: () => this.move(dial, input, shown, false),
    });
    // Attributes are read in order: the value can only be set once the range is known.
    input.value = nearest(dial.stops, dial.value);
    const shown = make("output", { for: id });
    const label = make("label", { for: id });
    if (dial.colour) label.append(make("span", { class: "dot" }));
    label.append(dial.label);
    const top = make("div", { class: "top" }, label, ...(dial.help ? this.help(dial, id) : []), shown);
    const row = make("div", { class: "dial" }, top, input, make("p", { class: "note", text: dial.note }));
    if (dial.colour) row.style.setProperty("--own", dial.colour);
    this.say(dial, input, shown);
    return row;
  }

  /** A question mark, and the line that it shows when pointed at, focused or tapped. */
  help({ label, help }, id) {
    const mark = make("button", { type: "button", class: "help", "aria-label": label, "aria-describedby": `${id}-help`, text: "?" });
    mark.addEventListener("keydown", ({ key }) => key === "Escape" && mark.blur());
    return [mark, make("span", { class: "tip", role: "tooltip", id: `${id}-help`, text: help })];
  }

  say(dial, input, shown) {
    shown.textContent = String(dial.stops[Number(input.value)]);
    input.setAttribute("aria-valuetext", shown.textContent);
    input.style.setProperty("--fill", `${(100 * input.value) / Math.max(input.max, 1)}%`);
  }

  move(dial, input, shown, moving) {
    this.values[dial.name] = dial.stops[Number(input.value)];
    this.say(dial, input, shown);
    const value = { revision: this.revision, values: { ...this.values }, moving };
    if (moving) this.sender.soon(value);
    else this.sender.now(value);
  }
}

function nearest(stops, value) {
  let best = 0;
  for (let n = 1; n < stops.length; n += 1) if (Math.abs(stops[n] - value) < Math.abs(stops[best] - value)) best = n;
  return best;
}

const boards = new WeakMap();

export default function ({ parentElement, data, setStateValue }) {
  const root = parentElement.querySelector(".dials");
  if (!boards.has(root)) boards.set(root, new Dials(root));
  const dials = boards.get(root);
  dials.update(data, (value) => setStateValue("dials", value));
  return () => { if (!root.isConnected) dials.sender.stop(); };
}
