"""Contents of plots, and that Matplotlib is only needed to draw."""

import sys

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import NotFittedError

from sklearn_similar import SimilarNetClassifier
from sklearn_similar.datasets import load_mnist_sample
from sklearn_similar.display import (
    FilterImportanceDisplay,
    HeatmapDisplay,
    InstancesDisplay,
)


@pytest.fixture(scope="module")
def digits():
    X, _, y, _ = load_mnist_sample(return_X_y=True)
    return X[::20], y[::20]


@pytest.fixture(scope="module")
def fitted(digits):
    return SimilarNetClassifier(max_epochs=2, batch_size=25, random_state=0).fit(
        *digits
    )


@pytest.fixture(autouse=True)
def no_figures_left():
    plt.switch_backend("Agg")
    yield
    plt.close("all")


def drawn(ax):
    """The image and the heatmap in an axes."""
    image, heat = ax.get_images()
    return np.asarray(image.get_array()), heat


def test_each_image_has_its_heatmap_over_it(fitted, digits):
    X = digits[0][:3]
    display = HeatmapDisplay.from_estimator(fitted, X)
    assert len(display.axes_) == 3
    for ax, image, heat in zip(display.axes_, X, fitted.heatmap(X), strict=True):
        below, above = drawn(ax)
        np.testing.assert_allclose(below, image / 255, rtol=1e-6)
        np.testing.assert_allclose(above.get_array(), heat)
    assert display.axes_[0].figure is display.figure_


def test_cover_grows_with_heat_and_leaves_the_rest_bare():
    heat = np.array([[-0.5, 0.0, 0.5, 1.0, 2.0]])
    display = HeatmapDisplay([np.ones((1, 5))], [heat], max_heat=1.0).plot(alpha=0.6)
    _, above = drawn(display.axes_[0])
    np.testing.assert_allclose(above.get_alpha(), [[0, 0, 0.3, 0.6, 0.6]])


def test_rows_and_data_frames_are_drawn_as_images(fitted, digits):
    rows = digits[0][:2].reshape(2, -1)
    for X in (rows, pd.DataFrame(rows)):
        model = SimilarNetClassifier(max_epochs=0, random_state=0)
        model.fit(X, [0, 1]).fit_importance(X, [0, 1])
        display = HeatmapDisplay.from_estimator(model, X)
        below, above = drawn(display.axes_[1])
        np.testing.assert_allclose(below, digits[0][1] / 255, rtol=1e-6)
        assert above.get_array().shape == (28, 28)


def test_sizes_may_differ_in_a_list_of_grey_and_colour_images(fitted):
    rng = np.random.default_rng(0)
    X = [
        rng.integers(0, 256, (30, 50), dtype=np.uint8),
        rng.integers(0, 256, (20, 24, 3), dtype=np.uint8),
        rng.random((28, 28)),
    ]
    display = HeatmapDisplay.from_estimator(fitted, X)
    shapes = [drawn(ax)[0].shape for ax in display.axes_]
    assert shapes == [(30, 50), (20, 24, 3), (28, 28)]


@pytest.mark.parametrize(
    "image",
    [
        np.array([[0, 65535]], dtype=np.uint16),
        np.array([[-1.0, 1.0]]),
        np.array([[0.0, 300.0]]),
        np.array([[[0, 0], [255, 255]]], dtype=np.uint8),
    ],
    ids=["uint16", "negative", "large", "two channels"],
)
def test_any_range_of_values_is_drawn_from_black_to_white(image):
    display = HeatmapDisplay([image], [np.zeros((1, 2))]).plot()
    below, _ = drawn(display.axes_[0])
    np.testing.assert_allclose(below, [[0, 1]])


@pytest.mark.parametrize(
    ("target", "label"), [(None, "heat"), (3, "heat of 3"), ([1, 7], "heat of 1 or 7")]
)
def test_target_is_passed_on_and_named(fitted, digits, target, label):
    X = digits[0][:2]
    display = HeatmapDisplay.from_estimator(fitted, X, target=target)
    _, above = drawn(display.axes_[1])
    np.testing.assert_allclose(above.get_array(), fitted.heatmap(X, target)[1])
    assert display.figure_.axes[-1].get_ylabel() == label


def test_labels_become_titles(fitted, digits):
    X, y = digits
    display = HeatmapDisplay.from_estimator(fitted, X[:2], y=y[:2])
    assert [ax.get_title() for ax in display.axes_] == [str(label) for label in y[:2]]
    with pytest.raises(ValueError, match="y holds 3 labels for 2 images; pass one"):
        HeatmapDisplay.from_estimator(fitted, X[:2], y=y[:3])


def test_each_image_may_have_the_heat_of_its_own_label(fitted, digits):
    X, _ = digits
    labels = [3, 7, 0, 1, 2]
    display = HeatmapDisplay.from_estimator(fitted, X[:5], labels=labels)
    heat = fitted.heatmap(X[:5], labels=labels).reshape(5, 28, 28)
    np.testing.assert_array_equal(display.heatmaps, heat)
    assert display.titles == ["3", "7", "0", "1", "2"]
    assert display.label == "heat of the label"
    true = [3, 1, 0, 1, 9]
    display = HeatmapDisplay.from_estimator(fitted, X[:5], labels=labels, y=true)
    assert display.titles == ["3", "7, not 1", "0", "1", "2, not 9"]
    with pytest.raises(ValueError, match="target"):
        HeatmapDisplay.from_estimator(fitted, X[:5], target=3, labels=labels)


@pytest.mark.parametrize(("n_images", "columns"), [(3, 3), (5, 5), (6, 3), (11, 4)])
def test_the_rows_of_a_new_figure_are_as_long_as_one_another(n_images, columns):
    display = HeatmapDisplay([IMAGE] * n_images, [HEAT] * n_images).plot()
    places = [ax.get_subplotspec() for ax in display.axes_]
    assert {place.get_geometry()[1] for place in places} == {columns}
    assert n_images - columns * (places[-1].rowspan.start) > 0


def test_normalised_heat_has_one_meaning_in_all_plots(fitted, digits):
    faint = digits[0][:1] // 8
    display = HeatmapDisplay.from_estimator(fitted, faint)
    assert drawn(display.axes_[0])[1].norm.vmax == 1.0
    heat = np.full((2, 2), 3.0)
    display = HeatmapDisplay([heat], [heat]).plot()
    assert drawn(display.axes_[0])[1].norm.vmax == 3.0


def test_heatmaps_go_into_given_axes():
    images = [np.eye(4), np.eye(5)]
    figure, axes = plt.subplots(2, 2)
    display = HeatmapDisplay(images, images).plot(axes, colorbar=False)
    assert list(display.axes_) == [axes[0, 0], axes[0, 1]]
    assert display.figure_ is figure
    assert len(figure.axes) == 4
    assert not axes[1, 0].get_images()

    _, ax = plt.subplots()
    assert HeatmapDisplay(images[:1], images[:1]).plot(ax).axes_[0] is ax


@pytest.mark.parametrize(
    ("display", "axes", "message"),
    [
        (HeatmapDisplay([], []), None, "no images"),
        (HeatmapDisplay([np.eye(3)], []), None, "0 heatmaps for 1 images"),
        (HeatmapDisplay([np.eye(3)], [np.eye(4)]), None, "is 3x3 and its heatmap 4x4"),
        (
            HeatmapDisplay([np.eye(3)], [np.eye(3)], titles=["a", "b"]),
            None,
            "titles has length 2 for 1 images",
        ),
        (
            HeatmapDisplay(2 * [np.eye(3)], 2 * [np.eye(3)]),
            "one",
            "1 axes for 2 images",
        ),
    ],
)
def test_what_does_not_fit_is_named(display, axes, message):
    with pytest.raises(ValueError, match=message):
        display.plot(plt.subplots()[1] if axes else None)


def test_bars_are_the_importances_sorted_or_not(fitted):
    importances = fitted.filter_importances_
    display = FilterImportanceDisplay.from_estimator(fitted)
    heights = [bar.get_height() for bar in display.bars_]
    np.testing.assert_allclose(heights, np.sort(importances)[::-1])
    labels = [int(label.get_text()) for label in display.ax_.get_xticklabels()]
    np.testing.assert_array_equal(importances[labels], heights)
    assert display.ax_.get_ylabel() == "increase of the log loss"

    display = FilterImportanceDisplay.from_estimator(fitted, sort=False)
    heights = [bar.get_height() for bar in display.bars_]
    np.testing.assert_allclose(heights, importances)
    assert display.im_ is None


def test_importances_by_class_have_zero_in_the_middle_of_the_colours(fitted):
    display = FilterImportanceDisplay.from_estimator(fitted, by_class=True)
    values = np.asarray(display.im_.get_array())
    np.testing.assert_allclose(values, fitted.class_importances_[:, display.order_])
    low, high = display.im_.get_clim()
    assert low == -high
    labels = [label.get_text() for label in display.ax_.get_yticklabels()]
    assert labels == [str(label) for label in fitted.classes_]
    assert display.bars_ is None


def test_many_filters_have_no_overlapping_numbers():
    display = FilterImportanceDisplay(np.linspace(0, 1, 512)).plot()
    assert len(display.ax_.get_xticks()) == 0
    assert len(display.bars_) == 512


def test_importances_go_into_a_given_axes():
    figure, ax = plt.subplots()
    display = FilterImportanceDisplay([1.0, 2.0]).plot(ax)
    assert display.ax_ is ax
    assert display.figure_ is figure


def test_class_importances_are_asked_for_when_missing():
    with pytest.raises(ValueError, match="class_importances is None"):
        FilterImportanceDisplay([1.0, 2.0]).plot(by_class=True)


def test_unmeasured_importances_are_not_drawn(digits):
    model = SimilarNetClassifier(max_epochs=0, validation_fraction=None)
    for estimator in (model, model.fit(*digits)):
        with pytest.raises(NotFittedError, match="importances"):
            FilterImportanceDisplay.from_estimator(estimator)
        with pytest.raises(NotFittedError, match="importances"):
            HeatmapDisplay.from_estimator(estimator, digits[0][:1])


@pytest.mark.parametrize(
    "draw",
    [
        lambda model, X: HeatmapDisplay.from_estimator(model, X),
        lambda model, X: HeatmapDisplay(X, X).plot(),
        lambda model, X: FilterImportanceDisplay.from_estimator(model),
        lambda model, X: FilterImportanceDisplay([1.0]).plot(),
    ],
)
def test_missing_matplotlib_is_asked_for(monkeypatch, fitted, digits, draw):
    # None in sys.modules is how Python marks a module that cannot be imported.
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.delitem(sys.modules, "matplotlib.pyplot", raising=False)
    with pytest.raises(ImportError, match="pip install matplotlib"):
        draw(fitted, digits[0][:1])


class Finder:
    image_shape_ = (8, 8)

    def localize(self, X):
        return pd.DataFrame(
            [[0, "a", 0.9, 1.0, 1, 2, 4, 6], [1, "b", 0.8, 1.0, 0, 0, 3, 3]],
            columns=[
                *("image", "label", "score", "heat"),
                *("x_min", "y_min", "x_max", "y_max"),
            ],
        )


def test_instances_are_drawn_at_their_pixels_with_label_and_score():
    images = [np.zeros((8, 8)), np.zeros((10, 12, 3), np.uint8)]
    display = InstancesDisplay.from_estimator(Finder(), images)
    (box,) = display.axes_[0].patches
    assert box.get_xy() == (0.5, 1.5)
    assert (box.get_width(), box.get_height()) == (3, 4)
    assert [text.get_text() for text in display.axes_[0].texts] == ["a 0.90"]
    assert [text.get_text() for text in display.axes_[1].texts] == ["b 0.80"]
    assert display.figure_ is display.axes_[1].figure


def test_true_instances_are_dashed():
    truth = Finder().localize(None).drop(columns=["score", "heat"])[:1]
    display = InstancesDisplay([np.zeros((8, 8))], truth, truth=truth).plot()
    found, true = display.axes_[0].patches
    assert (found.get_linestyle(), true.get_linestyle()) == ("-", "--")
    # One label needs no text.
    assert list(display.axes_[0].texts) == []


def test_false_and_missed_instances_are_marked_as_the_metric_counts_them():
    columns = ["image", "label", "x_min", "y_min", "x_max", "y_max"]
    truth = pd.DataFrame(
        [[0, "a", 0, 0, 4, 4], [0, "b", 4, 4, 8, 8], [1, "c", 1, 1, 5, 5]],
        columns=columns,
    )
    # The first twice, the second with another label, the third a little to the side.
    found = truth.iloc[[0, 0, 1, 2]].assign(
        score=[0.8, 0.9, 0.7, 0.6], label=["a", "a", "c", "c"], x_max=[4, 4, 8, 7]
    )
    images = [np.zeros((8, 8))] * 2
    display = InstancesDisplay.from_predictions(
        images, found, truth=truth, color="red", truth_color="blue"
    )
    texts = [[text.get_text() for text in ax.texts] for ax in display.axes_]
    assert texts == [["false a 0.80", "a 0.90", "false c 0.70", "missed b"], ["c 0.60"]]
    styles = [box.get_linestyle() for box in display.axes_[0].patches]
    assert styles == [":", "-", ":", "--", "-"]
    widths = [box.get_linewidth() for box in display.axes_[0].patches]
    assert widths[-1] > max(widths[:-1])
    colors = [box.get_edgecolor()[2] for box in display.axes_[0].patches]
    assert colors == [0, 0, 0, 1, 1]
    strict = InstancesDisplay.from_predictions(
        images, found, truth=truth, iou_threshold=0.9
    )
    assert [text.get_text() for text in strict.axes_[1].texts] == [
        "false c 0.60",
        "missed c",
    ]


def test_instances_in_crowds_are_not_marked():
    columns = ["image", "label", "x_min", "y_min", "x_max", "y_max"]
    truth = pd.DataFrame(
        [[0, "a", 0, 0, 2, 2], [0, "a", 2, 2, 8, 8]], columns=columns
    ).assign(iscrowd=[False, True])
    found = truth.assign(x_min=[0, 5], y_min=[0, 5])[columns]
    display = InstancesDisplay([np.zeros((8, 8))], found, truth=truth).plot()
    assert [text.get_text() for text in display.axes_[0].texts] == []
    assert display.axes_[0].get_title() == "1 right, 0 false, 0 missed"
    styles = [box.get_linestyle() for box in display.axes_[0].patches]
    assert styles == ["-", "-", "--"]


def test_labels_stay_inside_the_image_and_apart_from_each_other():
    columns = ["image", "label", "x_min", "y_min", "x_max", "y_max"]
    for y_min, y_max, sides in [
        (40, 60, ["bottom", "top"]),  # above and below
        (0, 60, ["top", "top"]),  # inside and below
        (40, 100, ["bottom", "bottom"]),  # above and inside
    ]:
        truth = pd.DataFrame([[0, "a", 0, y_min, 20, y_max]], columns=columns)
        display = InstancesDisplay.from_predictions(
            [np.zeros((100, 100))], truth.assign(label="b"), truth=truth
        )
        texts = display.axes_[0].texts
        assert [text.get_verticalalignment() for text in texts] == sides
        heights = [text.get_position()[1] for text in texts]
        assert heights[0] <= y_min < y_max - 1 <= heights[1] <= 100
        found, missed = display.axes_[0].patches
        assert found.get_zorder() > missed.get_zorder()


def test_predictions_are_drawn_as_the_estimator_s():
    images = [np.zeros((8, 8))] * 2
    displays = [
        InstancesDisplay.from_estimator(Finder(), images),
        InstancesDisplay.from_predictions(images, Finder().localize(images)),
    ]
    texts = [[t.get_text() for ax in d.axes_ for t in ax.texts] for d in displays]
    assert texts[0] == texts[1] == ["a 0.90", "b 0.80"]


def test_files_are_drawn_as_the_images_in_them(tmp_path):
    pillow = pytest.importorskip("PIL.Image", reason="image files need Pillow")
    image = np.arange(64 * 3, dtype=np.uint8).reshape(8, 8, 3)
    paths = [tmp_path / "1.png", tmp_path / "2.png"]
    for path in paths:
        pillow.fromarray(image).save(path)
    for images in (paths, str(tmp_path), tmp_path):
        table = Finder().localize(images)
        for display in (
            InstancesDisplay.from_predictions(images, table),
            InstancesDisplay.from_estimator(Finder(), images),
        ):
            assert len(display.axes_) == 2
            drawn = display.axes_[1].get_images()[0].get_array()
            np.testing.assert_allclose(drawn, image / 255, rtol=1e-6)


def test_texts_and_images_take_parameters_of_matplotlib():
    kw = {"text_kw": {"fontsize": 17}, "im_kw": {"interpolation": "bicubic"}}
    instances = InstancesDisplay([IMAGE] * 2, FOUND).plot(**kw)
    assert instances.axes_[0].texts[0].get_fontsize() == 17
    heat = HeatmapDisplay([IMAGE], [HEAT], titles=["a"]).plot(**kw)
    assert heat.axes_[0].title.get_fontsize() == 17
    for display in (instances, heat):
        assert display.axes_[0].get_images()[0].get_interpolation() == "bicubic"
        for name in kw:
            with pytest.raises(ValueError, match=f"'{name}' parameter .* Got 3"):
                display.plot(**{name: 3})
    with pytest.raises(ValueError, match=r"'iou_threshold' parameter .* Got 0"):
        InstancesDisplay([IMAGE] * 2, FOUND, truth=FOUND, iou_threshold=0).plot()


def test_both_displays_take_one_axes_or_more_for_each_image():
    nothing = Finder().localize(None).iloc[:0]
    images = [np.zeros((4, 4))] * 2
    for display in (InstancesDisplay(images, nothing), HeatmapDisplay(images, images)):
        _, axes = plt.subplots(1, 3)
        assert list(display.plot(axes).axes_) == list(axes[:2])
        assert not axes[2].get_images()
        with pytest.raises(ValueError, match="1 axes for 2 images; pass one for each"):
            display.plot(axes[0])


def test_one_image_is_asked_for_in_a_list(fitted, digits):
    image = digits[0][0]
    for X in (image, image.tolist(), np.zeros((30, 50))):
        with pytest.raises(ValueError, match=r"pass \[X\], if it is one image"):
            InstancesDisplay.from_estimator(Finder(), X)
    with pytest.raises(ValueError, match=r"images has shape 28x28, .*pass \[image\]"):
        InstancesDisplay(image, Finder().localize(None)).plot()
    with pytest.raises(ValueError, match=r"pass \[X\]"):
        HeatmapDisplay.from_estimator(fitted, np.zeros((30, 50)))


FOUND = Finder().localize(None)
IMAGE = np.eye(8)
HEAT = np.eye(8)


@pytest.mark.parametrize(
    ("make", "params", "message"),
    [
        (lambda: HeatmapDisplay([], []), {}, "no images to draw"),
        (lambda: HeatmapDisplay(5, [HEAT]), {}, "images is an int; pass an array"),
        (lambda: HeatmapDisplay([IMAGE], None), {}, "heatmaps is a NoneType; pass"),
        (
            lambda: HeatmapDisplay([["a"]], [HEAT]),
            {},
            "Image of images 0 has dtype <U1",
        ),
        (lambda: HeatmapDisplay([IMAGE[:0]], [HEAT]), {}, "0 of images has shape 0x8"),
        (lambda: HeatmapDisplay([IMAGE * np.nan], [HEAT]), {}, "0 of images contains"),
        (
            lambda: HeatmapDisplay([IMAGE], [HEAT * np.nan]),
            {},
            "Heatmap 0 contains NaN",
        ),
        (
            lambda: HeatmapDisplay([IMAGE], [HEAT], titles="a"),
            {},
            "titles is 'a' for 1 images; pass",
        ),
        (
            lambda: HeatmapDisplay([IMAGE], [HEAT], titles=3),
            {},
            "titles is 3 for 1 images; pass",
        ),
        (
            lambda: HeatmapDisplay([IMAGE], [HEAT], max_heat=-1),
            {},
            "'max_heat'.*Got -1",
        ),
        (
            lambda: HeatmapDisplay([IMAGE], [HEAT], max_heat="a"),
            {},
            "'max_heat'.*Got 'a'",
        ),
        (lambda: HeatmapDisplay([IMAGE], [HEAT]), {"alpha": 2}, "'alpha'.*Got 2"),
        (lambda: HeatmapDisplay([IMAGE], [HEAT]), {"cmap": "x"}, "cmap is 'x'; pass"),
        (
            lambda: HeatmapDisplay([IMAGE], [HEAT]),
            {"axes": "x"},
            "axes holds 'x'",
        ),
        (
            lambda: HeatmapDisplay([IMAGE], [HEAT]),
            {"n_columns": 0},
            "'n_columns'.*Got 0",
        ),
        (lambda: InstancesDisplay([], FOUND), {}, "no images to draw"),
        (
            lambda: InstancesDisplay([IMAGE], FOUND),
            {},
            "image=1, which is none of the 1",
        ),
        (lambda: InstancesDisplay([IMAGE[:4]] * 2, FOUND), {}, "outside its image of"),
        (
            lambda: InstancesDisplay([IMAGE], None),
            {},
            "instances is a NoneType; pass a",
        ),
        (
            lambda: InstancesDisplay(
                [IMAGE] * 2, FOUND, truth=FOUND.drop(columns="x_min")
            ),
            {},
            "truth lacks the column x_min",
        ),
        (
            lambda: InstancesDisplay([IMAGE] * 2, FOUND.assign(score=np.nan)),
            {},
            "Row 0 of instances has score=nan",
        ),
        (
            lambda: InstancesDisplay([IMAGE] * 2, FOUND),
            {"color": "no colour"},
            "color is 'no colour'; pass",
        ),
        (
            lambda: InstancesDisplay([IMAGE] * 2, FOUND),
            {"axes": [1, 2]},
            "axes holds 1",
        ),
        (
            lambda: FilterImportanceDisplay([]),
            {},
            r"importances has shape \(0,\); pass",
        ),
        (
            lambda: FilterImportanceDisplay("ab"),
            {},
            "importances has dtype|importances is",
        ),
        (lambda: FilterImportanceDisplay([1, np.nan]), {}, "importances contains NaN"),
        (
            lambda: FilterImportanceDisplay([[1, 2]]),
            {},
            r"has shape \(1, 2\); pass one",
        ),
        (lambda: FilterImportanceDisplay([1, 2]), {"ax": "x"}, "ax is 'x'; pass a"),
        (lambda: FilterImportanceDisplay([1, 2]), {"cmap": 3}, "cmap is 3; pass"),
        (
            lambda: FilterImportanceDisplay([1, 2], class_importances=[[1, 2, 3]]),
            {"by_class": True},
            r"class_importances has shape \(1, 3\) for 2 importances; pass",
        ),
        (
            lambda: FilterImportanceDisplay(
                [1, 2], class_importances=[[1, 2]], classes=["a", "b"]
            ),
            {"by_class": True},
            r"classes is \['a', 'b'\] for 1 rows of class_importances; pass",
        ),
    ],
)
def test_invalid_input_is_one_error_and_no_figure(make, params, message):
    display = make()
    with pytest.raises(ValueError, match=message) as error:
        display.plot(**params)
    assert str(error.value).count(". ") <= str(error.value).count(". Got ")
    assert plt.get_fignums() == []
    assert not [name for name in vars(display) if name.endswith("_")]


def test_an_error_while_drawing_leaves_no_figure(monkeypatch):
    def fail(*args, **kwargs):
        raise RuntimeError("no ink")

    monkeypatch.setattr("matplotlib.axes.Axes.imshow", fail)
    for display, params in [
        (HeatmapDisplay([IMAGE], [HEAT]), {}),
        (InstancesDisplay([IMAGE] * 2, FOUND), {}),
        (
            FilterImportanceDisplay([1, 2], class_importances=[[1, 2]]),
            {"by_class": True},
        ),
    ]:
        with pytest.raises(RuntimeError, match="no ink"):
            display.plot(**params)
        assert plt.get_fignums() == []


@pytest.mark.parametrize("display", [HeatmapDisplay, InstancesDisplay])
def test_estimators_that_cannot_are_named(display, digits):
    with pytest.raises(
        ValueError, match=r"object has no (heatmap|localize); pass a fit"
    ):
        display.from_estimator(object(), digits[0][:1])


def test_titles_may_have_an_index_of_their_own():
    titles = pd.Series(["a", "b"], index=[7, 8])
    display = HeatmapDisplay([IMAGE] * 2, [HEAT] * 2, titles=titles).plot()
    assert [ax.get_title() for ax in display.axes_] == ["a", "b"]


def test_images_of_extreme_shape_are_drawn():
    for shape in [(1, 20_000), (20_000, 1)]:
        images = [np.zeros(shape)]
        display = HeatmapDisplay(images, images).plot()
        assert max(display.figure_.get_size_inches()) < 100
        display.figure_.canvas.draw()


@pytest.mark.parametrize("n_images", [5, 7])
def test_instances_of_images_that_do_not_fill_the_grid_are_drawn(n_images):
    images = [np.zeros((8, 8))] * n_images
    display = InstancesDisplay(images, Finder().localize(None)).plot(n_columns=4)
    assert len(display.axes_) == n_images
    assert len(display.figure_.axes) == n_images


def test_labels_near_the_right_edge_end_there_and_stand_on_a_dark_ground():
    table = pd.DataFrame(
        [[0, "left", 5, 40, 25, 60], [0, "right", 90, 40, 99, 60]],
        columns=["image", "label", "x_min", "y_min", "x_max", "y_max"],
    )
    display = InstancesDisplay([np.ones((100, 100))], table).plot()
    figure, ax = display.figure_, display.axes_[0]
    figure.canvas.draw()
    left, right = ax.texts
    assert left.get_position()[0] == 5
    assert right.get_horizontalalignment() == "right"
    assert right.get_window_extent().x1 <= ax.get_window_extent().x1 + 1
    assert left.get_bbox_patch().get_facecolor()[:3] == (0, 0, 0)


def make_boxes(*labels, n_images=1):
    rows = [
        [n % n_images, labels[n], n % 8, 0, n % 8 + 2, 4] for n in range(len(labels))
    ]
    columns = ["image", "label", "x_min", "y_min", "x_max", "y_max"]
    return pd.DataFrame(rows, columns=columns)


def texts_of(ax):
    return [text.get_text() for text in ax.texts]


def legend_of(display):
    (legend,) = display.figure_.legends
    return [text.get_text() for text in legend.get_texts()]


def test_one_label_is_named_in_the_title_alone():
    table = make_boxes(*["coin"] * 3)
    display = InstancesDisplay([np.zeros((8, 10))], table).plot()
    assert display.axes_[0].get_title() == "3 coin"
    assert texts_of(display.axes_[0]) == []
    assert display.figure_.legends == []
    scored = InstancesDisplay([np.zeros((8, 10))], table.assign(score=0.5)).plot()
    assert texts_of(scored.axes_[0]) == ["0.50"] * 3
    named = InstancesDisplay([np.zeros((8, 10))], table).plot(labels=True)
    assert texts_of(named.axes_[0]) == ["coin"] * 3


def test_several_labels_have_colours_and_a_legend_with_counts():
    table = make_boxes("b10", "b9", "b10", n_images=2)
    display = InstancesDisplay([np.zeros((8, 10))] * 2, table).plot()
    assert [ax.get_title() for ax in display.axes_] == ["2 instances", "1 instance"]
    assert legend_of(display) == ["b9 (1)", "b10 (2)"]
    of_image = [[p.get_edgecolor() for p in ax.patches] for ax in display.axes_]
    assert of_image[0][0] == of_image[0][1] != of_image[1][0]
    colors = {
        handle.get_color() for handle in display.figure_.legends[0].legend_handles
    }
    assert len(colors) == 2
    plain = InstancesDisplay([np.zeros((8, 10))] * 2, table)
    assert plain.plot(color="red", legend=False).figure_.legends == []
    _, axes = plt.subplots(1, 2)
    given = plain.plot(axes)
    assert given.figure_.legends == []
    assert given.axes_[1].get_legend() is not None


def test_regions_of_crowds_are_not_counted():
    table = make_boxes("a", "b", "b").assign(iscrowd=[False, False, True])
    display = InstancesDisplay([np.zeros((8, 10))], table).plot()
    assert display.axes_[0].get_title() == "2 instances"
    assert texts_of(display.axes_[0]) == ["a", "b", "crowd b"]
    assert [p.get_linestyle() for p in display.axes_[0].patches] == ["-", "-", "--"]
    assert legend_of(display) == ["a (1)", "b (1)", "b, crowd (1)"]


def test_many_boxes_have_no_texts_unless_they_are_asked_for():
    table = make_boxes(*"abc" * 20)
    display = InstancesDisplay([np.zeros((8, 10))], table).plot()
    assert texts_of(display.axes_[0]) == []
    few = InstancesDisplay([np.zeros((8, 10))], table[:6]).plot()
    assert (
        display.axes_[0].patches[0].get_linewidth()
        < few.axes_[0].patches[0].get_linewidth()
    )
    assert len(texts_of(few.axes_[0])) == 6
    assert (
        len(
            texts_of(
                InstancesDisplay([np.zeros((8, 10))], table).plot(labels=True).axes_[0]
            )
        )
        == 60
    )
    assert texts_of(few.plot(labels=False).axes_[0]) == []


def test_a_legend_of_very_many_labels_says_how_many_more_there_are():
    table = make_boxes(*(f"label {n}" for n in range(30)))
    display = InstancesDisplay([np.zeros((8, 10))], table).plot()
    assert legend_of(display)[-1] == "and 10 more labels"
    assert len(legend_of(display)) == 21


def test_lines_are_explained_where_the_truth_is_known():
    truth = make_boxes("a", "a", "b")
    found = truth.iloc[[0, 1]].assign(x_min=[0, 6], x_max=[2, 8], score=0.9)
    display = InstancesDisplay([np.zeros((8, 10))], found, truth=truth).plot()
    assert display.axes_[0].get_title() == "1 right, 1 false, 2 missed"
    expected = ["right (1)", "false (1)", "detected (1)", "missed (2)"]
    assert legend_of(display) == expected


@pytest.fixture
def folder(tmp_path):
    """A folder of three images, in subfolders too."""
    pillow = pytest.importorskip("PIL.Image", reason="image files need Pillow")
    for name in ("a.png", "b.png", "more/a.png"):
        path = tmp_path / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pillow.new("L", (10, 8)).save(path)
    return tmp_path / "images"


def test_a_csv_file_of_the_command_is_drawn_over_its_images(folder, tmp_path):
    table = make_boxes("01", "NA", "x").assign(score=0.5, heat=np.nan)
    table["image"] = ["a.png", "more/a.png", "more/a.png"]
    table.to_csv(tmp_path / "out.csv", index=False)
    for instances in (tmp_path / "out.csv", str(tmp_path / "out.csv"), table):
        display = InstancesDisplay.from_predictions(folder, instances)
        assert [texts_of(ax) for ax in display.axes_] == [
            ["01 0.50"],
            [],
            ["NA 0.50", "x 0.50"],
        ]
        assert display.axes_[1].get_title() == "b.png: 0 instances"
    paths = [folder / "more" / "a.png", folder / "b.png"]
    part = InstancesDisplay.from_predictions(paths, table, truth=table)
    assert [len(ax.patches) for ax in part.axes_] == [4, 0]


def test_names_that_fit_no_image_or_several_are_refused(folder):
    table = make_boxes("x").assign(image="a.png")
    with pytest.raises(
        ValueError, match=r"'a.png' of the table may be '.*' or '.*'; pass"
    ):
        InstancesDisplay.from_predictions(
            [folder / "a.png", folder / "more/a.png"], table
        )
    with pytest.raises(
        ValueError, match=r"names 'a.png', and none of the 1 image is nam"
    ):
        InstancesDisplay.from_predictions([folder / "b.png"], table)
    with pytest.raises(ValueError, match=r"'a.png'; pass the images as a folder or as"):
        InstancesDisplay.from_predictions([np.zeros((8, 10))], table)


def test_detections_of_files_are_drawn_over_the_files_that_were_searched(folder):
    paths = [folder / "a.png", folder / "more" / "a.png"]
    table = make_boxes("x", "y", "y").assign(image=[0, 1, 1])
    table["path"] = [str(paths[number]) for number in table["image"]]
    for images, drawn in ((paths, [1, 2]), (paths[::-1], [2, 1]), (paths[1:], [2])):
        display = InstancesDisplay.from_predictions(images, table)
        assert [len(ax.patches) for ax in display.axes_] == drawn
    arrays = [np.zeros((8, 10))] * 2
    assert len(InstancesDisplay.from_predictions(arrays, table).axes_) == 2


@pytest.fixture
def searched(folder):
    """Two files, and detections of them: one in the first, two in the second."""
    paths = [folder / "a.png", folder / "b.png"]
    table = make_boxes("x", "y", "y").assign(image=[0, 1, 1])
    return paths, table.assign(path=[paths[0], paths[1], paths[1]])


@pytest.mark.parametrize("missing", [None, np.nan, pd.NA, ""])
def test_rows_without_a_path_are_never_drawn_over_another_file(searched, missing):
    paths, table = searched
    for images, drawn in ((paths, [1, 2]), (paths[::-1], [2, 1])):
        display = InstancesDisplay.from_predictions(images, table)
        assert [len(ax.patches) for ax in display.axes_] == drawn
    table["path"] = [str(paths[0]), missing, str(paths[1])]
    display = InstancesDisplay.from_predictions(paths, table)
    assert [len(ax.patches) for ax in display.axes_] == [1, 2]
    with pytest.raises(
        ValueError, match=r"^Row 1 of instances has no path, and .*; pass them in that"
    ):
        InstancesDisplay.from_predictions(paths[::-1], table)
    table["path"] = missing
    display = InstancesDisplay.from_predictions(paths, table)
    assert [len(ax.patches) for ax in display.axes_] == [1, 2]


def test_a_file_that_is_passed_twice_has_the_rows_of_its_number(searched):
    paths, table = searched
    twice = table.assign(path=paths[0])
    display = InstancesDisplay.from_predictions(paths[:1] * 2, twice)
    assert [len(ax.patches) for ax in display.axes_] == [1, 2]
    with pytest.raises(
        ValueError,
        match=r"^Images 0 and 2 are the same file, '.*a.png', and instances has them "
        "in another order; pass each file once",
    ):
        InstancesDisplay.from_predictions([paths[0], paths[1], paths[0]], twice)


def test_detections_and_truth_have_the_same_order_of_images(searched):
    paths, table = searched
    numbered = table.drop(columns="path")
    named = numbered.assign(image=["a.png", "b.png", "b.png"])
    for truth in (table, named):
        display = InstancesDisplay.from_predictions(paths[::-1], table, truth=truth)
        titles = [ax.get_title() for ax in display.axes_]
        right = "right, 0 false, 0 missed"
        assert titles == [f"b.png: 2 {right}", f"a.png: 1 {right}"]
    part = numbered[:1]
    assert InstancesDisplay.from_predictions(paths[:1], table, truth=part).figure_
    assert InstancesDisplay.from_predictions(
        paths[::-1], table, truth=numbered[:0]
    ).figure_
    for images in (paths[::-1], paths[1:]):
        with pytest.raises(
            ValueError,
            match=r"^instances numbers the images in another order .* truth has no pat",
        ):
            InstancesDisplay.from_predictions(images, table, truth=numbered)
    with pytest.raises(ValueError, match=r"^truth numbers .* instances has no paths"):
        InstancesDisplay.from_predictions(paths[::-1], numbered, truth=table)


def test_files_of_a_linked_folder_are_the_files_that_were_searched(
    searched, folder, tmp_path
):
    try:
        (tmp_path / "link").symlink_to(folder, target_is_directory=True)
    except OSError:
        pytest.skip("links to folders cannot be made here")
    paths, table = searched
    linked = [tmp_path / "link" / path.name for path in paths]
    for images, drawn in ((linked, [1, 2]), (linked[::-1], [2, 1])):
        display = InstancesDisplay.from_predictions(images, table)
        assert [len(ax.patches) for ax in display.axes_] == drawn


def test_detections_of_the_namesakes_of_files_are_refused(folder):
    table = make_boxes("x").assign(image=0, path=str(folder / "a.png"))
    with pytest.raises(
        ValueError,
        match=r"^instances has detections of '.*a.png', and none of 1 image, such as "
        r"'.*a.png'; pass the files that were searched, or drop the column 'path'",
    ):
        InstancesDisplay.from_predictions(folder / "more", table)
    unnamed = table.drop(columns="path")
    assert InstancesDisplay.from_predictions(folder / "more", unnamed).axes_[0].patches


def test_titles_tell_files_of_one_name_apart(folder):
    paths = [folder / "a.png", folder / "more" / "a.png"]
    display = InstancesDisplay.from_predictions(paths, make_boxes("x"))
    titles = [ax.get_title() for ax in display.axes_]
    assert titles == [f"{paths[0]}: 1 x", f"{paths[1]}: 0 x"]
    display = InstancesDisplay.from_predictions(folder, make_boxes("x"))
    assert display.axes_[2].get_title() == "more/a.png: 0 x"


def test_a_table_for_each_image_is_drawn():
    tables = [make_boxes("a"), make_boxes("b", "b")]
    display = InstancesDisplay.from_predictions([np.zeros((8, 10))] * 2, tables)
    assert [len(ax.patches) for ax in display.axes_] == [1, 2]


def test_displays_say_what_they_show():
    table = make_boxes("a", "b", "b")
    display = InstancesDisplay([np.zeros((8, 10))], table)
    assert repr(display) == "<InstancesDisplay: 3 instances of 2 labels in 1 image>"
    assert repr(InstancesDisplay("photos", "a.csv")) == (
        "<InstancesDisplay: instances in 'photos'>"
    )
    assert repr(InstancesDisplay(None, None)) == "<InstancesDisplay: instances in None>"
    assert repr(HeatmapDisplay([HEAT] * 2, [HEAT] * 2, label="heat of 4")) == (
        "<HeatmapDisplay: 2 images with their heat of 4>"
    )
    assert repr(FilterImportanceDisplay([1, 2], measure="log loss")) == (
        "<FilterImportanceDisplay: increase of the log loss without each of 2 filters>"
    )
