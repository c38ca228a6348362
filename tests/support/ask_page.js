// In a page that holds others in frames: what each frame says of its page once the charts are drawn, as JSON in #answer.
// Before it answers, the pointer goes to the middle of the first chart.
"use strict";
const frames = [...document.querySelectorAll("iframe")];
const ask = (frame) => {
  const page = frame.contentDocument, view = frame.contentWindow;
  const figures = [...page.querySelectorAll("figure[data-chart]")];
  if (!figures.length || figures.some((each) => each.dataset.drawn !== "yes")) return null;
  return {
    width: view.innerWidth,
    needed: page.documentElement.scrollWidth,
    dark: view.matchMedia("(prefers-color-scheme: dark)").matches,
    background: view.getComputedStyle(page.body).backgroundColor,
    ink: view.getComputedStyle(figures[0].querySelector("svg text")).fill,
    charts: figures.map((each) => each.dataset.chart),
    marks: figures.map((each) => each.querySelectorAll("svg path, svg rect").length),
    plots: figures.map((each) => each.querySelectorAll("svg").length),
    cut: figures.filter((each) => [...each.querySelectorAll("svg text")].some((text) => {
      const inner = text.getBoundingClientRect(), card = each.getBoundingClientRect();
      return inner.right > card.right || inner.left < card.left;
    })).map((each) => each.dataset.chart),
    images: [...page.images].map((each) => each.naturalWidth),
    dead: [...page.querySelectorAll("a")].filter((each) => !page.getElementById(each.hash.slice(1))).length,
    told: (page.getElementById("vg-tooltip-element") || {}).innerText || "",
  };
};
const point = (frame) => {
  const view = frame.contentWindow, svg = frame.contentDocument.querySelector("figure[data-chart] svg");
  const box = svg.getBoundingClientRect();
  const at = { clientX: box.x + box.width / 2, clientY: box.y + box.height / 2, bubbles: true, view };
  for (const kind of ["pointerover", "pointermove", "mousemove"])
    (frame.contentDocument.elementFromPoint(at.clientX, at.clientY) || svg).dispatchEvent(
      new view[kind.startsWith("p") ? "PointerEvent" : "MouseEvent"](kind, at));
};
const timer = setInterval(() => {
  const answers = frames.map(ask);
  if (!answers.every(Boolean)) return;
  for (const frame of frames) {
    frame.contentDocument.querySelector("figure[data-chart]").scrollIntoView({ behavior: "instant", block: "center" });
    point(frame);
  }
  clearInterval(timer);
  setTimeout(() => { document.getElementById("answer").textContent = JSON.stringify(frames.map(ask)); }, 300);
}, 50);
