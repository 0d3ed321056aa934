"""`InstanceLocalizer`: training from photographs with a table of boxes."""

import copy
import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from joblib import parallel_config
from numpy.testing import assert_array_equal
from painted_photographs import (
    BOX,
    COLUMNS,
    SIDE,
    make_head,
    make_photographs,
    paint,
    small_photograph_recipe,
    tiny_backbone,
)
from pandas.testing import assert_frame_equal
from sklearn import config_context
from sklearn.base import clone
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import RandomForestClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.naive_bayes import GaussianNB
from torch import nn

from sklearn_similar import InstanceLocalizer, SimilarNetClassifier
from sklearn_similar.metrics import (
    LocalizationScorer,
    detection_recall_score,
    detection_scores,
)

TABLE = ["image", "label", "score", "heat", *BOX]


@pytest.fixture(scope="module", autouse=True)
def _small_recipe():
    """Localizers learn from few boxes, for few epochs."""
    with pytest.MonkeyPatch.context() as patch:
        choose = staticmethod(small_photograph_recipe)
        patch.setattr(InstanceLocalizer, "_choose_recipe", choose)
        yield


@pytest.fixture
def uncalibrated(monkeypatch):
    """Cross-validation, most of the time of a fit, is left out."""

    def choose(has_context):
        return small_photograph_recipe(has_context, min_photographs=100)

    monkeypatch.setattr(InstanceLocalizer, "_choose_recipe", staticmethod(choose))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Scores are not calibrated")
        yield


@pytest.fixture(scope="module")
def photographs():
    return make_photographs(4)


@pytest.fixture(scope="module")
def unseen():
    return make_photographs(4, seed=1)


def make_localizer(**params):
    defaults = {
        "estimator": make_head(),
        "backbone": tiny_backbone(),
        "n_mining_rounds": 0,
        "random_state": 0,
    }
    return InstanceLocalizer(**(defaults | params))


@pytest.fixture(scope="module")
def fitted_once(photographs):
    return make_localizer(n_mining_rounds=1).fit(*photographs)


@pytest.fixture
def fitted(fitted_once):
    """A fitted localizer, which a test may change."""
    return copy.deepcopy(fitted_once)


def test_objects_of_unseen_photographs_are_found(fitted, unseen):
    X, y = unseen
    found = fitted.localize(X)
    scores = detection_scores(y, found)
    assert scores.f1 > 0.75
    assert fitted.score(X, y) == scores.f1
    assert list(found.columns) == TABLE
    assert found["heat"].isna().all()
    assert (found["score"] >= 0.5).all()
    for image, of_image in found.groupby("image"):
        assert of_image["score"].is_monotonic_decreasing
        height, width = X[image].shape[:2]
        assert (of_image[BOX] >= 0).all(axis=None)
        assert of_image["x_max"].max() <= width
        assert of_image["y_max"].max() <= height


def test_what_fit_learns_is_named(fitted, photographs):
    _, y = photographs
    assert_array_equal(fitted.classes_, ["disc", "square"])
    assert fitted.background_ not in fitted.classes_
    assert set(fitted.estimator_.classes_) == {*fitted.classes_, fitted.background_}
    assert fitted.backbone_layers_ == ("2", "3")
    assert fitted.backbone_detail_layer_ == "3"
    sides = (y[["x_max", "y_max"]].to_numpy() - y[["x_min", "y_min"]].to_numpy()).max(1)
    specification = fitted.feature_specification_
    assert specification.object_sides == (sides.min(), np.median(sides), sides.max())
    assert fitted.score_calibration_ != (1, 0, 0)
    assert fitted.value_range_ == (0, 1)


@pytest.mark.usefixtures("uncalibrated")
def test_few_objects_have_no_details(photographs, monkeypatch):
    def choose(has_context):
        return small_photograph_recipe(
            has_context, min_photographs=100, min_detailed=len(photographs[1]) + 1
        )

    monkeypatch.setattr(InstanceLocalizer, "_choose_recipe", staticmethod(choose))
    assert make_localizer().fit(*photographs).backbone_detail_layer_ is None


@pytest.mark.usefixtures("uncalibrated")
def test_a_small_backbone_is_trained_without_one(photographs, unseen):
    localizer = make_localizer(backbone=None).fit(*photographs)
    assert localizer.backbone_layers_ == ("fine", "coarse")
    assert localizer.backbone_detail_layer_ is None
    assert not localizer.backbone_.training
    assert localizer.set_params(score_threshold=0.2).score(*unseen) > 0.5


@pytest.mark.parametrize(
    "estimator",
    [
        LogisticRegression(C=1e4, max_iter=100),
        RandomForestClassifier(10),
        GaussianNB(var_smoothing=1e-3),
        None,
    ],
)
@pytest.mark.usefixtures("uncalibrated")
def test_any_classifier_recognises_feature_vectors(photographs, unseen, estimator):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "lbfgs failed to converge")
        localizer = make_localizer(estimator=estimator).fit(*photographs)
    assert localizer.score(*unseen) > 0.7
    if estimator is not None:
        assert type(localizer.estimator_) is type(estimator)
        assert not hasattr(estimator, "classes_")


def test_the_default_classifier_trains_without_warnings(photographs):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        localizer = make_localizer(estimator=None)
        localizer.fit(*photographs)


@pytest.mark.parametrize("names", [(7, 3), (True, False), ("zebra", "b"), (2**40, -1)])
@pytest.mark.usefixtures("uncalibrated")
def test_labels_may_be_of_any_type(photographs, unseen, names):
    X, y = photographs
    mapping = dict(zip(("disc", "square"), names, strict=True))
    y, truth = (
        table.assign(label=table["label"].map(mapping)) for table in (y, unseen[1])
    )
    localizer = make_localizer().fit(X, y)
    assert_array_equal(localizer.classes_, sorted(names))
    assert localizer.score(unseen[0], truth) > 0.7


@pytest.mark.usefixtures("uncalibrated")
def test_a_table_in_any_order_says_the_same(photographs, unseen):
    X, y = photographs
    expected = make_localizer().fit(X, y).localize(unseen[0])
    shuffled = y.sample(frac=1, random_state=0).sort_values("image", kind="stable")
    shuffled = shuffled[COLUMNS[::-1]].assign(difficult=0)
    found = make_localizer().fit(X, shuffled).localize(unseen[0])
    assert detection_recall_score(expected, found) > 0.9


def as_type(image, kind):
    if kind == "float":
        return image / 255
    if kind == "uint16":
        return image.astype(np.uint16) * 257
    return image


@pytest.mark.parametrize("kind", ["float", "uint16"])
@pytest.mark.usefixtures("uncalibrated")
def test_the_type_of_photographs_does_not_matter(photographs, unseen, kind):
    X, y = photographs
    expected = make_localizer().fit(X, y).localize(unseen[0])
    localizer = make_localizer()
    localizer.fit([as_type(image, kind) for image in X], y)
    found = localizer.localize([as_type(image, kind) for image in unseen[0]])
    assert detection_scores(expected, found).f1 > 0.9
    assert len(found) == len(expected)


def grey_photographs(n, seed=0):
    X, y = make_photographs(n, seed)
    # Squares are darker and discs brighter than the texture.
    return [image[..., 0] for image in X], y


@pytest.mark.usefixtures("uncalibrated")
def test_grey_and_bool_photographs(unseen):
    X, y = grey_photographs(4)
    X_test, truth = grey_photographs(3, seed=1)
    localizer = make_localizer(backbone=tiny_backbone(1)).fit(X, y)
    assert localizer.score(X_test, truth) > 0.5
    localizer.fit([image[..., np.newaxis] for image in X], y)
    assert localizer.score(X_test, truth) > 0.5
    bright = y[y["label"] == "disc"]
    localizer.fit([image > 180 for image in X], bright)
    truth = truth[truth["label"] == "disc"]
    assert localizer.score([image > 180 for image in X_test], truth) > 0.5


@pytest.mark.usefixtures("uncalibrated")
def test_grey_images_are_searched_in_colour_and_colour_in_grey(photographs, unseen):
    in_grey = make_localizer(backbone=tiny_backbone(1)).fit(*photographs)
    assert in_grey.score(*unseen) > 0.3
    X, y = grey_photographs(4)
    in_colour = make_localizer().fit(X, y)
    X_test, truth = grey_photographs(3, seed=1)
    assert in_colour.score(X_test, truth) > 0.4
    repeated = [np.repeat(image[..., np.newaxis], 3, 2) for image in X_test]
    assert_frame_equal(in_colour.localize(repeated), in_colour.localize(X_test))


@pytest.mark.usefixtures("uncalibrated")
def test_without_colour_a_small_backbone_of_one_channel_is_trained():
    X, y = grey_photographs(3)
    localizer = make_localizer(backbone=None).fit(X, y)
    assert localizer.backbone_.fine[0].in_channels == 1
    localizer.localize(X[:1])


@pytest.mark.usefixtures("uncalibrated")
def test_sizes_may_be_mixed_and_some_photographs_without_objects():
    parts = [make_photographs(2, 0), make_photographs(2, 1, size=(200, 130))]
    empty, _ = make_photographs(1, 2, n_objects=0, size=(70, 250))
    X = [*empty, *parts[0][0], *parts[1][0]]
    y = pd.concat(
        [
            parts[0][1].assign(image=parts[0][1]["image"] + 1),
            parts[1][1].assign(image=parts[1][1]["image"] + 3),
        ]
    )
    localizer = make_localizer().fit(X, y)
    X, truth = make_photographs(2, 3, size=(130, 210))
    assert localizer.score(X, truth) > 0.8
    tiny = [np.zeros((1, 1), np.uint8), np.zeros((3, 40, 3), np.uint8)]
    assert len(localizer.localize(tiny)) == 0


@pytest.mark.usefixtures("uncalibrated")
def test_paths_and_folders_are_photographs(photographs, unseen, tmp_path):
    pillow = pytest.importorskip("PIL.Image", reason="image files need Pillow")
    X, y = photographs
    paths = [tmp_path / f"{number}.png" for number in range(len(X))]
    for image, path in zip(X, paths, strict=True):
        pillow.fromarray(image).save(path)
    expected = make_localizer().fit(X, y).localize(unseen[0])
    for files in (tmp_path, list(map(str, paths))):
        localizer = make_localizer().fit(files, y)
        assert_frame_equal(localizer.localize(unseen[0]), expected)
    of_files = localizer.localize(tmp_path)
    assert_frame_equal(of_files.drop(columns="path"), localizer.localize(X))


@pytest.mark.usefixtures("uncalibrated")
def test_background_images_teach_what_is_not_an_object(photographs, unseen):
    X, y = photographs
    look_alikes = []
    for seed in range(3):
        image = make_photographs(1, seed=5 + seed, n_objects=0)[0][0] / 255
        for x in (10, 50, 90):
            paint(image, "disc", x, x, 28, colour=(0.85, 0.3, 0.2))
        look_alikes.append(image)
    plain = make_localizer(n_mining_rounds=1).fit(X, y)
    taught = make_localizer(n_mining_rounds=1).fit(
        X, y, background_images=look_alikes[:2]
    )
    assert len(plain.localize(look_alikes[2:])) >= 1
    assert len(taught.localize(look_alikes[2:])) == 0
    assert taught.score(*unseen) > 0.8


@pytest.mark.usefixtures("uncalibrated")
def test_partial_annotation_does_not_take_objects_without_boxes_for_background():
    X, y = make_photographs(5, n_objects=8)
    boxed = y.groupby(["image", "label"]).head(2)
    unboxed = y.drop(boxed.index)
    assert len(boxed) == len(unboxed)
    recall = {}
    for annotation in ("complete", "partial"):
        localizer = make_localizer(annotation=annotation, n_mining_rounds=1)
        found = localizer.fit(X, boxed).localize(X)
        recall[annotation] = detection_recall_score(unboxed, found)
    assert recall["partial"] > 0.5
    assert recall["partial"] > recall["complete"] + 0.2


def test_one_photograph_with_a_few_boxes_is_enough_to_start(unseen):
    X, y = make_photographs(1, n_objects=6)
    with pytest.warns(UserWarning, match="not calibrated") as record:
        localizer = make_localizer(estimator=None).fit(X, y)
    (warning,) = record
    message = str(warning.message)
    assert message.startswith("Scores are not calibrated, as 1 photograph with objects")
    assert warning.filename == __file__
    assert localizer.score_calibration_ == (1, 0, 0)
    X, y = unseen
    found = localizer.set_params(score_threshold=0.2).localize(X)
    assert detection_recall_score(y, found) > 0.2


def test_a_class_in_one_photograph_only_is_learnt(unseen):
    X, y = make_photographs(4)
    # Whatever photograph is held out, a class is missing in the others.
    y["label"] = y["label"] + y["image"].astype(str)
    localizer = make_localizer().fit(X, y)
    assert len(localizer.classes_) == 8
    found = localizer.set_params(score_threshold=0).localize(X)
    assert detection_recall_score(y, found) > 0.7


@pytest.mark.parametrize("side", [1, 2, 3])
def test_tiny_objects_are_met(side, unseen):
    X, _ = make_photographs(2, n_objects=0)
    y = pd.DataFrame(
        [(i, "dot", x, 50, x + side, 50 + side) for i in (0, 1) for x in (20, 80)],
        columns=COLUMNS,
    )
    for row in y.itertuples():
        X[row.image][row.y_min : row.y_max, row.x_min : row.x_max] = 255
    with pytest.warns(UserWarning, match="not calibrated"):
        localizer = make_localizer().fit(X, y)
    localizer.localize(X)


def test_objects_that_fill_the_photographs_need_background_images():
    X, _ = make_photographs(3, n_objects=0)
    y = pd.DataFrame([(i, i % 2, 0, 0, SIDE, SIDE) for i in range(3)], columns=COLUMNS)
    localizer = make_localizer(score_threshold=0)
    with pytest.raises(ValueError, match=r"no background .* pass background_images"):
        localizer.fit(X, y)
    dark = [image // 3 for image in X]
    found = localizer.fit(X, y, background_images=dark).localize(X)
    assert detection_recall_score(y, found, match_label=False) == 1


def missing(column):
    return lambda y: y.drop(columns=column)


def changed(**values):
    def change(y):
        y = y.astype({column: float for column in BOX})
        for column, value in values.items():
            y.loc[3, column] = value
        return y

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (missing("label"), "y lacks the column label; add it"),
        (missing(BOX), "y lacks the column x_min, y_min"),
        (changed(x_max=161), "Row 3 of y has the box .* outside its image"),
        (changed(x_min=-1), "Row 3 of y has the box .* outside its image"),
        (changed(image=99), "Row 3 of y has image=99, which is none of the 4 images"),
        (changed(x_min=10, x_max=10), "Row 3 of y has a box without area; drop it"),
        (changed(y_min=np.nan), "Row 3 of y has y_min=nan; give finite"),
        (lambda y: y[:0], "y has no boxes; pass at least one object"),
    ],
)
def test_a_wrong_table_is_refused_in_a_sentence(fitted, photographs, change, message):
    X, y = photographs
    refuses(fitted, X, change(y), message)


def refuses(localizer, X, y, message, **fit_params):
    before = vars(localizer).copy()
    with pytest.raises(ValueError, match=message) as info:
        localizer.fit(X, y, **fit_params)
    assert "\n" not in str(info.value)
    assert str(info.value).endswith(".")
    assert vars(localizer) == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda X: np.reshape(X, (4, -1)), "pass photographs: a list of images"),
        (
            lambda X: [np.dstack([x, x])[..., :4] for x in X],
            "Image 0 of X has 4 channels",
        ),
        (lambda X: [*X[:3], X[3] / 100], "Image 3 of X .* must lie between 0 and 1"),
        (lambda X: [*X[:3], X[3] / 255 - 1], "Image 3 of X .* between 0 and 1"),
        (lambda X: iter(X), "pass photographs: a list of images"),
        (lambda X: X[:2], "image=2, which is none of the 2 images"),
    ],
)
def test_wrong_photographs_are_refused_in_a_sentence(
    fitted, photographs, change, message
):
    X, y = photographs
    refuses(fitted, change(X), y, message)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"estimator": SimilarNetClassifier()}, "estimator is a SimilarNetClassifier"),
        (
            {"estimator": FrozenEstimator(GaussianNB())},
            "estimator is a FrozenEstimator",
        ),
        ({"backbone": nn.Sequential(nn.Flatten())}, "without a convolution"),
        (
            {"backbone": nn.Sequential(nn.Conv2d(4, 8, 3, 8))},
            "takes images of 4 channels",
        ),
        ({"backbone": "resnet"}, "'backbone' parameter of InstanceLocalizer must be"),
        ({"backbone_layers": ["9"]}, r"backbone_layers is \['9'\], but the backbone"),
        (
            {"backbone": None, "backbone_layers": ["2"]},
            "backbone_layers .* backbone is",
        ),
        ({"annotation": "half"}, "'annotation' parameter of InstanceLocalizer"),
        ({"proposals": "boxes"}, "'proposals' parameter of InstanceLocalizer"),
    ],
)
def test_wrong_parameters_are_refused_in_a_sentence(
    fitted, photographs, params, message
):
    refuses(fitted.set_params(**params), *photographs, message)


def test_wrong_background_images_are_refused_in_a_sentence(fitted, photographs):
    for images, message in (
        ([], "background_images holds no image"),
        ([np.full((9, 9, 4), 0.5)], r"background_images\[0\] must have the shape"),
        ([np.full((9, 9), 7.0)], r"background_images\[0\] .* between 0 and 1"),
    ):
        refuses(fitted, *photographs, message, background_images=images)


def test_images_that_are_searched_are_checked(fitted, unseen):
    for image, message in (
        (
            np.full((40, 40, 4), 9, np.uint8),
            "Image 1 of X has 4 channels; pass grey or RGB",
        ),
        (np.full((40, 40, 2), 0.5), "Image 1 of X has 2 channels; pass grey or RGB"),
    ):
        with pytest.raises(ValueError, match=message):
            fitted.localize([unseen[0][0], image])
    for image in (unseen[0][0], unseen[0][0][..., 0]):
        with pytest.raises(ValueError, match=r"\[X\] if X is one image\.$"):
            fitted.localize(image)
    with pytest.warns(UserWarning, match="values"):
        fitted.localize([unseen[0][0].astype(float)])


@pytest.fixture(scope="module")
def crops():
    """Crops of discs and squares."""
    X, y = make_photographs(6, seed=7)
    images = [
        X[row.image][row.y_min : row.y_min + 24, row.x_min : row.x_min + 24]
        for row in y.itertuples()
    ]
    return np.stack(images), y["label"].to_numpy()


FITTED_ON_BOXES = {
    "backbone_",
    "backbone_layers_",
    "backbone_detail_layer_",
    "feature_specification_",
    "_box_models",
}


@pytest.mark.usefixtures("uncalibrated")
def test_another_fit_leaves_nothing_of_the_last_one(photographs, crops, unseen):
    X, labels = crops
    frozen = FrozenEstimator(DummyClassifier().fit(X, labels))
    localizer = make_localizer()
    from_boxes = set(vars(clone(localizer).fit(*photographs)))
    from_crops = set(vars(clone(localizer).set_params(estimator=frozen).fit(*crops)))
    expected = clone(localizer).fit(*photographs).localize(unseen[0])
    localizer.fit(*photographs).set_params(estimator=frozen).fit(*crops)
    assert set(vars(localizer)) == from_crops
    assert not any(hasattr(localizer, name) for name in FITTED_ON_BOXES)
    localizer.localize(unseen[0][:1])
    localizer.set_params(estimator=make_head()).fit(*photographs)
    assert set(vars(localizer)) == from_boxes
    assert_frame_equal(localizer.localize(unseen[0]), expected)


def test_a_backbone_that_crops_do_not_use_gets_a_warning(crops):
    frozen = FrozenEstimator(DummyClassifier().fit(*crops))
    with pytest.warns(UserWarning, match="backbone is not used"):
        make_localizer(estimator=frozen).fit(*crops)


@pytest.mark.usefixtures("uncalibrated")
def test_parameters_of_crops_that_boxes_do_not_use_get_a_warning(photographs):
    localizer = make_localizer(rotation=30.0, crop_size=20)
    with pytest.warns(UserWarning, match="crop_size, rotation act in training from cr"):
        localizer.fit(*photographs)


def test_windows_need_sizes_of_objects(crops):
    localizer = InstanceLocalizer(proposals="windows")
    with pytest.raises(ValueError, match="'windows' needs the sizes of objects"):
        localizer.fit(*crops)


@pytest.mark.parametrize("proposals", ["windows", "image", "function"])
@pytest.mark.usefixtures("uncalibrated")
def test_proposals_come_from_any_source(photographs, unseen, proposals):
    def function(image):
        assert image.ndim == 3
        x, y = np.meshgrid(np.arange(0, SIDE - 28, 9), np.arange(0, SIDE - 28, 9))
        return np.stack([x, y, x + 28, y + 28], axis=-1).reshape(-1, 4)

    source = function if proposals == "function" else proposals
    localizer = make_localizer(proposals=source)
    assert localizer.fit(*photographs).score(*unseen) > 0.6
    if proposals == "windows":
        found = localizer.localize(unseen[0])
        assert_frame_equal(
            localizer.set_params(proposals="auto").localize(unseen[0]), found
        )


def test_heatmaps_are_not_to_be_had(fitted, unseen):
    with pytest.raises(ValueError, match="'heat' needs heatmaps"):
        fitted.set_params(proposals="heat").localize(unseen[0])


@pytest.mark.usefixtures("uncalibrated")
def test_the_same_random_state_gives_the_same_detections(unseen):
    found = [
        make_localizer(random_state=seed, backbone=None)
        .fit(*make_photographs(2))
        .set_params(score_threshold=0)
        .localize(unseen[0][:2])
        for seed in (3, 3, 4)
    ]
    assert_frame_equal(found[0], found[1])
    assert not found[0].equals(found[2])


@pytest.mark.usefixtures("uncalibrated")
def test_nothing_outside_is_changed(photographs, unseen):
    backbone = tiny_backbone().train()
    backbone[1].eval()
    calls = []
    backbone[0].register_forward_hook(lambda *args: calls.append(1))
    weights = copy.deepcopy(backbone.state_dict())
    modes = [child.training for child in backbone.modules()]
    hooks = [len(child._forward_hooks) for child in backbone.modules()]
    X, y = copy.deepcopy(photographs)
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    grad = torch.is_grad_enabled()
    localizer = make_localizer(backbone=backbone).fit(X, y)
    localizer.localize(unseen[0])
    make_localizer(backbone=None).fit(*make_photographs(1))
    assert torch.equal(torch.get_rng_state(), before[0])
    assert_array_equal(np.random.get_state()[1], before[1])
    assert torch.is_grad_enabled() == grad
    assert localizer.backbone is backbone
    assert localizer.backbone_ is not backbone
    assert [child.training for child in backbone.modules()] == modes
    assert [len(child._forward_hooks) for child in backbone.modules()] == hooks
    assert all(parameter.requires_grad for parameter in backbone.parameters())
    for name, value in backbone.state_dict().items():
        assert torch.equal(value, weights[name])
    assert_frame_equal(y, photographs[1])
    for image, expected in zip(X, photographs[0], strict=True):
        assert_array_equal(image, expected)


def test_parameters_can_be_copied_and_set(fitted, photographs):
    copied = clone(fitted)
    assert not hasattr(copied, "estimator_")
    assert copied.backbone is not fitted.backbone
    assert copied.get_params(deep=False).keys() == fitted.get_params(deep=False).keys()
    copied.set_params(annotation="partial", estimator=None, backbone=None)
    assert copied.get_params()["annotation"] == "partial"
    with pytest.raises(ValueError, match="backbone__lr cannot be set, as backbone is"):
        fitted.set_params(backbone__lr=1)
    assert "InstanceLocalizer(" in repr(fitted)


def test_thresholds_are_searched_over(fitted, unseen):
    X, y = unseen
    scorer = LocalizationScorer(scenes=X, instances=y)
    scores = [
        fitted.set_params(score_threshold=threshold).score(X, y)
        for threshold in (0.0, 0.5, 1.0)
    ]
    assert scores[1] >= scores[0] > scores[2]
    assert scorer(fitted.set_params(score_threshold=0.5), None) == scores[1]


def test_a_pickled_localizer_finds_the_same(fitted, unseen):
    loaded = pickle.loads(pickle.dumps(fitted))
    assert_frame_equal(loaded.localize(unseen[0]), fitted.localize(unseen[0]))
    assert loaded.feature_specification_ == fitted.feature_specification_


def tables_of(y, n_photographs):
    """A list of one table for each photograph."""
    return [y[y["image"] == number] for number in range(n_photographs)]


def test_a_table_for_each_photograph_counts_as_one_table(fitted, photographs, unseen):
    X, y = photographs
    refitted = make_localizer(n_mining_rounds=1).fit(X, tables_of(y, len(X)))
    found = fitted.localize(unseen[0])
    assert_frame_equal(refitted.localize(unseen[0]), found)
    X, y = unseen
    assert fitted.score(X, tables_of(y, len(X))) == fitted.score(X, y)


def test_a_grid_search_splits_photographs_with_their_tables(photographs, uncalibrated):
    X, y = photographs
    search = GridSearchCV(
        make_localizer(), {"score_threshold": [0.3, 1.0]}, cv=2, error_score="raise"
    )
    search.fit(X, tables_of(y, len(X)))
    assert search.best_params_ == {"score_threshold": 0.3}
    low, high = search.cv_results_["mean_test_score"]
    assert low > 0.5 > high


def test_two_workers_find_what_one_finds(fitted, unseen):
    # Images are searched one by one. Threads start faster than processes.
    with config_context(working_memory=40), parallel_config("threading"):
        found = fitted.localize(unseen[0])
        assert_frame_equal(fitted.set_params(n_jobs=2).localize(unseen[0]), found)


def test_iterators_give_a_table_for_each_image(fitted, unseen):
    X, _ = unseen
    found = fitted.localize(X)
    tables = fitted.localize(iter(X))
    first = next(tables)
    assert set(first["image"]) <= {0}
    together = pd.concat([first, *tables], ignore_index=True)
    assert_frame_equal(together, found, check_dtype=False)


def test_a_bag_of_dask_is_searched_later(fitted, unseen):
    bag = pytest.importorskip("dask.bag", reason="needs Dask")
    lazy = fitted.localize(bag.from_sequence(unseen[0], npartitions=2))
    found = lazy.compute(scheduler="synchronous").reset_index(drop=True)
    expected = fitted.localize(unseen[0])
    assert len(found) == len(expected)
    assert_array_equal(found[BOX], expected[BOX])
    assert_array_equal(found["label"].astype(str), expected["label"])


def test_images_are_found_alike_alone_and_together(fitted, unseen):
    X, _ = unseen
    together = fitted.localize(X)
    alone = [fitted.localize([image]).assign(image=i) for i, image in enumerate(X)]
    assert_frame_equal(pd.concat(alone, ignore_index=True), together)


def test_a_large_mapped_image_is_searched_in_tiles(fitted, tmp_path):
    X, y = make_photographs(1, seed=3, n_objects=30, size=(280, 900))
    stored = np.lib.format.open_memmap(
        tmp_path / "large.npy", "w+", np.uint8, X[0].shape
    )
    stored[:] = X[0]
    stored.flush()
    # Tiles of an image that is resized by odd factors begin at multiples of 512 pixels.
    assert fitted.feature_specification_.scale == 1
    whole = fitted.localize([X[0]])
    largest = 0

    class Stored:
        shape, dtype = stored.shape, stored.dtype

        def __getitem__(self, window):
            nonlocal largest
            part = stored[window]
            largest = max(largest, part.shape[0] * part.shape[1])
            return part

    with config_context(working_memory=80):
        tiled = fitted.localize([Stored()])
        mapped = np.load(tmp_path / "large.npy", mmap_mode="r")
        assert_frame_equal(fitted.localize([mapped]), tiled)
    assert 0 < largest < 280 * 900
    assert detection_scores(y, whole).f1 > 0.8
    # Near-duplicates at the border of two tiles are not merged before they are moved.
    assert detection_scores(whole, tiled, iou_threshold=0.75).f1 > 0.95
