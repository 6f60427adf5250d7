// Keeps a page up to date: the server sends the parts of it that have changed, and this puts them in place.
"use strict";

(() => {
  const state = document.getElementById("live-state");
  if (!state || !window.EventSource) return;
  const build = document.documentElement.dataset.build;
  const retryMs = 15000;
  let source = null;

  function say(text, kind) {
    if (state.dataset.kind === kind) return;
    state.dataset.kind = kind;
    state.textContent = text;
  }

  function open() {
    if (source) return;
    source = new EventSource(location.pathname + location.search);
    source.addEventListener("build", (event) => {
      // Another version of the server: its parts may not fit this page.
      if (event.data !== build) location.reload();
      say("live", "live");
    });
    source.addEventListener("part", (event) => {
      const part = JSON.parse(event.data);
      swap(part.id, part.html);
      say("live", "live");
    });
    source.addEventListener("error", () => {
      say("not live: reconnecting", "lost");
      if (source && source.readyState === EventSource.CLOSED) {
        close();
        setTimeout(() => document.hidden || open(), retryMs);
      }
    });
  }

  function close() {
    if (source) source.close();
    source = null;
  }

  const reachable = "a, button, summary, [tabindex]";

  function swap(id, markup) {
    const old = document.getElementById(id);
    if (!old || isSelected(old)) return;
    const template = document.createElement("template");
    template.innerHTML = markup;
    const fresh = template.content.firstElementChild;
    for (const details of fresh.querySelectorAll("details[id]")) {
      const before = document.getElementById(details.id);
      if (before) details.open = before.open;
    }
    const focused = [...old.querySelectorAll(reachable)].indexOf(document.activeElement);
    const scrolled = [...old.querySelectorAll(".wide")].map((box) => box.scrollLeft);
    old.replaceWith(fresh);
    fresh.querySelectorAll(".wide").forEach((box, at) => (box.scrollLeft = scrolled[at] || 0));
    if (focused >= 0) {
      const next = fresh.querySelectorAll(reachable)[focused];
      if (next) next.focus({ preventScroll: true });
    }
  }

  // What somebody is about to copy stays.
  function isSelected(element) {
    const selection = document.getSelection();
    return selection && !selection.isCollapsed && selection.containsNode(element, true);
  }

  document.addEventListener("visibilitychange", () => (document.hidden ? close() : open()));
  window.addEventListener("pagehide", close);
  open();
})();
