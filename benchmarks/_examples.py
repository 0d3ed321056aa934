"""What the gallery's pages find, counted."""

import runpy
from collections import Counter
from difflib import SequenceMatcher
from pathlib import Path

from sklearn_similar.metrics import detection_scores

FOLDER = Path(__file__).parents[1] / "docs" / "examples"
# Seen by eye.
N_COINS = 24
WRITTEN = "txps"
LINES = (
    "Region-based segmentation",
    "Let us first determine markers of the coins and the",
    "background. These markers are pixels that we can label",
    "unambiguously as either object or background. Here,",
    "the markers are found at the two extreme parts of the",
    "histogram of grey values:",
)


def example_rows():
    """Rows of the table: instances that are there, that were found, and of these right.

    Of coins, only the number is known.
    """
    coins = _run("plot_coins")["instances"]
    yield {"example": "coins", "true": N_COINS, "found": len(coins)}
    for example in ("icons", "faces", "clothes"):
        page = _run(f"plot_{example}")
        scores = detection_scores(page["truth"], page["instances"])
        yield _row(example, scores.n_true, scores.n_predicted, scores.n_matched)
    page = _run("plot_text")
    yield _row("letters of a page", *_read_letters(page["lines"]))
    written = page["written"]["label"]
    n_right = sum((Counter(written) & Counter(WRITTEN)).values())
    yield _row("handwritten letters", len(WRITTEN), len(written), n_right)


def _run(page):
    """Names of a page, after it was run."""
    return runpy.run_path(str(FOLDER / f"{page}.py"))


def _row(name, n_true, n_found, n_right):
    row = {"example": name, "true": n_true, "found": n_found, "right": n_right}
    return row | {"recall": n_right / n_true, "precision": n_right / n_found}


def _read_letters(found):
    """Letters of the page's lines, those in the lines found, and those in common.

    A line is compared with the one found that is most like it.
    """
    texts = ["".join(letter.label for letter in line) for line in found]
    n_true = n_found = n_right = 0
    for line in LINES:
        letters = "".join(filter(str.isalpha, line.lower()))
        matchers = [SequenceMatcher(None, letters, text, False) for text in texts]
        best = max(matchers, key=SequenceMatcher.ratio)
        n_true += len(letters)
        n_found += len(best.b)
        n_right += sum(block.size for block in best.get_matching_blocks())
    return n_true, n_found, n_right
