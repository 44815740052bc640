// Everything here is a convenience: without scripts the page shows the same.
(function () {
  "use strict";
  var host = null;
  try {
    // Airflow 3 shows the page in a frame of the same origin, and keeps its own choice of colors.
    if (window.parent !== window && window.parent.document) host = window.parent.document;
  } catch (error) {
    host = null;
  }
  function follow() {
    var classes = host.documentElement.classList;
    var theme = classes.contains("dark") ? "dark" : classes.contains("light") ? "light" : "";
    if (theme) document.documentElement.setAttribute("data-theme", theme);
  }
  if (host) {
    document.documentElement.classList.add("framed");
    follow();
    new MutationObserver(follow).observe(host.documentElement, { attributes: true, attributeFilter: ["class"] });
    // The frame may neither leave itself nor open a window, so Airflow's own document follows the link.
    document.addEventListener("click", function (event) {
      var link = event.target.closest && event.target.closest("a[data-leave]");
      if (!link) return;
      event.preventDefault();
      var copy = host.createElement("a");
      copy.href = link.href;
      copy.rel = "noopener noreferrer";
      if (link.target) copy.target = link.target;
      host.body.appendChild(copy);
      copy.click();
      copy.remove();
    });
  }
  document.querySelectorAll("button[data-copy]").forEach(function (button) {
    button.hidden = false;
    button.addEventListener("click", function () {
      var text = button.getAttribute("data-copy");
      function done(words) {
        button.textContent = words;
      }
      function select() {
        var code = button.parentElement.querySelector("code");
        window.getSelection().selectAllChildren(code);
        done("Selected");
      }
      if (!navigator.clipboard) return select();
      navigator.clipboard.writeText(text).then(function () { done("Copied"); }, select);
    });
  });
})();
