"use strict";
(() => {
  const find = (id) => document.getElementById(id);
  const heads = [...document.querySelectorAll("#rows thead th")];
  const body = document.querySelector("#rows tbody");
  const rows = [...body.rows];
  const texts = new Map(
    rows.map((row) => [row, [...row.cells].map((cell) => cell.textContent)]));
  const figures = [...document.querySelectorAll("#gallery figure")];
  const columnOf = (name) => heads.findIndex((head) => head.textContent === name);
  const [label, score, status] = ["label", "score", "status"].map(columnOf);
  const compareTexts = new Intl.Collator("en", { numeric: true }).compare;

  // Missing values come last in both directions.
  function compare(a, b, direction) {
    if (a === "" || b === "") return (a === "") - (b === "");
    return direction * (a - b || compareTexts(a, b));
  }

  function matches(text, id) {
    const select = find(id);
    return !select || select.selectedIndex === 0 || text === select.value;
  }

  function filter() {
    const search = find("search").value.trim().toLowerCase();
    const minimum = find("score").value;
    const images = new Set();
    let count = 0;
    for (const row of rows) {
      const text = texts.get(row);
      row.hidden = !(`${text[0]} ${text[1]}`.toLowerCase().includes(search)
        && matches(text[label], "label") && matches(text[status], "status")
        && (!minimum || (text[score] && Number(text[score]) >= Number(minimum))));
      if (!row.hidden) {
        count += 1;
        images.add(Number(row.dataset.image));
      }
    }
    find("count").textContent = `${count} of ${rows.length} rows`;
    figures.forEach((figure, number) => {
      figure.hidden = count < rows.length && !images.has(number);
    });
    // A browser that goes back restores the checkboxes.
    document.body.classList.toggle("with-heat", Boolean(find("heat")?.checked));
    document.body.classList.toggle("without-labels", find("labels")?.checked === false);
  }

  const zoom = find("zoom");
  let shown = 0;

  function show(number) {
    shown = number;
    const figure = figures[number];
    const frame = figure.querySelector(".frame").cloneNode(true);
    frame.setAttribute("aria-label", "Close");
    frame.querySelectorAll("img").forEach((image) => { image.loading = "eager"; });
    const picture = find("zoom-picture");
    picture.className = figure.classList.contains("small") ? "small" : "large";
    picture.replaceChildren(frame);
    find("zoom-name").textContent = figure.querySelector("figcaption").textContent;
    if (!zoom.open) zoom.showModal();
  }

  // The next image that the filter leaves, in a direction.
  function step(direction) {
    const left = figures.flatMap((figure, number) => (figure.hidden ? [] : [number]));
    show(left.at((left.indexOf(shown) + direction) % left.length));
  }

  find("gallery").addEventListener("click", (event) => {
    const figure = event.target.closest(".frame")?.parentElement;
    if (figure) show(figures.indexOf(figure));
  });
  zoom.addEventListener("click", (event) => {
    if (event.target.closest(".frame, #close")) zoom.close();
  });
  zoom.addEventListener("keydown", (event) => {
    if (event.key === "ArrowRight") step(1);
    if (event.key === "ArrowLeft") step(-1);
  });
  zoom.addEventListener("close", () => {
    figures[shown].querySelector(".frame").focus();
  });
  find("next").addEventListener("click", () => step(1));
  find("previous").addEventListener("click", () => step(-1));

  heads.forEach((head, column) => {
    head.firstElementChild.addEventListener("click", () => {
      const direction = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", direction > 0 ? "ascending" : "descending");
      const key = (row) => texts.get(row)[column];
      rows.sort((a, b) => compare(key(a), key(b), direction));
      body.append(...rows);
    });
  });
  find("controls").addEventListener("input", filter);
  find("controls").addEventListener("submit", (event) => event.preventDefault());
  filter();
})();
