// Draws each chart anew, so that it answers to the pointer; where that fails, its picture stays.
"use strict";
(() => {
  const tooltip = { theme: "page", disableDefaultStyle: true };
  // `ast`: expressions are walked through, never compiled, so that the page's policy may forbid `eval`.
  const options = { mode: "vega-lite", renderer: "svg", actions: false, ast: true, tooltip };
  const figures = [...document.querySelectorAll("figure[data-chart]")];
  const draw = async (figure) => {
    const place = document.createElement("div");
    const picture = figure.querySelector(".plot");
    picture.before(place);
    place.className = "plot";
    const spec = JSON.parse(figure.querySelector("script").textContent);
    try {
      await vegaEmbed(place, spec, options);
      picture.remove();
      figure.dataset.drawn = "yes";
    } catch (error) {
      place.remove();
      console.error(figure.dataset.chart, error);
    }
  };
  for (const figure of figures) draw(figure);
})();
