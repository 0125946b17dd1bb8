// Stands in the head of every page, before Streamlit's scripts; metalab/ui/head.py calls it.

(base, charts) => {
  // Where the server is: Streamlit would ask below the page's own address first. Behind a proxy that adds to the path
  // it has to.
  const below = location.pathname.startsWith(base) && location.pathname.slice(base.length);
  if (below !== false && !below.includes("/")) window.__streamlit = { BACKEND_BASE_URL: location.origin + base };
  if (!charts) return;
  // As chart_library.js loads it, which finds it here: what another page has loaded so need not be compiled anew. Where
  // it cannot be had, the first chart tries again and says so.
  const script = document.createElement("script");
  script.src = charts;
  script.onerror = () => script.remove();
  document.head.append(script);
}
