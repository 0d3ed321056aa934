"""Scenes: places of instances, backgrounds, and the boxes around the instances."""

import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.testing import assert_allclose, assert_array_equal
from scipy import ndimage

from sklearn_similar.datasets import load_mnist_sample, make_scenes

BOX = ["x_min", "y_min", "x_max", "y_max"]


@pytest.fixture(scope="module")
def digits():
    sample = load_mnist_sample()
    return sample.X_train[:300], sample.y_train[:300]


@pytest.fixture
def photograph():
    rng = np.random.default_rng(0)
    smooth = ndimage.gaussian_filter(rng.random((200, 260)), 5)
    return np.interp(smooth, (smooth.min(), smooth.max()), (0, 1))


def bounding_box(image):
    """Return the box around the pixels above 0.2 of an image's maximum."""
    visible = (image > 0.2 * image.max()).astype(int)
    rows, columns = ndimage.find_objects(visible)[0]
    return [columns.start, rows.start, columns.stop, rows.stop]


def square(side=10, value=255):
    """Return one image of 28x28 with a bright square in the middle, and its label."""
    image = np.zeros((1, 28, 28), dtype=np.uint8)
    start = (28 - side) // 2
    image[0, start : start + side, start : start + side] = value
    return image, ["square"]


@pytest.mark.parametrize("rotation", [0, 90])
@pytest.mark.parametrize("scale", [(0.8, 2.0), (0.3, 0.5), 4.0])
def test_box_of_a_single_instance_is_that_of_its_visible_pixels(
    digits, scale, rotation
):
    scenes, instances = make_scenes(
        *digits,
        n_scenes=30,
        n_instances=1,
        scale=scale,
        rotation=rotation,
        random_state=0,
    )
    assert instances["image"].tolist() == list(range(30))
    expected = [bounding_box(scene) for scene in scenes]
    np.testing.assert_array_equal(instances[BOX], expected)


def test_boxes_of_many_instances_are_those_of_their_visible_pixels(digits):
    scenes, instances = make_scenes(*digits, n_scenes=30, random_state=0)
    for row in instances.itertuples():
        part = scenes[row.image, row.y_min : row.y_max, row.x_min : row.x_max]
        height, width = part.shape
        assert bounding_box(part) == [0, 0, width, height]
    # Nothing is visible outside the boxes.
    for index, scene in enumerate(scenes):
        rest = scene.copy()
        for row in instances[instances["image"] == index].itertuples():
            rest[row.y_min : row.y_max, row.x_min : row.x_max] = 0
        assert rest.max() <= 0.2 * 255


def test_boxes_are_inside_the_scene_and_disjoint(digits):
    _, instances = make_scenes(
        *digits, n_scenes=20, n_instances=(3, 8), scale=(0.5, 3), random_state=0
    )
    assert (instances[["x_min", "y_min"]] >= 0).all(axis=None)
    assert (instances[["x_max", "y_max"]] <= 160).all(axis=None)
    assert (instances["x_max"] > instances["x_min"]).all()
    assert (instances["y_max"] > instances["y_min"]).all()
    for _, scene in instances.groupby("image"):
        boxes = scene[BOX].to_numpy()
        for i, a in enumerate(boxes):
            for b in boxes[:i]:
                width = min(a[2], b[2]) - max(a[0], b[0])
                height = min(a[3], b[3]) - max(a[1], b[1])
                assert width <= 0 or height <= 0


def test_image_of_scale_one_is_pasted_unchanged(digits):
    images, labels = digits
    scenes, instances = make_scenes(
        images[:1], labels[:1], n_scenes=3, n_instances=1, scale=1, random_state=0
    )
    x_min, y_min, x_max, y_max = bounding_box(images[0])
    original = images[0, y_min:y_max, x_min:x_max]
    for row in instances.itertuples():
        part = scenes[row.image, row.y_min : row.y_max, row.x_min : row.x_max]
        np.testing.assert_array_equal(part, original)
        assert row.label == labels[0]


@pytest.mark.parametrize("scale", [0.5, 1.0, 2.0, 3.5])
def test_scale_is_the_factor_of_the_side(scale):
    _, instances = make_scenes(
        *square(12), n_scenes=4, n_instances=1, scale=scale, random_state=0
    )
    widths = instances["x_max"] - instances["x_min"]
    assert (widths - 12 * scale).abs().max() <= 2


def test_rotation_stays_within_its_angle():
    image, label = square(20)
    image[:, 4:14] = 0
    widths = {}
    for rotation in (0, 5, 180):
        _, instances = make_scenes(
            image,
            label,
            n_scenes=40,
            n_instances=1,
            scale=1,
            rotation=rotation,
            random_state=0,
        )
        widths[rotation] = instances["x_max"] - instances["x_min"]
    assert set(widths[0]) == {20}
    assert widths[5].between(19, 22).all()
    assert widths[180].min() < 13
    assert widths[180].max() > 21


def test_counts_and_labels_have_their_whole_range(digits):
    _, instances = make_scenes(
        *digits, n_scenes=100, n_instances=(0, 3), random_state=0
    )
    counts = np.bincount(instances["image"], minlength=100)
    assert set(counts) == {0, 1, 2, 3}
    assert set(instances["label"]) == set(range(10))


def test_no_instances_give_an_empty_table_of_the_same_types(digits):
    scenes, empty = make_scenes(*digits, n_scenes=2, n_instances=0, random_state=0)
    _, filled = make_scenes(*digits, n_scenes=2, random_state=0)
    assert scenes.max() == 0
    pd.testing.assert_series_equal(empty.dtypes, filled.dtypes)
    assert len(empty) == 0


def test_labels_keep_their_type():
    _, instances = make_scenes(*square(), n_scenes=2, n_instances=1, random_state=0)
    assert instances["label"].tolist() == ["square", "square"]


def test_scenes_are_determined_by_random_state(digits, photograph):
    kwargs = {
        "background_images": photograph,
        "polarity": "both",
        "rotation": 20,
        "n_scenes": 4,
    }
    first, first_table = make_scenes(*digits, **kwargs, random_state=7)
    again, again_table = make_scenes(*digits, **kwargs, random_state=7)
    other, _ = make_scenes(*digits, **kwargs, random_state=8)
    np.testing.assert_array_equal(first, again)
    pd.testing.assert_frame_equal(first_table, again_table)
    assert (first != other).any()


def test_first_scenes_do_not_depend_on_how_many_follow(digits):
    few, few_table = make_scenes(*digits, n_scenes=3, random_state=1)
    many, many_table = make_scenes(*digits, n_scenes=9, random_state=1)
    np.testing.assert_array_equal(few, many[:3])
    pd.testing.assert_frame_equal(few_table, many_table[many_table["image"] < 3])


def test_dark_scene_on_black_is_the_negative_of_the_bright_one(digits):
    bright, bright_table = make_scenes(*digits, n_scenes=4, random_state=0)
    dark, dark_table = make_scenes(*digits, n_scenes=4, polarity="dark", random_state=0)
    np.testing.assert_array_equal(dark, 255 - bright)
    pd.testing.assert_frame_equal(bright_table, dark_table)


def test_both_polarities_come_up(digits):
    scenes, _ = make_scenes(*digits, n_scenes=30, polarity="both", random_state=0)
    dark = np.median(scenes, axis=(1, 2)) == 255
    assert 5 < dark.sum() < 25


def test_photographs_are_dimmed_under_bright_and_lightened_under_dark(digits):
    stripes = np.zeros((160, 320), dtype=np.uint8)
    stripes[:, ::2] = 50
    kwargs = {
        "n_scenes": 2,
        "n_instances": 0,
        "background_brightness": 0.4,
        "random_state": 0,
    }
    bright, _ = make_scenes(*digits, background_images=stripes, **kwargs)
    dark, _ = make_scenes(*digits, background_images=stripes, polarity="dark", **kwargs)
    assert set(np.unique(bright)) == {0, 20}
    assert set(np.unique(dark)) == {153, 173}


def test_undimmed_background_is_a_crop_of_the_photograph(digits, photograph):
    scenes, _ = make_scenes(
        *digits,
        n_scenes=2,
        size=(50, 60),
        n_instances=0,
        background_images=[photograph],
        background_brightness=1,
        random_state=0,
    )
    pixels = np.rint(255 * photograph).astype(np.uint8)
    for scene in scenes:
        windows = np.lib.stride_tricks.sliding_window_view(pixels, scene.shape)
        starts = np.argwhere(windows[:, :, 0, 0] == scene[0, 0])
        assert any((windows[y, x] == scene).all() for y, x in starts)


@pytest.mark.parametrize("shape", [(40, 50), (500, 30), (159, 161), (1, 1)])
def test_small_photographs_are_enlarged_to_cover_the_scene(digits, shape):
    scenes, _ = make_scenes(
        *digits,
        n_scenes=3,
        n_instances=0,
        background_images=np.full(shape, 200, dtype=np.uint8),
        background_brightness=0.5,
        random_state=0,
    )
    np.testing.assert_array_equal(scenes, 100)


def test_noise_stays_below_its_brightness(digits):
    scenes, _ = make_scenes(
        *digits,
        n_scenes=3,
        n_instances=0,
        background_images="noise",
        background_brightness=0.5,
        random_state=0,
    )
    assert scenes.max() <= 128
    assert scenes.std() > 20


def test_contrast_is_the_opacity_over_the_background():
    background = np.full((160, 160), 100, dtype=np.uint8)
    scenes, instances = make_scenes(
        *square(),
        n_scenes=1,
        n_instances=1,
        scale=1,
        background_images=background,
        background_brightness=1,
        contrast=0.4,
        random_state=0,
    )
    box = instances.iloc[0]
    inside = scenes[0, box.y_min : box.y_max, box.x_min : box.x_max]
    assert set(np.unique(inside)) == {round(100 + 0.4 * (255 - 100))}
    assert (scenes[0] == 100).sum() == scenes[0].size - inside.size


@pytest.mark.parametrize("in_colour", [False, True])
def test_opaque_pixels_of_a_mask_hide_the_background(in_colour):
    images = np.full((1, 28, 28), 10, dtype=np.uint8)
    images[:, :14] = 90
    masks = np.zeros((1, 28, 28))
    masks[:, 4:24, 10:20] = 1
    masks[:, 4:24, 20:22] = 0.5
    if in_colour:
        images = np.stack([images, images // 2, images * 0], axis=-1)
    scenes, instances = make_scenes(
        images,
        [7],
        masks=masks,
        n_scenes=1,
        n_instances=1,
        scale=1,
        background_images=np.full((160, 160), 200, dtype=np.uint8),
        background_brightness=1,
        random_state=0,
    )
    box = instances.iloc[0]
    assert (box.x_max - box.x_min, box.y_max - box.y_min) == (12, 20)
    red = scenes[0, ..., 0] if in_colour else scenes[0]
    inside = red[box.y_min : box.y_max, box.x_min : box.x_max]
    assert_array_equal(inside[:10, :10], np.full((10, 10), 90))
    assert_array_equal(inside[10:, :10], np.full((10, 10), 10))
    # Halfway between its own value and that of the background.
    assert_allclose(inside[:10, 10:], 145, atol=1)
    assert (red == 200).sum() == red.size - inside.size


def test_black_images_with_masks_are_visible():
    images = np.zeros((1, 28, 28), dtype=np.uint8)
    masks = np.ones(images.shape, dtype=bool)
    params = dict(masks=masks, n_scenes=1, n_instances=1, scale=1, random_state=0)
    white = np.full((160, 160), 255, dtype=np.uint8)
    bright, _ = make_scenes(
        images, [0], background_images=white, background_brightness=1, **params
    )
    assert (bright == 0).sum() == 28 * 28
    # A dark instance is its negative.
    dark, _ = make_scenes(
        images, [0], background_images=255 - white, polarity="dark", **params
    )
    assert (dark == 255).sum() >= 28 * 28


def test_colour_images_make_colour_scenes(photograph):
    image, label = square()
    colour = np.zeros((1, 28, 28, 3), dtype=np.uint8)
    colour[..., 0] = image
    scenes, instances = make_scenes(
        colour,
        label,
        n_scenes=2,
        n_instances=1,
        scale=1,
        background_images=[photograph, np.stack([photograph] * 3, axis=2)],
        random_state=0,
    )
    assert scenes.shape == (2, 160, 160, 3)
    for row in instances.itertuples():
        part = scenes[row.image, row.y_min : row.y_max, row.x_min : row.x_max]
        np.testing.assert_array_equal(part[..., 0], 255)
        np.testing.assert_array_equal(part[..., 1:], 0)


def test_colour_backgrounds_of_grey_images_become_grey(digits, photograph):
    kwargs = {"n_scenes": 2, "random_state": 0}
    colour = np.repeat(photograph[..., np.newaxis], 3, axis=2)
    from_colour, _ = make_scenes(*digits, background_images=[colour], **kwargs)
    from_grey, _ = make_scenes(*digits, background_images=[photograph], **kwargs)
    np.testing.assert_array_equal(from_colour, from_grey)


def test_float_images_equal_their_bytes(digits):
    images, labels = digits
    from_bytes, _ = make_scenes(images, labels, n_scenes=3, random_state=0)
    from_floats, _ = make_scenes(images / 255, labels, n_scenes=3, random_state=0)
    np.testing.assert_array_equal(from_bytes, from_floats)


def test_full_scene_has_fewer_instances_than_the_random_number():
    _, instances = make_scenes(
        *square(20),
        n_scenes=5,
        size=(64, 64),
        n_instances=(1, 50),
        scale=1,
        random_state=0,
    )
    assert instances["image"].value_counts().between(1, 9).all()


def test_scene_without_room_for_the_minimum_is_an_error():
    with pytest.raises(ValueError, match=r"64x64 pixels has room .* at least 20 inst"):
        make_scenes(
            *square(20), n_scenes=2, size=(64, 64), n_instances=20, random_state=0
        )


def test_overlap_makes_room_for_any_count():
    _, instances = make_scenes(
        *square(20),
        n_scenes=2,
        size=(64, 64),
        n_instances=20,
        allow_overlap=True,
        random_state=0,
    )
    assert len(instances) == 40


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"images": np.zeros((3, 784), dtype=np.uint8)}, "images must have the shape"),
        ({"images": np.full((3, 8, 8), -1.0)}, "images of dtype float64 .*-1.0"),
        ({"images": np.full((3, 8, 8), np.nan)}, "images of dtype float64 .*nan"),
        ({"images": np.full((3, 8, 8), -1)}, "images of dtype int64 .*-1 to -1"),
        ({"images": np.zeros((0, 8, 8))}, r"images .*not be empty, found \(0, 8, 8\)"),
        ({"images": np.ones((3, 8, 8, 2))}, "images must have 1 or 3 channels, found"),
        ({"images": [np.ones((2, 2)), np.ones((3, 3))]}, "images must all have one si"),
        ({"images": np.full((3, 8, 8), "a")}, "images must hold numbers, found .*U1"),
        ({"images": np.zeros((3, 8, 8))}, r"images\[0\] is blank \(3 such"),
        (
            {"masks": np.ones((3, 8, 9))},
            r"masks have the shape \(3, 8, 9\), but images",
        ),
        ({"masks": np.zeros((3, 8, 8))}, r"masks\[0\] is blank \(3 such"),
        (
            {"masks": np.ones((3, 8, 8), int)},
            "masks are integers up to 1, of which 255",
        ),
        ({"masks": np.full((3, 8, 8), 2.0)}, "masks of dtype float64 .*2.0"),
        ({"labels": [1, 2]}, "labels holds 2 labels for 3 images"),
        ({"labels": np.zeros((3, 2))}, "labels has shape 3x2"),
        ({"labels": [1, "2", 3]}, "labels holds numbers and strings"),
        ({"labels": [1, None, 3]}, "Row 1 of labels has no label"),
        ({"labels": [1, [2], 3]}, "Row 1 of labels has a list as label"),
        ({"n_scenes": 0}, "'n_scenes' parameter"),
        ({"size": (160,)}, r"size must be two positive integers.*\(160,\)"),
        ({"size": (160.5, 9)}, "size must be two positive integers"),
        ({"size": (1, 1)}, r"n_instances is \(1, 5\), but a scene of 1x1 has 1 pixel:"),
        ({"n_instances": (3, 1)}, r"n_instances must be one or two integers.*\(3, 1\)"),
        ({"n_instances": 1.5}, "n_instances"),
        ({"scale": 0}, "scale must be one or two finite numbers above 0.* 0"),
        ({"scale": (1, np.inf)}, "scale must be one or two finite numbers"),
        ({"scale": (1, np.nan)}, "scale must be one or two finite numbers"),
        ({"scale": 10**400}, "scale must be one or two finite numbers"),
        ({"contrast": (0.5, 1.5)}, "contrast must be .* above 0 and at most 1"),
        ({"background_images": {}}, "background_images is of the type dict"),
        ({"background_images": []}, "background_images holds no image"),
        (
            {"background_images": [np.zeros((9, 9)), np.full((9, 9), np.inf)]},
            r"background_images\[1\] of dtype float64 must lie between 0 and 1",
        ),
        ({"background_images": np.zeros(())}, "background_images is of the type ndar"),
        ({"background_images": [[[1], [1, 2]]]}, r"images\[0\] has rows of several"),
        ({"background_images": "white"}, "'background_images' parameter"),
        (
            {"background_images": [np.full((9, 9, 4), 0.5)]},
            r"background_images\[0\] must have the shape",
        ),
        (
            {"background_brightness": -0.1},
            r"brightness must be .* at least 0 and at most 1",
        ),
        ({"polarity": "grey"}, "'polarity' parameter"),
        ({"rotation": 200}, "'rotation' parameter"),
        ({"allow_overlap": "yes"}, "'allow_overlap' parameter"),
    ],
)
def test_unusable_input_is_refused_by_name(kwargs, message):
    defaults = {
        "images": np.ones((3, 8, 8)),
        "labels": [1, 2, 3],
        "n_scenes": 2,
        "random_state": 0,
    }
    with pytest.raises(ValueError, match=message):
        make_scenes(**(defaults | kwargs))


@pytest.fixture
def bounded_memory():
    """Let the test take 2 GiB more than there is now, where the system can tell."""
    resource = pytest.importorskip("resource")
    statm = Path("/proc/self/statm")
    if not statm.exists():
        pytest.skip("needs /proc to read the memory in use")
    in_use = int(statm.read_text().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (in_use + 2 * 2**30, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.mark.usefixtures("bounded_memory")
@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"scale": 1e-9}, "scale is 1e-09, which leaves less than half a pixel of im"),
        ({"scale": (1e-9, 2)}, r"28x28: choose a scale of at least 0\.036"),
        ({"scale": 1e9}, "160x160 pixels has room for only 0 of at least 1"),
        ({"scale": 1e300}, "160x160 pixels has room for only 0 of at least 1"),
        ({"n_instances": 25600}, "room for only .* of at least 25600 instances"),
        ({"n_instances": (0, 10**9)}, "but a scene of 160x160 has 25600 pixels"),
        ({"n_scenes": 10**9}, "n_scenes=1000000000 images of 160x160 take 23,842 GiB"),
        ({"size": (10**6, 10**6)}, "images of 1000000x1000000 take 1,863 GiB"),
        (
            {"background_images": [np.zeros((160, 160)), np.zeros((1, 100_000))]},
            r"background_images\[1\] is 1x100000 and would have 2.6e\+09 pixels",
        ),
    ],
)
def test_excessive_memory_or_time_is_refused_at_once(digits, kwargs, message):
    start = time.perf_counter()
    with pytest.raises(ValueError, match=message):
        make_scenes(*digits, **({"n_scenes": 2, "random_state": 0} | kwargs))
    assert time.perf_counter() - start < 60


@pytest.mark.usefixtures("bounded_memory")
@pytest.mark.parametrize(
    "kwargs",
    [
        {"scale": (1, 1e9), "n_instances": (0, 5)},
        {"scale": (np.float32(1), np.float32(2))},
        {"n_instances": (1, 1600), "size": (40, 40)},
        {"size": (1, 1), "n_instances": 0},
        {"background_images": np.zeros((1, 1))},
    ],
)
def test_extremes_that_make_sense_take_no_time(digits, kwargs):
    start = time.perf_counter()
    make_scenes(*digits, **({"n_scenes": 2, "random_state": 0} | kwargs))
    assert time.perf_counter() - start < 60


@pytest.mark.usefixtures("bounded_memory")
def test_a_small_object_in_a_large_image_takes_little_memory_enlarged():
    image = np.zeros((1, 2000, 2000), dtype=np.uint8)
    image[0, 10:12, 1500:1502] = 255
    _, instances = make_scenes(
        image, ["dot"], n_scenes=2, n_instances=1, scale=30, rotation=45, random_state=0
    )
    # Linear interpolation reaches 0.8 of a pixel beyond each side.
    sides = instances[["x_max", "y_max"]].to_numpy() - instances[["x_min", "y_min"]]
    assert sides.to_numpy().min() > 2 * 30
    assert sides.to_numpy().max() < np.sqrt(2) * 4 * 30


small_images = hnp.arrays(
    np.uint8,
    st.tuples(st.integers(1, 3), st.integers(1, 9), st.integers(1, 9)),
    elements=st.sampled_from([0, 0, 1, 40, 60, 128, 255]),
).filter(lambda images: (images.max(axis=(1, 2)) > 0).all())


@given(
    small_images,
    st.integers(0, 10_000),
    st.floats(0.6, 6),
    st.sampled_from([0, 15, 180]),
    st.booleans(),
)
@settings(max_examples=30)
def test_boxes_are_inside_tight_and_determined(images, seed, scale, rotation, overlap):
    kwargs = {
        "n_scenes": 2,
        "size": (60, 70),
        "n_instances": (0, 4),
        "scale": scale,
        "rotation": rotation,
        "allow_overlap": overlap,
        "random_state": seed,
    }
    labels = np.arange(len(images))
    scenes, instances = make_scenes(images, labels, **kwargs)
    again, again_table = make_scenes(images, labels, **kwargs)
    np.testing.assert_array_equal(scenes, again)
    pd.testing.assert_frame_equal(instances, again_table)
    assert (instances[["x_min", "y_min"]] >= 0).all(axis=None)
    assert (instances["x_max"] <= 70).all()
    assert (instances["y_max"] <= 60).all()
    if overlap:
        return
    for row in instances.itertuples():
        part = scenes[row.image, row.y_min : row.y_max, row.x_min : row.x_max]
        height, width = part.shape
        assert bounding_box(part) == [0, 0, width, height]
