// The browser's Back button goes from page to page: a link that changes within a page takes the place of its former self.
// Otherwise Back would lead to the same page's shorter link, which the page at once completes again: a trap.

export default function () {
  if (window.metalabHistory) return;
  window.metalabHistory = true;
  const push = history.pushState;
  history.pushState = function (state, title, url) {
    const within = url !== undefined && url !== null && new URL(url, location.href).pathname === location.pathname;
    return within ? history.replaceState(state, title, url) : push.call(history, state, title, url);
  };
}
