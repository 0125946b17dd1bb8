// The chart library, loaded once for all components of a page: lines and maps, or, for pictures in 3-D, the whole of it.

/** A promise of plotly.js from `url`. One load follows another: each puts itself at window.Plotly. */
function chartLibrary(url) {
  const shared = (window.metalabCharts ||= { libraries: new Map(), last: Promise.resolve() });
  if (!shared.libraries.has(url)) {
    const library = shared.last.then(() => libraryAt(url));
    shared.libraries.set(url, library);
    shared.last = library.catch(() => shared.libraries.delete(url));
  }
  return shared.libraries.get(url);
}

function libraryAt(url) {
  return new Promise((loaded, failed) => {
    // The page's head has begun with it where a chart comes first (metalab/ui/head.py).
    const begun = [...document.head.querySelectorAll("script")].find((script) => script.getAttribute("src") === url);
    if (begun && window.Plotly) { loaded(window.Plotly); return; }
    const script = begun ?? document.createElement("script");
    script.addEventListener("load", () => loaded(window.Plotly));
    script.addEventListener("error", () => { script.remove(); failed(new Error(`could not load ${url}`)); });
    if (!begun) { script.src = url; document.head.append(script); }
  });
}
