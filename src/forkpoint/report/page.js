// The page's own script: draws the figures in the colors of the current scheme, and walks the token strips.
(() => {
  "use strict";
  const root = document.documentElement;

  // ---- colors -------------------------------------------------------------------------------------------------
  // Figures name colors as CSS variables, "--arm-0" or "--arm-0/0.5", so that one page serves light, dark and paper.
  const NAMED = /^(--[a-z0-9-]+)(?:\/([0-9.]+))?$/;
  const PAINTED = new Set(["color", "fillcolor"]);

  function paint(name) {
    const match = NAMED.exec(name);
    if (!match) return name;
    const hex = getComputedStyle(root).getPropertyValue(match[1]).trim();
    if (!match[2]) return hex;
    const [red, green, blue] = [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
    return `rgba(${red}, ${green}, ${blue}, ${match[2]})`;
  }

  function painted(value, key) {
    if (typeof value === "string") return PAINTED.has(key) ? paint(value) : value;
    if (Array.isArray(value)) return value.map((item) => painted(item, key));
    if (value === null || typeof value !== "object") return value;
    return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, painted(item, name)]));
  }

  // ---- figures ------------------------------------------------------------------------------------------------
  const axis = (own) => ({
    fixedrange: true, zeroline: false, automargin: true, ticks: "outside", ticklen: 4, nticks: 6,
    color: paint("--muted"), linecolor: paint("--rule"), tickcolor: paint("--rule"), gridcolor: paint("--grid"), ...own,
  });

  function draw(holder) {
    const given = painted(JSON.parse(holder.textContent));
    const font = { family: "system-ui, sans-serif", size: 12, color: paint("--ink") };
    const layout = {
      ...given.layout,
      xaxis: axis({
        showgrid: false, showline: true, spikecolor: paint("--rule"), spikethickness: 1, spikedash: "solid",
        ...given.layout.xaxis,
      }),
      yaxis: axis({ ticks: "", ...given.layout.yaxis }),
      font, showlegend: false, dragmode: false, hovermode: given.layout.hovermode || "x unified",
      margin: { l: 44, r: 14, t: 10, b: 42 },
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      hoverlabel: { bgcolor: paint("--paper"), bordercolor: paint("--rule"), font },
    };
    Plotly.react(holder.dataset.for, given.traces, layout, { responsive: true, displayModeBar: false, displaylogo: false });
  }

  const holders = [...document.querySelectorAll('script[type="application/json"][data-for]')];
  const redraw = () => holders.forEach(draw);
  redraw();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  // paper is white: print in the light scheme whatever the screen shows
  addEventListener("beforeprint", () => { root.dataset.print = ""; redraw(); });
  addEventListener("afterprint", () => { delete root.dataset.print; redraw(); });

  // ---- token strips -------------------------------------------------------------------------------------------
  const MOVES = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: 10, ArrowUp: -10, Home: -Infinity, End: Infinity };

  function show(token, kept) {
    const strip = token.closest(".strip");
    const readout = strip.parentElement.querySelector(".readout");
    readout.textContent = token.getAttribute("aria-label");
    readout.hidden = false;
    const room = strip.clientWidth - readout.offsetWidth;
    readout.style.left = `${Math.max(0, Math.min(room, token.offsetLeft))}px`;
    readout.style.top = `${token.offsetTop + token.offsetHeight + 4}px`;
    if (!kept) return;
    for (const other of strip.querySelectorAll('[aria-selected="true"], [tabindex="0"]')) {
      other.setAttribute("aria-selected", "false");
      other.tabIndex = -1;
    }
    token.setAttribute("aria-selected", "true");
    token.tabIndex = 0;
  }

  function rest(strip) {
    const focused = strip.querySelector(":focus");
    if (focused) show(focused, true);
    else strip.parentElement.querySelector(".readout").hidden = true;
  }

  for (const strip of document.querySelectorAll(".strip")) {
    const tokens = [...strip.querySelectorAll('[role="option"]')];
    const at = (event) => event.target.closest('[role="option"]');
    strip.addEventListener("keydown", (event) => {
      if (event.key === "Escape") strip.parentElement.querySelector(".readout").hidden = true;
      const move = MOVES[event.key];
      if (move === undefined || event.altKey || event.ctrlKey || event.metaKey) return;
      event.preventDefault();
      const next = tokens.indexOf(at(event)) + move;
      tokens[Math.max(0, Math.min(tokens.length - 1, next))].focus();
    });
    strip.addEventListener("focusin", (event) => at(event) && show(at(event), true));
    strip.addEventListener("click", (event) => at(event) && at(event).focus());
    strip.addEventListener("pointerover", (event) => at(event) && show(at(event), false));
    strip.addEventListener("pointerleave", () => rest(strip));
    strip.addEventListener("focusout", () => rest(strip));
  }

  // ---- filters ------------------------------------------------------------------------------------------------
  const filters = document.getElementById("filters");
  if (filters) {
    const articles = [...document.querySelectorAll(".rollout")];
    filters.addEventListener("change", () => {
      const chosen = new FormData(filters);
      const passes = (article, name) => [null, "all", article.dataset[name]].includes(chosen.get(name));
      for (const article of articles) article.hidden = !(passes(article, "verdict") && passes(article, "arm"));
      const shown = articles.filter((article) => !article.hidden).length;
      document.getElementById("shown").textContent = `${shown} of ${articles.length} shown`;
    });
  }

  // ---- where the reader is ------------------------------------------------------------------------------------
  const links = new Map([...document.querySelectorAll("nav a")].map((link) => [link.hash.slice(1), link]));
  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries.filter((each) => each.isIntersecting)) {
      for (const link of links.values()) link.removeAttribute("aria-current");
      links.get(entry.target.id)?.setAttribute("aria-current", "true");
    }
  }, { rootMargin: "-20% 0px -75% 0px" });
  document.querySelectorAll("main > section").forEach((section) => seen.observe(section));
})();
