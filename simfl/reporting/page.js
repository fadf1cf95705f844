"use strict";
(() => {
  const dark = JSON.parse(document.getElementById("dark").textContent);
  const wantsDark = matchMedia("(prefers-color-scheme: dark)");
  const coarse = matchMedia("(pointer: coarse)").matches;
  const PRINT_WIDTH = 690;
  const NARROW = 600;
  let printing = false;

  function figureOf(block) {
    const select = block.querySelector("select");
    const source = block.querySelectorAll("script[type='application/json']")[select ? select.selectedIndex : 0];
    let text = source.textContent;
    if (wantsDark.matches && !printing) {
      for (const [light, other] of Object.entries(dark)) {
        text = text.replaceAll(`"${light}"`, `"${other}"`);
      }
    }
    const figure = JSON.parse(text);
    for (const axis of ["x", "y"]) {
      const box = block.querySelector(`input[data-axis='${axis}']`);
      if (box && box.checked) {
        figure.layout[`${axis}axis`].type = "log";
        figure.layout[`${axis}axis`].rangemode = "normal";
      }
    }
    if (coarse) figure.layout.dragmode = false;
    // long labels lean to the left, where there is room
    const narrow = block.clientWidth < NARROW;
    if (narrow && figure.layout.xaxis.ticktext) figure.layout.xaxis.tickangle = -35;
    const least = (figure.layout.meta || {}).least_width || 0;
    if (printing) figure.layout.width = PRINT_WIDTH;
    // what cannot be read when it is narrow is scrolled
    else if (block.clientWidth < least) figure.layout.width = least;
    return figure;
  }

  function draw(block) {
    const chart = block.querySelector(".chart");
    const figure = figureOf(block);
    const options = { displayModeBar: false, displaylogo: false, doubleClick: "reset" };
    Plotly.react(chart, figure.data, figure.layout, options);
    // of a decade with all its digits, 8 and 9 lie on each other: 1, 2 and 5 do
    const digits = {};
    for (const axis of ["xaxis", "yaxis"]) {
      if (chart._fullLayout[axis].dtick === "D1") digits[`${axis}.dtick`] = "D2";
    }
    if (Object.keys(digits).length) Plotly.relayout(chart, digits);
  }

  const charts = [...document.querySelectorAll(".block.of-chart")];

  for (const block of charts) {
    for (const control of block.querySelectorAll("select, input")) {
      control.addEventListener("change", () => draw(block));
    }
    block.querySelector("button[data-do='reset']").addEventListener("click", () => draw(block));
    block.querySelector("button[data-do='save']").addEventListener("click", () => {
      const chart = block.querySelector(".chart");
      Plotly.downloadImage(chart, {
        format: "svg", width: chart.clientWidth, height: chart.clientHeight,
        filename: block.dataset.file,
      });
    });
    draw(block);
  }

  function sort(table, at, head) {
    const down = head.getAttribute("aria-sort") === "ascending";
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const value = (row) => row.cells[at].dataset.value;
    const rows = [...table.tBodies[0].rows];
    const number = head.classList.contains("number");
    const known = (text) => text !== "" && text !== "nan";
    rows.sort((a, b) => {
      const [x, y] = [value(a), value(b)];
      // what is not known comes last, whichever way
      if (!known(x) || !known(y)) return Number(!known(x)) - Number(!known(y));
      let order = x.localeCompare(y, undefined, { numeric: true });
      if (number) {
        const [p, q] = [x, y].map((text) => (text === "inf" ? Infinity : Number(text)));
        order = p === q ? 0 : p < q ? -1 : 1;
      }
      return down ? -order : order;
    });
    table.tBodies[0].append(...rows);
  }

  function csvOf(table) {
    const quoted = (text) => (/[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
    const heads = [...table.tHead.rows[0].cells].map((cell) => cell.dataset.name);
    const rows = [...table.tBodies[0].rows].map((row) => [...row.cells].map((cell) => cell.dataset.value));
    return [heads, ...rows].map((row) => row.map(quoted).join(",")).join("\r\n") + "\r\n";
  }

  for (const block of document.querySelectorAll(".block.of-table")) {
    const table = block.querySelector("table");
    [...table.tHead.rows[0].cells].forEach((head, at) => {
      head.querySelector("button").addEventListener("click", () => sort(table, at, head));
    });
    block.querySelector("button[data-do='csv']").addEventListener("click", () => {
      const link = document.createElement("a");
      link.href = URL.createObjectURL(new Blob([csvOf(table)], { type: "text/csv" }));
      link.download = `${block.dataset.file}.csv`;
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 1000);
    });
  }

  let wide = document.documentElement.clientWidth;
  addEventListener("resize", () => {
    if (document.documentElement.clientWidth === wide || printing) return;
    wide = document.documentElement.clientWidth;
    redraw();
  });

  const redraw = () => charts.forEach(draw);
  wantsDark.addEventListener("change", redraw);

  // on paper: light, as wide as the paper, nothing folded away
  let folded = [];
  addEventListener("beforeprint", () => {
    printing = true;
    folded = [...document.querySelectorAll("details:not([open])")];
    folded.forEach((one) => { one.open = true; });
    redraw();
  });
  addEventListener("afterprint", () => {
    printing = false;
    folded.forEach((one) => { one.open = false; });
    redraw();
  });
  document.documentElement.dataset.ready = "yes";
})();
