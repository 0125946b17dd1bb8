// The browser's Back button goes from page to page: a link that changes within a page takes the place of its former self.
// Otherwise Back would lead to the same page's shorter link, which the page at once completes again: a trap.
// Who is sent to another page with a link gets that link on this page first: Back leads to this page's own.

const BURST_MS = 1500;

export default function () {
  if (window.metalabHistory) return;
  window.metalabHistory = true;
  const push = history.pushState;
  let former = null; // where the page was before its link last changed, perhaps several times in a row
  let changed = 0;
  history.pushState = function (state, title, url) {
    const to = new URL(url ?? location.href, location.href);
    if (url !== undefined && url !== null && to.pathname === location.pathname) {
      if (!former || performance.now() - changed > BURST_MS) former = new URL(location.href);
      changed = performance.now();
      return history.replaceState(state, title, url);
    }
    if (former?.pathname === location.pathname && to.search && to.search === location.search) {
      history.replaceState(history.state, "", former);
    }
    former = null;
    return push.call(history, state, title, url);
  };
}
