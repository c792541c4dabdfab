/* The address of the page follows its controls, and says what they show. */
window.dash_clientside = window.dash_clientside || {};
window.dash_clientside.explorer = {
  show_address: function (query) {
    window.history.replaceState(null, "", window.location.pathname + (query || ""));
    return "The part of the address that says what is shown";
  },
  pointed_row: function (on_map, on_other) { // of a click, or of where the mouse is
    const map = window.dash_clientside.callback_context.triggered[0].prop_id.split(".")[0];
    const pointed = map === "map" ? on_map : on_other;
    if (!pointed || !pointed.points.length) return { map: map };
    const point = pointed.points[0];
    const chart = document.querySelector("#" + map + " .js-plotly-plot");
    const rows = (chart._fullData[point.curveNumber] || {}).customdata; // Plotly has unpacked it
    if (!rows) return { map: map };
    return { map: map, row: rows[point.pointNumber], bbox: point.bbox };
  },
  drawn_shape: function (on_map, on_other) {
    const map = window.dash_clientside.callback_context.triggered[0].prop_id.split(".")[0];
    const drawn = map === "map" ? on_map : on_other;
    if (!drawn || !(drawn.lassoPoints || drawn.range)) return window.dash_clientside.no_update;
    return { map: map, lassoPoints: drawn.lassoPoints, range: drawn.range };
  },
  fit_charts: function (shown) {
    if (shown !== "hidden") {
      [50, 500].forEach(function (later) { // the second time for a page that was slow to draw
        window.setTimeout(function () { window.dispatchEvent(new Event("resize")); }, later);
      });
    }
    return "";
  },
};
/* Dash's dropdowns take the Tab key with a hidden field, which screen readers cannot name: their
   buttons take it themselves. */
new MutationObserver(function () {
  document.querySelectorAll(".dash-dropdown-focus-target[tabindex='0']").forEach(function (field) {
    field.tabIndex = -1;
    field.parentElement.querySelector("button").tabIndex = 0;
  });
}).observe(document, { childList: true, subtree: true });
