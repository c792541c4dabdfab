/* The address of the page follows its controls, and says what they show. */
window.dash_clientside = window.dash_clientside || {};
window.dash_clientside.explorer = {
  show_address: function (query) {
    window.history.replaceState(null, "", window.location.pathname + (query || ""));
    return "The part of the address that says what is shown";
  },
  pointed_row: function (on_map, on_other) { // of the user whose point the mouse is at
    const map = window.dash_clientside.callback_context.triggered[0].prop_id.split(".")[0];
    const point = ((map === "map" ? on_map : on_other) || { points: [] }).points[0];
    const chart = document.querySelector("#" + map + " .js-plotly-plot");
    const rows = point && (chart._fullData[point.curveNumber] || {}).customdata; // Plotly unpacked it
    pointed = rows ? { map: map, row: rows[point.pointNumber], bbox: point.bbox } : { map: map };
    return pointed;
  },
  drawn_shape: function (on_map, on_other) { // the last shape of a map, which somebody has just drawn
    const map = window.dash_clientside.callback_context.triggered[0].prop_id.split(".")[0];
    const shapes = ((map === "map" ? on_map : on_other) || {}).shapes;
    if (!shapes || !shapes.length) return window.dash_clientside.no_update;
    const shape = shapes[shapes.length - 1];
    if (shape.type === "rect") {
      return { map: map, range: { x: [shape.x0, shape.x1], y: [shape.y0, shape.y1] } };
    }
    const corners = shape.path.match(/[^MLZ]+/g).map((pair) => pair.split(",").map(Number));
    return { map: map, lassoPoints: { x: corners.map((c) => c[0]), y: corners.map((c) => c[1]) } };
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
/* Plotly tells of no click where a drag draws: a press that is no drag is one. */
let pointed = null, pressed = null;
document.addEventListener("mousedown", function (event) {
  pressed = event.target.closest(".nsewdrag") && { at: pointed, x: event.clientX, y: event.clientY };
}, true);
document.addEventListener("mousemove", function (event) { // a shape may end where it began
  if (pressed && Math.hypot(event.clientX - pressed.x, event.clientY - pressed.y) > 3) pressed = null;
}, true);
document.addEventListener("mouseup", function () {
  if (!pressed || !pressed.at || pressed.at.row === undefined) return;
  window.dash_clientside.set_props("clicked", { data: Object.assign({ time: Date.now() }, pressed.at) });
}, true);
