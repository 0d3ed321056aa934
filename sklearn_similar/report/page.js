"use strict";
(() => {
  const ROWS_AT_ONCE = 200;
  const find = (id) => document.getElementById(id);
  const data = JSON.parse(find("data").textContent);
  const statusColumn = data.columns.indexOf("status");
  const scoreColumn = data.columns.indexOf("score");
  const heads = [...document.querySelectorAll("#rows thead th")];
  const figures = [...document.querySelectorAll("#gallery figure")];
  const body = document.querySelector("#rows tbody");
  const compareTexts = new Intl.Collator("en", { numeric: true }).compare;
  const texts = data.rows.map((row) => `${data.names[row[0]]} ${row[1]}`.toLowerCase());
  let order = data.rows.map((_, index) => index);
  let shown = ROWS_AT_ONCE;

  // Unknown values come last in both directions.
  function compare(a, b, direction) {
    if (a === null || b === null) return (a === null) - (b === null);
    const isNumber = typeof a === "number" && typeof b === "number";
    return direction * (isNumber ? a - b : compareTexts(a, b));
  }

  function chosen(id) {
    const select = find(id);
    return select && select.selectedIndex > 0 ? select.value : null;
  }

  function filtered() {
    const search = find("search").value.trim().toLowerCase();
    const label = chosen("label");
    const status = chosen("status");
    const least = find("score").value === "" ? null : Number(find("score").value);
    const isFiltered = search !== "" || label !== null || status !== null || least !== null;
    const matches = (index) => {
      const row = data.rows[index];
      return (search === "" || texts[index].includes(search))
        && (label === null || row[1] === label)
        && (status === null || row[statusColumn] === status)
        && (least === null || (row[scoreColumn] !== null && row[scoreColumn] >= least));
    };
    return [isFiltered ? order.filter(matches) : order, isFiltered];
  }

  function cellOf(value, column) {
    const cell = document.createElement("td");
    if (column === 0) {
      const link = document.createElement("a");
      link.href = `#image-${value}`;
      link.textContent = data.names[value];
      cell.append(link);
    } else {
      cell.textContent = value === null ? "" : value;
      if (typeof value === "number") cell.className = "number";
      if (column === statusColumn) cell.className = value;
    }
    return cell;
  }

  function draw() {
    const [indices, isFiltered] = filtered();
    const rows = indices.slice(0, shown).map((index) => {
      const row = document.createElement("tr");
      row.append(...data.rows[index].map(cellOf));
      return row;
    });
    body.replaceChildren(...rows);
    find("more").hidden = indices.length <= shown;
    find("count").textContent = `${indices.length} of ${data.rows.length} rows`;
    const images = new Set(indices.map((index) => data.rows[index][0]));
    figures.forEach((figure, number) => {
      figure.hidden = isFiltered && !images.has(number);
    });
  }

  function restart() {
    shown = ROWS_AT_ONCE;
    draw();
  }

  heads.forEach((head, column) => {
    head.firstElementChild.addEventListener("click", () => {
      const isAscending = head.getAttribute("aria-sort") === "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", isAscending ? "descending" : "ascending");
      const value = (index) =>
        column === 0 ? data.names[data.rows[index][0]] : data.rows[index][column];
      const direction = isAscending ? -1 : 1;
      order.sort((a, b) => compare(value(a), value(b), direction) || a - b);
      restart();
    });
  });
  find("controls").addEventListener("input", (event) => {
    if (event.target.id === "heat") {
      document.body.classList.toggle("with-heat", event.target.checked);
    } else {
      restart();
    }
  });
  find("controls").addEventListener("submit", (event) => event.preventDefault());
  find("more").addEventListener("click", () => {
    shown += ROWS_AT_ONCE;
    draw();
  });
  // A browser that goes back has kept what was entered.
  if (find("heat")) document.body.classList.toggle("with-heat", find("heat").checked);
  draw();
})();
