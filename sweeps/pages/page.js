"use strict";
// Plots take the colours of the page, and change with it between light and dark.
const ink = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const font = () => getComputedStyle(document.body).fontFamily;

function coloured(layout) {
  const axis = { gridcolor: ink("--line"), zerolinecolor: ink("--line"), linecolor: ink("--line") };
  const whole = Object.assign({}, layout, {
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { color: ink("--ink"), family: font(), size: 13 },
    hoverlabel: { bgcolor: ink("--panel"), bordercolor: ink("--line"), font: { color: ink("--ink") }, namelength: -1 },
  });
  whole.modebar = { bgcolor: "rgba(0,0,0,0)", color: ink("--soft"), activecolor: ink("--link") };
  // Texts inside of a plot stand on the page's own ground, so that lines behind them do not strike them out.
  whole.annotations = (layout.annotations ?? []).map((note) => Object.assign({ bgcolor: ink("--paper") }, note));
  for (const name of Object.keys(layout)) {
    if (/^[xy]axis/.test(name)) whole[name] = Object.assign({}, axis, layout[name]);
  }
  return whole;
}

const figures = JSON.parse(document.getElementById("figures").textContent);
function draw() {
  for (const [id, figure] of Object.entries(figures)) {
    Plotly.react(id, figure.data, coloured(figure.layout), {
      displaylogo: false,
      responsive: true,
      modeBarButtons: [["toImage", "zoom2d", "pan2d", "resetScale2d"]],
    });
  }
}
draw();
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);

// A click on a heading sorts the rows by that column: cells say their value in data-value, empty ones come last.
for (const heading of document.querySelectorAll("th[data-sort]")) {
  heading.addEventListener("click", () => {
    const body = heading.closest("table").tBodies[0];
    const column = heading.cellIndex;
    const sign = heading.dataset.sort === "up" ? -1 : 1;
    heading.dataset.sort = sign === 1 ? "up" : "down";
    const key = (row) => row.cells[column].dataset.value ?? row.cells[column].textContent.trim();
    const compare = (one, other) => {
      if (one === "" || other === "") return (one === "") - (other === "");
      const numbers = Number(one) - Number(other);
      return sign * (Number.isNaN(numbers) ? one.localeCompare(other) : numbers);
    };
    body.append(...[...body.rows].sort((one, other) => compare(key(one), key(other))));
  });
}
