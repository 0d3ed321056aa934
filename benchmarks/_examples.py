"""Detections on the pages of the documentation's gallery, counted."""

import runpy
from collections import Counter
from difflib import SequenceMatcher
from pathlib import Path

from sklearn_similar.metrics import detection_scores

FOLDER = Path(__file__).parents[1] / "docs" / "examples"
# Counted by hand.
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
    """Rows of the table: numbers of objects, detections and correct detections.

    The boxes of coins are not known, only their number.
    """
    coins = _run("plot_coins")["instances"]
    yield {"example": "coins", "objects": N_COINS, "detections": len(coins)}
    for example in ("icons", "faces", "clothes"):
        page = _run(f"plot_{example}")
        scores = detection_scores(page["truth"], page["instances"])
        yield _row(example, scores.n_true, scores.n_predicted, scores.n_matched)
    page = _run("plot_text")
    yield _row("letters of a page", *_read_letters(page["lines"]))
    written = page["written"]["label"]
    n_correct = sum((Counter(written) & Counter(WRITTEN)).values())
    yield _row("handwritten letters", len(WRITTEN), len(written), n_correct)


def _run(page):
    """Run a page and return its global names."""
    return runpy.run_path(str(FOLDER / f"{page}.py"))


def _row(name, n_objects, n_detections, n_correct):
    return {
        "example": name,
        "objects": n_objects,
        "detections": n_detections,
        "correct": n_correct,
        "recall": n_correct / n_objects,
        "precision": n_correct / n_detections,
    }


def _read_letters(detected_lines):
    """Numbers of true letters, of detected letters, and of letters in common.

    Each true line is compared with the most similar detected line.
    """
    texts = ["".join(letter.label for letter in line) for line in detected_lines]
    n_objects = n_detections = n_correct = 0
    for line in LINES:
        letters = "".join(filter(str.isalpha, line.lower()))
        matchers = [SequenceMatcher(None, letters, text, False) for text in texts]
        best = max(matchers, key=SequenceMatcher.ratio)
        n_objects += len(letters)
        n_detections += len(best.b)
        n_correct += sum(block.size for block in best.get_matching_blocks())
    return n_objects, n_detections, n_correct
