"""Open every built page, and a report, in headless Chromium, and say what is wrong.

    tox -e docs && tox -e docs-check
    tox -e docs-check -- --screenshots FOLDER

Pages are opened without a network, 1280 pixels wide as on a screen and 390 as on a
phone. The faults are broken links, missing or blank pictures, formulas that are not
rendered, script errors, code of tutorials that is wider than its column, content that
is wider than the phone, and on some pages, text whose contrast is less than that of
WCAG's level AA, on light and on dark ground. The search must find ``localize``. In a
report of 1,000 images, sorting, filtering and the heatmap checkbox must work; the size
of the report and the time to sort are printed. In a report of detections, images are
enlarged, labels hidden and the table sorted, by the keyboard.

Needs Debian's packages chromium and chromium-driver; without them, a message says so.
"""

import argparse
import base64
import shutil
import sys
import tempfile
import threading
from functools import partial
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlparse

import numpy as np
import pandas as pd
from PIL import Image
from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from sklearn_similar import SimilarNetClassifier
from sklearn_similar.datasets import load_mnist_sample
from sklearn_similar.report import write_report

WIDTHS = {"screen": 1280, "phone": 390}
# Pages of which screenshots are taken, besides that of the report.
SCREENSHOTS = (
    "index.html",
    "install.html",
    "api.html",
    "comparison.html",
    "tutorials.html",
    "auto_examples/plot_coins.html",
    "auto_examples/plot_quickstart.html",
    "user_guide/index.html",
    "user_guide/method.html",
    "user_guide/inputs.html",
    "auto_examples/plot_filter_importance.html",
    "generated/sklearn_similar.InstanceLocalizer.html",
)
# A page must be complete without a network.
NO_NETWORK = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
LARGEST_REPORT = 25 * 2**20
LONGEST_SORT = 0.2
# Texts whose contrast is too low; a text over an image must be legible on white.
LOW_CONTRAST = """
const context = document.createElement("canvas").getContext("2d",
  {willReadFrequently: true});
const parsed = new Map();
function rgba(color) {
  if (!parsed.has(color)) {
    context.clearRect(0, 0, 1, 1);
    context.fillStyle = color;
    context.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = context.getImageData(0, 0, 1, 1).data;
    parsed.set(color, [r, g, b, a / 255]);
  }
  return parsed.get(color);
}
const over = (top, bottom) =>
  top.slice(0, 3).map((value, n) => value * top[3] + bottom[n] * (1 - top[3]));
function ground(element) {
  if (!element) return rgba(getComputedStyle(document.body).backgroundColor);
  if (element.matches(".frame, picture, video")) return [255, 255, 255];
  const color = rgba(getComputedStyle(element).backgroundColor);
  return color[3] === 1 ? color : over(color, ground(element.parentElement));
}
function luminance(color) {
  const [r, g, b] = color.map((value) => {
    const share = value / 255;
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}
const found = new Map(), seen = new Map();
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const element = walker.currentNode.parentElement;
  const text = walker.currentNode.textContent.trim();
  if (!text || element.closest("script, style, option, math, svg, :disabled")) continue;
  // Of elements that are alike, the first are enough.
  const like = `${element.parentElement?.className} ${element.tagName}` +
    ` ${element.className}`;
  seen.set(like, (seen.get(like) ?? 0) + 1);
  if (seen.get(like) > 50) continue;
  if (!element.checkVisibility({visibilityProperty: true, opacityProperty: true}))
    continue;
  const style = getComputedStyle(element);
  const bottom = ground(element);
  const light = luminance(bottom);
  const dark = luminance(over(rgba(style.color), bottom));
  const contrast = (Math.max(light, dark) + 0.05) / (Math.min(light, dark) + 0.05);
  const size = parseFloat(style.fontSize);
  const isLarge = size >= 24 || (size >= 18.66 && style.fontWeight >= 700);
  if (contrast < (isLarge ? 3 : 4.5) - 0.01) {
    const key = `${element.tagName}.${element.className}`;
    if (!found.has(key)) found.set(key, `${contrast.toFixed(1)}: ${text.slice(0, 40)}`);
  }
}
return [...found].map(([key, value]) => `${key} ${value}`);
"""


class Page(HTMLParser):
    """The links, pictures and anchors of a page."""

    def __init__(self, path):
        super().__init__()
        self.links, self.images, self.anchors = [], [], set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.anchors.update(filter(None, (attrs.get("id"), attrs.get("name"))))
        if tag == "a" and attrs.get("href"):
            self.links.append(attrs["href"])
        if tag == "img":
            self.images.append(attrs.get("src", ""))


def wrong_links(root):
    """Broken links and pictures of the built pages, and blank pictures."""
    pages = {path.resolve(): Page(path) for path in sorted(root.rglob("*.html"))}
    pictures = set()
    for path, page in pages.items():
        for link in page.links + page.images:
            address, anchor = urldefrag(link)
            if urlparse(address).scheme or address.startswith("//"):
                continue
            target = (path.parent / unquote(address)).resolve() if address else path
            if not target.exists():
                yield f"{path.relative_to(root)}: {link} is broken"
            elif anchor and target in pages:
                if unquote(anchor) not in pages[target].anchors:
                    yield f"{path.relative_to(root)}: there is no {link}"
            elif link in page.images and target.suffix in (".png", ".jpg"):
                pictures.add(target)
    for path in sorted(pictures):
        if np.asarray(Image.open(path).convert("L")).std() < 1:
            yield f"{path.relative_to(root)} is blank"


def start_chromium():
    """A driver of headless Chromium."""
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for argument in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--no-first-run",
        NO_NETWORK,
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.ChromeService(shutil.which("chromedriver"))
    return webdriver.Chrome(options=options, service=service)


def set_width(driver, width):
    """Emulate a screen, as a window cannot be as narrow as a phone."""
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1}
    metrics["mobile"] = width < 500
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def faults_of(driver, name):
    """Faults of the open page."""
    for entry in driver.get_log("browser"):
        # Failed scripts and resources that cannot be loaded.
        if entry["level"] == "SEVERE":
            yield f"{name}: {entry['message']}"
    missing = driver.execute_script(
        "return [...document.images].filter(i => i.loading !== 'lazy' && i.complete"
        " && !i.naturalWidth).map(i => i.src)"
    )
    yield from (f"{name}: {source} is not rendered" for source in missing)
    formulas = driver.execute_script(
        "return [...document.querySelectorAll('.math')].filter(e => {"
        " const formula = e.querySelector('math');"
        " return !formula || !formula.getBoundingClientRect().height;"
        "}).map(e => e.textContent)"
    )
    yield from (f"{name}: the formula {text} is not rendered" for text in formulas)
    if "auto_examples/plot_" in name and name.endswith("screen"):
        cut = driver.execute_script(
            "return [...document.querySelectorAll('.highlight-Python pre')].filter("
            "e => e.scrollWidth > e.clientWidth).map(e => e.textContent.slice(0, 60))"
        )
        yield from (f"{name}: code is wider than its column: {code}" for code in cut)
    wide = driver.execute_script(
        "return document.documentElement.scrollWidth - window.innerWidth"
    )
    if wide > 0:
        widest = driver.execute_script(
            "const end = window.innerWidth;"
            "const clips = e => getComputedStyle(e).overflowX !== 'visible';"
            "const inside = e => e.parentElement && e.parentElement !== document.body"
            " && (clips(e.parentElement) || inside(e.parentElement));"
            "return [...document.body.querySelectorAll('*')].filter(e =>"
            " e.getBoundingClientRect().right > end + 1 && !inside(e))"
            ".map(e => e.tagName + '.' + e.className).slice(0, 3).join(' ')"
        )
        yield f"{name}: {wide} pixels wider than the screen: {widest}"


def check_pages(driver, root, address, screenshots):
    """Faults of all pages in all widths."""
    paths = [path.relative_to(root) for path in root.rglob("*.html")]
    names = sorted(path.as_posix() for path in paths if path.parts[0] != "_static")
    for kind, width in WIDTHS.items():
        set_width(driver, width)
        for name in names:
            driver.get(f"{address}/{name}")
            yield from faults_of(driver, f"{name} on a {kind}")
            if screenshots and name in SCREENSHOTS:
                stem = name.removesuffix(".html").replace("/", "-")
                take_screenshot(driver, screenshots, f"{stem}_{kind}")
    set_width(driver, WIDTHS["screen"])
    for name in SCREENSHOTS:
        driver.get(f"{address}/{name}")
        yield from low_contrasts(driver, name)
    print(f"opened {len(names)} pages at {' and '.join(map(str, WIDTHS.values()))}")


def low_contrasts(driver, name):
    """Texts of the open page that are hard to read, on light and on dark ground."""
    for scheme in ("light", "dark"):
        feature = {"name": "prefers-color-scheme", "value": scheme}
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
        driver.refresh()
        for text in driver.execute_script(LOW_CONTRAST):
            yield f"{name}, {scheme}: the contrast of {text} is too low"
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def take_screenshot(driver, folder, name):
    """Save a picture of the top 3,000 pixels of the page."""
    folder.mkdir(parents=True, exist_ok=True)
    size = driver.execute_cdp_cmd("Page.getLayoutMetrics", {})["cssContentSize"]
    # Screenshots have no scroll bar.
    width = driver.execute_script("return window.innerWidth")
    clip = {"x": 0, "y": 0, "scale": 1, "width": width}
    clip["height"] = min(size["height"], 3000)
    picture = driver.execute_cdp_cmd(
        "Page.captureScreenshot", {"clip": clip, "captureBeyondViewport": True}
    )
    (folder / f"{name}.png").write_bytes(base64.b64decode(picture["data"]))


def check_search(driver, address):
    """The search must find the main method."""
    driver.get(f"{address}/search.html?q=localize")
    wait = WebDriverWait(driver, 20)
    results = wait.until(
        lambda driver: driver.find_elements(By.CSS_SELECTOR, "#search-results li a")
    )
    if not any("InstanceLocalizer" in result.text for result in results):
        yield f"search for localize: {[result.text for result in results][:5]}"


def check_report(driver, screenshots):
    """Sorting, filtering and the heatmap checkbox must work for 1,000 images."""
    X, X_test, y, y_test = load_mnist_sample(return_X_y=True)
    model = SimilarNetClassifier(max_epochs=2, random_state=0).fit(X, y)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "report.html"
        write_report(model, X_test, path, y_test)
        size = path.stat().st_size
        for kind, width in WIDTHS.items():
            set_width(driver, width)
            driver.get(path.as_uri())
            yield from faults_of(driver, f"report on a {kind}")
            if screenshots:
                take_screenshot(driver, screenshots, f"report_{kind}")
        set_width(driver, WIDTHS["screen"])
        driver.get(path.as_uri())
        yield from low_contrasts(driver, "report")
        driver.get(path.as_uri())
        seconds = sort_report(driver)
        yield from check_table(driver)
    print(f"report of {len(X_test)} images: {size / 2**20:.1f} MB, ", end="")
    print(f"sorted in {seconds:.3f} s")
    if size > LARGEST_REPORT or seconds > LONGEST_SORT:
        yield f"the report has {size} bytes and is sorted in {seconds:.2f} s"


class Squares:
    """A localizer with the same detections of three labels in each image."""

    def localize(self, X):
        """Return a table of detections."""
        rows = [
            [image, "abc"[n % 3], 0.99 - n / 10, np.nan, 9 * n, 5, 9 * n + 8, 25]
            for image in range(len(X))
            for n in range(5)
        ]
        boxes = ["x_min", "y_min", "x_max", "y_max"]
        columns = ["image", "label", "score", "heat", *boxes]
        return pd.DataFrame(rows, columns=columns)


def check_report_of_detections(driver, screenshots):
    """Counts, enlarging, labels, contrast and the keyboard must work."""
    rng = np.random.default_rng(0)
    images = list(rng.integers(0, 255, (4, 300, 400), dtype=np.uint8))
    truth = Squares().localize(images).drop(columns=["score", "heat"])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "detections.html"
        for kind, y_true in (("plain", None), ("compared", truth[::2])):
            write_report(Squares(), images, path, y_true)
            set_width(driver, WIDTHS["screen"])
            driver.get(path.as_uri())
            yield from faults_of(driver, f"report of detections, {kind}")
            yield from low_contrasts(driver, f"report of detections, {kind}")
            if screenshots:
                driver.save_screenshot(str(screenshots / f"detections_{kind}.png"))
            counts = driver.find_element(By.ID, "counts").text.split()
            if counts != ["a", "8", "b", "8", "c", "4"]:
                yield f"report of detections: the counts are {counts}"
            yield from check_zoom(driver, screenshots)
            yield from check_labels(driver)
            yield from check_keyboard(driver)


def press(driver, *keys):
    """Press keys, one after the other."""
    ActionChains(driver).send_keys(*keys).perform()


def check_zoom(driver, screenshots):
    """Enter must enlarge an image, arrows turn pages, and Escape go back."""
    frame = driver.find_element(By.CSS_SELECTOR, ".frame")
    width = frame.size["width"]
    driver.execute_script("arguments[0].focus()", frame)
    press(driver, Keys.ENTER)
    enlarged = driver.find_elements(By.CSS_SELECTOR, "#zoom[open] .frame")
    if not enlarged or enlarged[0].size["width"] <= width:
        yield "report of detections: Enter enlarges nothing"
        return
    if screenshots:
        driver.save_screenshot(str(screenshots / "detections_enlarged.png"))
    names = [driver.find_element(By.ID, "zoom-name").text]
    for key in (Keys.ARROW_RIGHT, Keys.ARROW_LEFT, Keys.ARROW_LEFT):
        press(driver, key)
        names.append(driver.find_element(By.ID, "zoom-name").text)
    if [name.split()[0] for name in names] != ["0", "1", "0", "3"]:
        yield f"report of detections: arrows show the images {names}"
    press(driver, Keys.ESCAPE)
    if driver.find_elements(By.CSS_SELECTOR, "#zoom[open]"):
        yield "report of detections: Escape closes nothing"
    focused = driver.execute_script("return document.activeElement.className")
    if focused != "frame":
        yield f"report of detections: after Escape, the focus is on {focused!r}"


def check_labels(driver):
    """The checkbox must hide the labels of boxes, and show them again."""
    visible = "return [...document.querySelectorAll('#gallery .box i')]"
    visible += ".filter(e => e.checkVisibility({visibilityProperty: true})).length"
    numbers = []
    for _ in range(3):
        numbers.append(driver.execute_script(visible))
        driver.find_element(By.ID, "labels").click()
    if numbers[0] == 0 or numbers[1:] != [0, numbers[0]]:
        yield f"report of detections: {numbers} labels are shown by turns"
    driver.find_element(By.ID, "labels").click()


def check_keyboard(driver):
    """Tab must reach the heads of the table, Enter sort, and arrows scroll it."""
    driver.execute_script("document.getElementById('score').focus()")
    reached = []
    for _ in range(30):
        press(driver, Keys.TAB)
        reached.append(
            driver.execute_script(
                "const e = document.activeElement;"
                "return e.matches('.sort') ? e.textContent : e.id || e.className"
            )
        )
        if reached[-1] == "score":
            break
    if not {"frame", "scroll", "score"} <= set(reached):
        yield f"report of detections: Tab reaches {reached} alone"
        return
    outline = driver.execute_script(
        "return getComputedStyle(document.activeElement).outlineStyle"
    )
    if outline == "none":
        yield "report of detections: the focus cannot be seen"
    for direction in ("ascending", "descending"):
        press(driver, Keys.ENTER)
        scores, state = driver.execute_script(
            "const cells = [...document.querySelectorAll('#rows tbody tr')]"
            ".map(row => Number(row.cells[2].textContent || 0)).filter(Boolean);"
            "return [cells, document.querySelectorAll('#rows th')[2].ariaSort]"
        )
        if scores != sorted(scores, reverse=direction == "descending"):
            yield f"report of detections: Enter sorts {direction} into {scores}"
        if state != direction:
            yield f"report of detections: aria-sort is {state}, not {direction}"


def sort_report(driver):
    """Time in seconds to sort the table by its second column and lay it out."""
    return driver.execute_script(
        "const start = performance.now();"
        "document.querySelectorAll('#rows thead th')[1].firstElementChild.click();"
        "document.body.offsetHeight;"
        "return (performance.now() - start) / 1000"
    )


def check_table(driver):
    """The table must be sorted and filtered, and the checkbox must show heatmaps."""

    def column():
        return driver.execute_script(
            "return [...document.querySelectorAll('#rows tbody tr:not([hidden])')]"
            ".map(row => row.cells[1].textContent)"
        )

    labels = column()
    if labels != sorted(labels) or len(set(labels)) < 2:
        yield f"report: sorting gives {labels[:5]} ... {labels[-5:]}"
    select = driver.find_element(By.ID, "label")
    wanted = select.find_elements(By.TAG_NAME, "option")[3].text
    # By the keyboard, as a simulated click does not reach the script of the page.
    select.send_keys(wanted)
    if set(column()) != {wanted}:
        yield f"report: filtering by {wanted} leaves {sorted(set(column()))}"
    visible = "return [...document.querySelectorAll('#gallery img')]"
    visible += ".filter(e => e.checkVisibility({visibilityProperty: true})).length"
    before = driver.execute_script(visible)
    driver.find_element(By.ID, "heat").click()
    if driver.execute_script(visible) <= before:
        yield "report: the heatmap checkbox changes nothing"


def main():
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--root",
        type=Path,
        default=Path(__file__).parent / "_build" / "html",
        help="folder of the built pages",
    )
    parser.add_argument("--screenshots", type=Path, help="folder for screenshots")
    options = parser.parse_args()
    root = options.root.resolve()
    if not (root / "index.html").exists():
        print(f"there are no pages in {root}: build them first, tox -e docs")
        return 1
    faults = list(wrong_links(root))
    if not (shutil.which("chromium") and shutil.which("chromedriver")):
        print("no browser: Debian's packages chromium and chromium-driver are missing")
    else:
        handler = partial(QuietHandler, directory=root)
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        driver = start_chromium()
        try:
            faults += check_pages(driver, root, address, options.screenshots)
            faults += check_search(driver, address)
            faults += check_report(driver, options.screenshots)
            faults += check_report_of_detections(driver, options.screenshots)
        finally:
            driver.quit()
            server.shutdown()
    print("\n".join(faults) or "no faults")
    return 1 if faults else 0


class QuietHandler(SimpleHTTPRequestHandler):
    """Serves files without logging each request."""

    def log_message(self, *args):
        pass


if __name__ == "__main__":
    sys.exit(main())
