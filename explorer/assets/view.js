/* The address of the page follows its controls, and says what they show. */
window.dash_clientside = window.dash_clientside || {};
window.dash_clientside.explorer = {
  show_address: function (query) {
    window.history.replaceState(null, "", window.location.pathname + (query || ""));
    return "The part of the address that says what is shown";
  },
  fit_charts: function (shown) {
    if (shown !== "hidden") {
      window.setTimeout(function () { window.dispatchEvent(new Event("resize")); }, 50);
    }
    return "";
  },
};
/* Each dropdown of Dash has a second, hidden place that the Tab key stops at. */
new MutationObserver(function () {
  document.querySelectorAll(".dash-dropdown-focus-target[tabindex='0']").forEach(function (target) {
    target.tabIndex = -1;
  });
}).observe(document, { childList: true, subtree: true });
