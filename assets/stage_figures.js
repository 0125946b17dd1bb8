// How the stage's figures get from Python to plotly, into the page's colours, and into a table. No state.

const NARROW = 360;
// Width of a letter of an axis' title.
const TITLE_LETTER = 6.8;
// Above a figure where a finger can encircle points: room for plotly's tools, which would cover it.
const TOOLS = 34;
// Pixels that a figure in a map's cell needs, and those beside the cells: the axis and the scale.
const CELL = 38;
const BESIDE_CELLS = 150;

function scored(value) {
  if (value >= 1e4) return value.toExponential(1).replace(/e\+(\d+)/, (_, power) => `·10${[...power].map((digit) => "⁰¹²³⁴⁵⁶⁷⁸⁹"[digit]).join("")}`);
  return value < 0.001 && value > 0 ? "< 0.001" : value.toPrecision(3).replace("-", "−");
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

/** The picture as this width shows it. */
const fitting = (picture, width) => (picture.narrow && width < NARROW ? { ...picture, ...picture.narrow } : picture);

/** The figure at frame k in the page's colours and size; on a touch screen a finger scrolls the page past it. */
function figureAt({ data, layout, frames }, k, look, { width, height, revision, touch = false, lasso = false }) {
  const frame = frames?.[k];
  const merged = data.map((trace) => ({ ...trace }));
  frame?.data.forEach((part, i) => Object.assign(merged[frame.traces[i]], part));
  const painted = look.paint({ data: merged, layout });
  const unlabelled = width < NARROW && hasEndLabels(layout);
  const annotations = (painted.layout.annotations ?? []).filter((one) => !(unlabelled && isEnd(one)));
  const margin = { ...painted.layout.margin, ...(unlabelled && { r: 14 }), ...(touch && lasso && { t: TOOLS }) };
  const hand = touch && !lasso && !layout.scene ? { dragmode: false } : {};
  const inner = { x: width - margin.l - margin.r, y: height - margin.t - margin.b };
  const axes = Object.fromEntries(["xaxis", "yaxis"].filter((name) => painted.layout[name]).map((name) => [name, wrapped(painted.layout[name], inner[name[0]])]));
  const modebar = { bgcolor: "rgba(0,0,0,0)", color: look.border, activecolor: look.text };
  const crowded = ({ type, texttemplate, z }) => type === "heatmap" && texttemplate && (width - BESIDE_CELLS) / (z[0]?.length || 1) < CELL;
  return {
    data: painted.data.map((trace) => (crowded(trace) ? { ...trace, texttemplate: "" } : trace)),
    layout: { ...painted.layout, ...axes, ...hand, modebar, annotations, margin, width, height, uirevision: revision, font: { ...painted.layout.font, family: look.font }, hoverlabel: { ...painted.layout.hoverlabel, bgcolor: look.surface, bordercolor: look.border, font: { size: 15, color: look.text, family: look.font } } },
  };
}

/** Whether an annotation is a line's name at its end: "end", or with the line's look "end dash" or "end dot". */
const isEnd = ({ name }) => /^end( |$)/.test(name ?? "");
const hasEndLabels = ({ annotations }) => Boolean(annotations?.some(isEnd));

/** An axis with its title in as many lines as the axis is long for, in pixels. */
function wrapped(axis, pixels) {
  const title = axis?.title?.text;
  const most = Math.max(12, Math.floor(pixels / TITLE_LETTER));
  if (!title || title.includes("<") || title.length <= most) return axis;
  const lines = [""];
  const even = title.length / Math.ceil(title.length / most);
  for (const word of title.split(" ")) {
    if (lines.at(-1).length + word.length / 2 >= even) lines.push("");
    lines.push(`${lines.pop()} ${word}`.trim());
  }
  return { ...axis, title: { ...axis.title, text: lines.join("<br>") } };
}

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

/** Plotly's text as plain text, its few tags taken out. */
function unescaped(text) {
  return text.replace(/<\/?(sub|sup|b|i|br)>/g, "").replace(/&lt;/g, "<").replace(/&gt;/g, ">").replace(/&amp;/g, "&");
}

/** Every point of a figure: its series, its step (empty where it is the same at all), its values. */
function rowsOf({ data, frames }) {
  return data.flatMap((trace, i) => {
    if (trace.meta?.csv === false) return [];
    const at = frames?.[0]?.traces.indexOf(i) ?? -1;
    const versions = at < 0 ? [["", trace]] : frames.map((frame, k) => [k, { ...trace, ...frame.data[at] }]);
    return versions.flatMap(([k, version]) => valuesOf(version).map((values) => [trace.name ?? "", k, ...values]));
  });
}

function valuesOf(trace) {
  const { type, mode, x, y, z, text, customdata, dimensions } = trace;
  if (type === "heatmap" || type === "contour") return z.flatMap((row, r) => Array.from(row, (value, c) => [y[r], x[c], value]));
  if (type === "parcoords") return Array.from(dimensions[0].values, (_value, i) => dimensions.map(({ values }) => values[i]));
  if (type === "scatter3d") return Array.from(x, (value, i) => [value, y[i], z[i]]);
  if (mode === "text") return text.map((answer, i) => [customdata[i], answer]);
  return Array.from(x, (value, i) => [value, y[i], ...endsOf(trace, i)]);
}

/** The ends of a point's error bar; `meta` has them where one lies beyond the picture, null for no end. */
function endsOf({ x, y, error_x, error_y, meta }, i) {
  const bar = error_x ?? error_y;
  if (!bar) return [];
  if (meta?.ends) return meta.ends[i];
  const value = (error_x ? x : y)[i];
  return [value - (bar.arrayminus ?? bar.array)[i], value + bar.array[i]].map((end) => Number(end.toPrecision(7)));
}

/** The columns' names, with two more for the ends of error bars. */
function columnsOf({ data }, columns) {
  const along = data.some((trace) => trace.error_x) ? 0 : data.some((trace) => trace.error_y) ? 1 : null;
  return along === null ? columns : [...columns, `${columns[along]}_low`, `${columns[along]}_high`];
}

// A spreadsheet runs a cell that begins like a formula: such a text is made to begin with an apostrophe.
function csvText({ figure, columns }, step, counts = []) {
  const cell = (value) => {
    if (value === null || value === undefined) return "";
    if (typeof value === "number") return String(value);
    const plain = unescaped(value);
    const text = /^[=+\-@\t\r]/.test(plain) ? `'${plain}` : plain;
    return /[",\n\r]/.test(text) ? `"${text.replace(/"/g, '""')}"` : text;
  };
  const names = columnsOf(figure, columns);
  const rows = rowsOf(figure).map((row) => [...row, ...Array(names.length + 2 - row.length).fill("")]);
  const framed = rows.some(([, k]) => k !== "");
  const table = framed
    ? [["series", step, ...names], ...rows.map(([series, k, ...values]) => [series, counts[k] ?? k, ...values])]
    : [["series", ...names], ...rows.map(([series, , ...values]) => [series, ...values])];
  return table.map((row) => row.map(cell).join(",")).join("\r\n") + "\r\n";
}
