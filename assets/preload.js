// Fetches and compiles the chart library before the first chart needs it (live.js, stage.js, lab.js).

export default function ({ data }) {
  const idle = window.requestIdleCallback || ((work) => setTimeout(work, 300));
  const begin = data.idle ? idle : (work) => work();
  begin(() => chartLibrary(data.plotly).catch(() => {})); // who needs it then says that it is missing
}
