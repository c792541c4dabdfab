/* The address of the page follows its controls, and says what they show. */
window.dash_clientside = window.dash_clientside || {};
window.dash_clientside.explorer = {
  show_address: function (query) {
    window.history.replaceState(null, "", window.location.pathname + (query || ""));
    return "The part of the address that says what is shown";
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
