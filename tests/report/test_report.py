"""Report pages, read back by the HTML parser of Python."""

import base64
import contextlib
import copy
import io
import os
import sys
from collections.abc import Sequence
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import confusion_matrix

from sklearn_similar.datasets import make_scenes
from sklearn_similar.metrics import detection_scores
from sklearn_similar.report import write_report
from sklearn_similar.report._pictures import encode

Image = pytest.importorskip("PIL.Image")

HOSTILE = "</script><b onclick='x'>\"&amp;<!--\u2028"
BOX = ["x_min", "y_min", "x_max", "y_max"]


class Page(HTMLParser):
    """Elements of a page, as (tag, attributes, text within)."""

    def __init__(self, path):
        super().__init__()
        self.elements = []
        self.open = []
        # Ids of the elements around each data cell, in the order of the cells.
        self.ancestors = []
        self.text = path.read_text(encoding="utf-8")
        self.feed(self.text)

    def handle_starttag(self, tag, attrs):
        self.elements.append([tag, dict(attrs), ""])
        if tag == "td":
            self.elements[-1][1]["n"] = len(self.ancestors)
            self.ancestors.append({element[1].get("id") for element in self.open})
        if tag not in ("img", "input", "meta"):
            self.open.append(self.elements[-1])

    def handle_endtag(self, tag):
        assert self.open.pop()[0] == tag

    def handle_data(self, data):
        for element in self.open:
            element[2] += data

    def of(self, tag, **attributes):
        wanted = {name.rstrip("_"): value for name, value in attributes.items()}
        return [
            element
            for element in self.elements
            if element[0] == tag and wanted.items() <= element[1].items()
        ]

    def boxes(self, status):
        spans = self.of("span")
        return [
            e for e in spans if e[1].get("class", "").split()[:2] == ["box", status]
        ]

    def cells_in(self, id):
        """Texts of the data cells in the element with an id."""
        return [e[2] for e in self.of("td") if id in self.ancestors[e[1]["n"]]]

    @property
    def rows(self):
        """The table, with numbers in columns that hold nothing else."""
        columns = [element[2] for element in self.of("button", class_="sort")]
        cells = np.reshape(self.cells_in("rows"), (-1, len(columns)))
        frame = pd.DataFrame(cells, columns=columns)
        for name in columns:
            with contextlib.suppress(ValueError):
                frame[name] = pd.to_numeric(frame[name])
        return frame

    @property
    def facts(self):
        names = [element[2] for element in self.of("dt")]
        return dict(zip(names, [element[2] for element in self.of("dd")], strict=True))

    def picture(self, element):
        content = base64.b64decode(element[1]["src"].split("base64,")[1])
        return Image.open(io.BytesIO(content))


class Finder:
    """A localizer with fixed results."""

    def __init__(self, labels=("a", "b"), scores=(0.9, 0.8)):
        self.labels, self.scores = labels, scores

    def localize(self, X):
        return pd.DataFrame(
            {
                "image": 0,
                "label": list(self.labels),
                "score": list(self.scores),
                "heat": np.nan,
                "x_min": [1, 5],
                "y_min": [2, 2],
                "x_max": [4, 8],
                "y_max": [6, 6],
            }
        )


@pytest.fixture
def path(tmp_path):
    return tmp_path / "report.html"


@pytest.fixture(scope="module")
def scenes(digits):
    return make_scenes(digits.X_test, digits.y_test, n_scenes=4, random_state=0)


def test_a_localizer_s_page_holds_its_instances_and_the_scores(
    fitted_localizer, scenes, path
):
    images, truth = scenes
    # There is no instance in the corner, so that at least one is missed.
    corner = truth.iloc[:1].assign(x_min=0, y_min=0, x_max=2, y_max=2)
    truth = pd.concat([truth, corner]).sample(frac=1, random_state=0)
    write_report(fitted_localizer, images, path, truth)
    page, found = Page(path), fitted_localizer.localize(images)
    scores = detection_scores(truth, found)
    assert page.facts == {
        "images": "4",
        "instances": str(len(found)),
        "true instances": str(len(truth)),
        "right": str(scores.n_matched),
        "false": str(scores.n_predicted - scores.n_matched),
        "missed": str(scores.n_true - scores.n_matched),
        "precision": f"{scores.precision:.3f}",
        "recall": f"{scores.recall:.3f}",
        "F1": f"{scores.f1:.3f}",
    }
    rows = page.rows
    predicted = rows[rows["status"] != "missed"]
    assert predicted[BOX].to_numpy().tolist() == found[BOX].to_numpy().tolist()
    assert predicted["image"].tolist() == found["image"].tolist()
    np.testing.assert_allclose(predicted["heat"], found["heat"], atol=1e-3)
    missed = rows[rows["status"] == "missed"]
    keys = truth[["image", *BOX]].astype(int).apply(tuple, axis=1).tolist()
    assert len(missed) == scores.n_true - scores.n_matched > 0
    assert set(missed[["image", *BOX]].astype(int).apply(tuple, axis=1)) <= set(keys)
    for status in ("right", "false", "missed"):
        assert len(page.boxes(status)) == (rows["status"] == status).sum()
    assert len(page.of("input", id="heat")) == 1
    values = fitted_localizer.estimator_.filter_importances_
    # Next to each value is a bar.
    listed = page.cells_in("importances")[::2]
    assert listed == [f"{value:.4g}" for value in sorted(values, reverse=True)]


def test_instances_in_crowds_are_neither_right_nor_false(
    fitted_localizer, scenes, path
):
    images, truth = scenes
    found = fitted_localizer.localize(images)
    # All of the first image is a crowd, of the label of its first detection.
    height, width = images[0].shape[:2]
    crowd = found.iloc[:1].assign(x_min=0, y_min=0, x_max=width, y_max=height)
    truth = pd.concat([crowd.assign(iscrowd=True), truth[truth["image"] != 0]])
    write_report(fitted_localizer, images, path, truth.drop(columns=["score", "heat"]))
    rows = Page(path).rows
    is_covered = (found["image"] == 0) & (found["label"] == crowd["label"].iloc[0])
    statuses = rows["status"][: len(found)]
    assert set(statuses[is_covered]) == {""}
    assert "" not in set(statuses[~is_covered])
    assert (rows[rows["status"] == "missed"]["image"] != 0).all()


def test_a_classifier_s_page_holds_labels_and_the_confusion(digits, fitted, path):
    X, y = digits.X_test[:30], digits.y_test[:30]
    write_report(fitted, X, path, y)
    page = Page(path)
    predicted = fitted.predict(X)
    assert page.facts == {
        "images": "30",
        "accuracy": f"{(predicted == y).mean():.3f}",
        "false": str((predicted != y).sum()),
    }
    labels = np.union1d(y, predicted)
    counts = confusion_matrix(y, predicted, labels=labels)
    _, *cells = page.cells_in("confusion")  # the corner is empty
    assert [int(cell or 0) for cell in cells] == counts.ravel().tolist()
    expected = np.where(predicted == y, "right", "false").tolist()
    assert page.rows["status"].tolist() == expected
    proba = fitted.predict_proba(X).max(axis=1)
    np.testing.assert_allclose(page.rows["score"], proba, atol=1e-4)


def test_pictures_are_the_images_and_heat_covers_where_the_heatmap_is_hot(
    digits, fitted, path
):
    X = digits.X_test[:3]
    write_report(fitted, X, path)
    page = Page(path)
    images = [e for e in page.of("img") if e[1].get("class") != "heat"]
    heats = page.of("img", class_="heat")
    assert all(e[1]["loading"] == "lazy" for e in images + heats)
    expected = fitted.heatmap(X, labels=fitted.predict(X))
    for element, image, covering, heat in zip(images, X, heats, expected, strict=True):
        np.testing.assert_array_equal(page.picture(element), image)
        cover = np.asarray(page.picture(covering).convert("RGBA"))[..., 3] / 255
        np.testing.assert_allclose(cover, 0.8 * np.clip(heat, 0, 1), atol=0.02)


def test_dark_instances_are_hot_in_the_negative(fitted_localizer, scenes, path):
    images, _ = scenes
    covers = {}
    for polarity, pixels in (("bright", images), ("dark", 255 - images)):
        localizer = copy.copy(fitted_localizer).set_params(polarity=polarity)
        write_report(localizer, pixels, path)
        page = Page(path)
        heat = page.of("img", class_="heat")[0]
        covers[polarity] = np.asarray(page.picture(heat).convert("RGBA"))[..., 3]
    np.testing.assert_array_equal(covers["bright"], covers["dark"])


def test_labels_and_names_are_escaped(path):
    truth = Finder(labels=(HOSTILE, "c")).localize(None).drop(columns=["score", "heat"])
    finder = Finder(labels=(HOSTILE, HOSTILE))
    write_report(finder, [np.eye(8)] * 2, path, truth, image_names=[HOSTILE, "\udcff"])
    page = Page(path)
    # No encoding can represent the second name.
    assert [e[2] for e in page.of("b")] == ["2", HOSTILE, "?"]
    assert page.rows["image"].tolist() == [HOSTILE] * 3
    assert page.rows["label"].tolist() == [HOSTILE, HOSTILE, "c"]
    assert not any("onclick" in attributes for _, attributes, _ in page.elements)
    assert len(page.of("script")) == 1
    assert page.of("img")[0][1]["alt"] == HOSTILE
    assert HOSTILE in [e[1].get("value") for e in page.of("option")]
    assert f"{HOSTILE} 0.90" in [e[2] for e in page.of("i")]


def test_nothing_is_loaded_from_elsewhere(fitted_localizer, scenes, path):
    write_report(fitted_localizer, scenes[0], path)
    page = Page(path)
    (policy,) = page.of("meta", **{"http-equiv": "Content-Security-Policy"})
    assert policy[1]["content"].startswith("default-src 'none'; img-src data:;")
    for _, attributes, _ in page.elements:
        for name in ("src", "href"):
            assert attributes.get(name, "data:").startswith(("data:", "#"))
    assert "http" not in page.text.replace("http-equiv", "")


def test_rows_can_be_images_of_a_classifier_without_heatmaps(digits, path):
    X = digits.X.reshape(len(digits.X), -1)
    model = LogisticRegression(tol=1e4).fit(X, digits.y)
    with pytest.raises(ValueError, match=r"images has shape 200x784; pass \[images\]"):
        write_report(model, X, path)
    model.image_shape_ = (28, 28)
    for estimator in (model, FrozenEstimator(model)):
        write_report(estimator, pd.DataFrame(X), path, digits.y)
        page = Page(path)
        assert page.of("input", id="heat") == page.of("details", id="importances") == []
        np.testing.assert_array_equal(page.picture(page.of("img")[0]), digits.X[0])


class Files(Sequence):
    """Images that are made on access, which is recorded."""

    def __init__(self, n):
        self.n, self.read = n, []

    def __len__(self):
        return self.n

    def __getitem__(self, index):
        self.read.append(index)
        return np.full((1500, 1500), index, np.uint8)


def test_images_of_a_sequence_are_read_in_order_a_few_at_a_time(path):
    class Counter(Finder):
        sizes = ()

        def localize(self, X):
            self.sizes += (len(X),)
            return super().localize(X)[: len(X)]

    images, finder = Files(5), Counter()
    write_report(finder, images, path)
    assert images.read == [0, 1, 2, 3, 4]
    assert finder.sizes == (2, 2, 1)
    assert Page(path).rows["image"].tolist() == [0, 0, 2, 2, 4]


def test_pictures_of_a_thousand_images_take_less_than_25_mb():
    rng = np.random.default_rng(0)
    for image in (rng.random((480, 640, 3)), rng.random((28, 28))):
        heat = rng.random(image.shape[:2])
        size = sum(map(len, encode(image, heat, 1.0, 1000)))
        assert 1000 * size < 24_000_000
        few = encode(image, heat, 1.0, 10)
        assert sum(map(len, few)) >= size


def test_nothing_found_and_nothing_true_is_a_page(path):
    nothing = Finder().localize(None)[:0]
    finder = Finder()
    finder.localize = lambda X: nothing
    truth = nothing.drop(columns=["score", "heat"])
    write_report(finder, [np.eye(8)], path, truth)
    page = Page(path)
    assert len(page.rows) == 0
    assert page.facts["F1"] == "0.000"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"estimator": object()}, "object has neither localize nor predict; pass"),
        ({"images": []}, "images is empty"),
        ({"images": 3}, "images is an int"),
        ({"images": b"a.png"}, "images is a bytes"),
        ({"images": "a.png"}, "'a.png' does not exist; pass a folder of images"),
        ({"images": np.eye(8)}, r"images has shape 8x8; pass \[images\]"),
        ({"image_names": ["a", "b"]}, "image_names is 2 names for 1 image; pass"),
        ({"image_names": "a"}, "image_names is a str for 1 image; pass"),
        ({"y_true": ["a"]}, "y_true is a list; pass a DataFrame"),
        (
            {"y_true": Finder().localize(None).assign(image=1)},
            "Row 0 of y_true has image=1",
        ),
        ({"path": os.curdir}, "is a folder; pass the name of a file"),
    ],
)
def test_invalid_input_is_refused_and_the_old_file_stays(change, message, path):
    path.write_text("old")
    given = {"estimator": Finder(), "images": [np.eye(8)], "path": path} | change
    with pytest.raises(ValueError, match=message):
        write_report(**given)
    assert path.read_text() == "old"
    assert os.listdir(path.parent) == [path.name]


def test_errors_name_the_image_from_which_they_count(path):
    images = [np.zeros((1500, 1500))] * 2 + [np.full((3, 3), np.nan)]
    with pytest.raises(ValueError, match="Counted from image 2: Image 0 of images"):
        write_report(Finder(), images, path)


@pytest.fixture
def folder(tmp_path):
    for name in ("a.png", "more/a.png", "more/b.png"):
        file = tmp_path / "images" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (10, 8), 90).save(file)
    return tmp_path / "images"


def test_a_folder_is_named_and_compared_with_a_table_of_files(folder, path):
    truth = Finder().localize(None).drop(columns=["score", "heat"])
    for images in (folder, str(folder)):
        write_report(Finder(), images, path, truth.assign(image="a.png"))
        page = Page(path)
        assert [e[2] for e in page.of("b")][-3:] == [
            "a.png",
            "more/a.png",
            "more/b.png",
        ]
        assert page.facts["right"] == "2"
    write_report(Finder(), [folder / "a.png", folder / "more" / "b.png"], path)
    assert [e[2] for e in Page(path).of("b")][-2:] == ["a.png", "b.png"]
    files = [folder / "a.png", folder / "more" / "a.png"]
    write_report(Finder(), files, path)
    assert [e[2] for e in Page(path).of("b")][-2:] == [str(file) for file in files]


def test_counts_stand_on_top_with_the_colours_of_the_boxes(path):
    write_report(Finder(("b10", "b9")), [np.eye(8)], path)
    page = Page(path)
    assert [e[2].split() for e in page.of("li")] == [["b9", "1"], ["b10", "1"]]
    assert page.text.index('id="counts"') < page.text.index('id="gallery"')
    swatches = [
        e[1]["style"].rpartition(":")[2] for e in page.of("span", class_="color")
    ]
    borders = [e[1]["style"].rpartition(":")[2] for e in page.boxes("found")]
    assert swatches == borders[::-1]
    assert len(set(swatches)) == 2
    assert "1 b9, 1 b10" in page.of("figcaption")[0][2]
    # Where the truth is known, colours are those of the status.
    truth = Finder().localize(None).drop(columns=["score", "heat"])
    write_report(Finder(), [np.eye(8)], path, truth)
    assert Page(path).of("span", class_="color") == []


def test_one_label_is_not_repeated_at_each_box(path):
    write_report(Finder(("a", "a")), [np.eye(8)], path)
    assert [e[2] for e in Page(path).of("i")] == ["0.90", "0.80"]


def test_few_photographs_are_large_enough_to_be_enlarged():
    rng = np.random.default_rng(0)
    photograph = np.kron(rng.random((24, 32)), np.ones((50, 50)))
    sizes = []
    for n_images in (1, 1000):
        uri, heat = encode(photograph, photograph, 1.0, n_images)
        pictures = [
            Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2])))
            for source in (uri, heat)
        ]
        sizes.append(max(pictures[0].size))
        assert max(pictures[1].size) <= 360
    assert sizes[0] == 1280
    assert sizes[1] <= 360


def test_filter_importances_are_explained(fitted, digits, path):
    write_report(fitted, digits.X_test[:3], path)
    (section,) = Page(path).of("details", id="importances")
    assert "increase of the log loss\non held-out images if the filter" in section[2]


def test_missing_pillow_is_named(path, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    message = "write_report needs Pillow, which is not installed: pip install pillow"
    with pytest.raises(ImportError, match=message):
        write_report(Finder(), [np.zeros((30, 30))], path)
