"""Images that are read when they are needed: iterators, folders, lists of files."""

import gc
import itertools
import weakref
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from joblib import parallel_config
from pandas.testing import assert_frame_equal
from sklearn import config_context
from sklearn.frozen import FrozenEstimator

from sklearn_similar import InstanceLocalizer
from sklearn_similar.datasets import make_scenes

SIZE = (70, 90)


@pytest.fixture(scope="module")
def scenes(digits):
    return make_scenes(
        digits.X_test, digits.y_test, n_scenes=12, size=SIZE, random_state=0
    )


@pytest.fixture(scope="module")
def localizer(fitted, digits):
    frozen = FrozenEstimator(fitted)
    return InstanceLocalizer(frozen, random_state=0).fit(digits.X, digits.y)


@pytest.fixture(scope="module")
def table(localizer, scenes):
    return localizer.localize(scenes[0])


@pytest.fixture
def few_at_once():
    """Two of the scenes are searched together."""
    with config_context(working_memory=2 * SIZE[0] * SIZE[1] / 512):
        yield


@pytest.fixture(scope="module")
def files(scenes, tmp_path_factory):
    """A folder of scenes, some of them in a folder of it, and one hidden."""
    pillow = pytest.importorskip("PIL.Image")
    folder = tmp_path_factory.mktemp("scenes")
    (folder / "more").mkdir()
    names = [f"{index:02}.png" for index in range(8)]
    names += [f"more/{index:02}.png" for index in range(8, 12)]
    for name, scene in zip(names, scenes[0], strict=True):
        pillow.fromarray(scene).save(folder / name)
    (folder / ".hidden.png").touch()
    return [folder / name for name in names]


def n_alive(references):
    return sum(reference() is not None for reference in references)


@pytest.mark.parametrize("n_jobs", [None, 2])
class TestIterators:
    def test_a_table_of_each_image_numbered_from_the_first(
        self, localizer, scenes, table, few_at_once, n_jobs
    ):
        localizer.set_params(n_jobs=n_jobs)
        tables = list(localizer.localize(iter(scenes[0])))
        assert len(tables) == len(scenes[0])
        for index, table_of_image in enumerate(tables):
            assert set(table_of_image["image"]) <= {index}
            assert table_of_image.dtypes.equals(table.dtypes)
        assert_frame_equal(pd.concat(tables, ignore_index=True), table)

    def test_images_that_were_searched_are_let_go(
        self, localizer, scenes, few_at_once, n_jobs
    ):
        references = []

        class Image(np.ndarray):
            pass

        def images():
            for index in range(40):
                image = scenes[0][index % 12].copy().view(Image)
                references.append(weakref.ref(image))
                yield image
                del image

        localizer.set_params(n_jobs=n_jobs)
        most = 0
        # Otherwise each collection would look through the objects of other tests.
        gc.collect()
        gc.freeze()
        try:
            for _ in localizer.localize(images()):
                gc.collect()
                most = max(most, n_alive(references))
        finally:
            gc.unfreeze()
        assert most < 20

    def test_values_of_another_range_are_warned_of_once(
        self, localizer, scenes, few_at_once, n_jobs
    ):
        localizer.set_params(n_jobs=n_jobs)
        with pytest.warns(UserWarning, match="results may be wrong") as caught:
            list(localizer.localize(iter(scenes[0] * 1.0)))
        assert len(caught) == 1

    # Threads here and below, as both end the workers, and processes take seconds to
    # start.
    def test_an_endless_one_is_read_no_further_than_needed(
        self, localizer, scenes, few_at_once, n_jobs
    ):
        n_read = itertools.count()
        images = (scenes[0][next(n_read) % 12] for _ in itertools.count())
        localizer.set_params(n_jobs=n_jobs)
        with parallel_config(backend="threading"):
            tables = localizer.localize(images)
            assert next(n_read) == 0
            for _ in range(4):
                next(tables)
        assert next(n_read) < 30

    def test_an_image_that_cannot_be_used_ends_it_where_it_is(
        self, localizer, scenes, table, few_at_once, n_jobs
    ):
        images = list(scenes[0] / 255)
        images[7] = images[7] * np.nan
        localizer.set_params(n_jobs=n_jobs)
        tables = []
        with (
            parallel_config(backend="threading"),
            pytest.raises(ValueError, match="Image 7 of X contains NaN"),
        ):
            tables.extend(localizer.localize(iter(images)))
        assert len(tables) == 6
        images = iter([*scenes[0][:3], np.zeros(784)])
        with (
            parallel_config(backend="threading"),
            pytest.raises(ValueError, match=r"Image 3 of X has shape \(784,\); pass"),
        ):
            list(localizer.localize(images))


def test_parameters_of_the_call_hold_until_the_end(localizer, scenes, table):
    tables = localizer.localize(iter(scenes[0]))
    try:
        localizer.set_params(score_threshold=1.0)
        assert_frame_equal(pd.concat(tables, ignore_index=True), table)
    finally:
        localizer.set_params(score_threshold=0.5)


def test_an_empty_iterator_has_no_tables(localizer):
    assert list(localizer.localize(iter([]))) == []


@pytest.mark.parametrize(
    "kind",
    [
        lambda files: files[0].parent,
        lambda files: str(files[0].parent),
        list,
        lambda files: tuple(map(str, files)),
        lambda files: pd.Series([str(file) for file in files]),
        lambda files: np.array([str(file) for file in files]),
    ],
    ids=["folder", "folder as text", "paths", "text", "Series", "array"],
)
def test_files_are_numbered_in_their_order(
    localizer, files, table, kind, monkeypatch, few_at_once
):
    found = localizer.localize(kind(files))
    paths = [str(files[number]) for number in table["image"]]
    assert_frame_equal(found, table.assign(path=paths), check_dtype=False)


def test_a_single_file_is_named_and_an_empty_table_has_the_column(localizer, files):
    assert set(localizer.localize(str(files[0]))["path"]) == {str(files[0])}
    assert set(localizer.count(files[:2])["path"]) == set(map(str, files[:2]))
    try:
        localizer.set_params(score_threshold=1.0)
        assert localizer.localize(files[:2]).columns[-1] == "path"
    finally:
        localizer.set_params(score_threshold=0.5)


def test_few_files_are_in_memory_at_a_time(localizer, files, monkeypatch, few_at_once):
    from sklearn_similar._images import files as _image_files

    references, most, read = [], [], _image_files.read_image_file

    class Image(np.ndarray):
        pass

    def noted(path, fill):
        image = read(path, fill).copy().view(Image)
        references.append(weakref.ref(image))
        most.append(n_alive(references))
        return image

    monkeypatch.setattr(_image_files, "read_image_file", noted)
    localizer.localize(files * 3)
    assert len(most) == 36
    assert max(most) <= 6


def test_grey_files_suit_an_estimator_of_colour(quick, digits, files):
    colour = np.repeat(digits.X[..., np.newaxis], 3, axis=3)
    trained = quick(max_epochs=4).fit(colour, digits.y)
    localizer = InstanceLocalizer(FrozenEstimator(trained)).fit(colour, digits.y)
    assert localizer.localize(files[:2]).columns[0] == "image"


def test_score_takes_files(localizer, files, scenes):
    assert localizer.score(files, scenes[1]) == localizer.score(*scenes)


def test_score_refuses_what_has_no_length(localizer, scenes):
    with pytest.raises(ValueError, match="generator, and score wants all images at on"):
        localizer.score((image for image in scenes[0]), scenes[1])


@pytest.mark.parametrize(
    ("paths", "message"),
    [
        (["a.png"], r"X\[0\] is 'a.png', which does not exist; pass paths"),
        ([Path(__file__), Path()], r"X\[1\] is '.', which is a folder"),
        ("nowhere", "'nowhere' does not exist"),
        ([__file__], "test_streams.py' cannot be read as an image"),
    ],
)
def test_paths_that_are_no_images(localizer, paths, message):
    pytest.importorskip("PIL")
    with pytest.raises(ValueError, match=message):
        localizer.localize(paths)
