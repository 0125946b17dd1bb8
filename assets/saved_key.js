// A figure's key as a line of words for a picture that is saved, where no page stands around it: a sign before each.

const KEY_SIGNS = {
  line: "—", solid: "—", thin: "–", own: "—", gradient: "—", ghost: "–",
  dash: "- - -", dashed: "- - -", dot: "· · ·", dotted: "· · ·",
  point: "●", star: "★", diamond: "◆", ring: "○", band: "■", lost: "■", frame: "□", edge: "□", blank: "□",
};
const SIGN_COLOURS = { frame: "#D1495B", mark: "#D1495B", band: "rgba(127,139,151,0.5)", lost: "rgba(127,139,151,0.6)" };
const KEY_LETTER = 7;

/**
 * Lines of plotly's markup, none longer than `width` pixels. An entry has a look, such as "dash", and a text; perhaps
 * a colour.
 */
function savedKey(entries, width) {
  const most = Math.max(20, Math.floor(width / KEY_LETTER));
  const lines = [];
  let room = 0;
  for (const { look, text, colour } of entries) {
    const kinds = look.split(" ");
    const hue = colour ?? SIGN_COLOURS[kinds.at(-1)] ?? SIGN_COLOURS[kinds[0]];
    const sign = KEY_SIGNS[kinds[0]] ?? "";
    const safe = text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
    const said = `${hue ? `<span style="color:${hue}">${sign}</span>` : sign} ${safe}`;
    const long = sign.length + text.length + 4;
    if (long > room) { lines.push(said); room = most - long; }
    else { lines.push(`${lines.pop()}    ${said}`); room -= long; }
  }
  return lines;
}

/** A saved picture's title in plotly's words, the lines of its key below it. */
function titled(title, key, size = 17) {
  const text = title.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
  return { text, x: 0.02, xanchor: "left", y: 0.98, yanchor: "top", font: { size }, subtitle: { text: key.join("<br>"), font: { size: 13 } } };
}
