// Fetches and compiles plotly.js before the first chart needs it, which shares the promise (live.js, stage.js).

export default function (component) {
  const idle = window.requestIdleCallback || ((work) => setTimeout(work, 300));
  const begin = component.data.idle ? idle : (work) => work();
  begin(() => {
    window.metalabPlotly ||= new Promise((loaded, failed) => {
      const script = document.createElement("script");
      script.src = component.data.plotly;
      script.onload = () => loaded(window.Plotly);
      script.onerror = () => {
        window.metalabPlotly = undefined;
        failed(new Error(`could not load ${component.data.plotly}`));
      };
      document.head.append(script);
    });
    window.metalabPlotly.catch(() => {}); // the live panel says so when it needs it
  });
}
