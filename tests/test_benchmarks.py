"""Shared code of the benchmarks; tox runs the benchmarks themselves, with --quick."""

import importlib
import itertools
import subprocess
import warnings
from copy import deepcopy
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import token_networks as nets
import torch
from allocation import allocate
from torch import nn

from sklearn_similar import SimilarNetClassifier
from sklearn_similar.datasets import load_mnist_sample

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
RESULTS = sorted((BENCHMARKS / "results").glob("*.csv"))
ADDED_MEBIBYTES = 64


@pytest.fixture
def load(monkeypatch):
    """Import a module of the benchmarks by name."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module


@pytest.fixture
def common(load):
    return load("_common")


@pytest.fixture
def provenance(load):
    return load("_provenance")


@pytest.fixture
def scenes(load):
    # Photographs are read and written by Pillow, which comes with Matplotlib.
    pytest.importorskip("PIL")
    return load("_scenes")


@pytest.fixture(scope="module")
def digits():
    return load_mnist_sample()


@pytest.fixture
def clock(monkeypatch, common):
    """A clock that advances only on request."""

    class Clock:
        now = 0.0

        def perf_counter(self):
            return self.now

    clock = Clock()
    monkeypatch.setattr(common, "time", clock)
    return clock


def test_functions_take_turns_and_every_other_round_is_reversed(common):
    calls = []
    functions = {name: lambda name=name: calls.append(name) for name in "abc"}
    seconds = common.interleave(functions, 3)
    assert "".join(calls) == "abccbaabc"
    assert {name: len(times) for name, times in seconds.items()} == {
        "a": 3,
        "b": 3,
        "c": 3,
    }


def test_seconds_are_the_duration_of_the_call(common, clock):
    lengths = itertools.count(1)

    def work():
        clock.now += next(lengths)

    seconds = common.interleave({"work": work, "nothing": lambda: None}, 3)
    np.testing.assert_array_equal(seconds["work"], [1, 2, 3])
    np.testing.assert_array_equal(seconds["nothing"], [0, 0, 0])


def test_fastest_compares_the_minimum_times(common, clock):
    lengths = {"steady": iter([2, 2]), "once slow": iter([9, 1])}
    functions = {
        name: lambda name=name: setattr(clock, "now", clock.now + next(lengths[name]))
        for name in lengths
    }
    name, least = common.fastest(functions)
    assert name == "once slow"
    assert least == {"steady": 2, "once slow": 1}


def test_ratios_are_computed_within_a_round(common):
    # The second round is ten times as slow for both.
    ratio = common.median_ratio(np.array([2.0, 20, 2]), np.array([1.0, 10, 1]))
    assert ratio == 2


def test_csv_contains_the_rows_the_machine_and_the_commit(
    common, provenance, tmp_path, capsys
):
    rows = [{"method": "ours", "seconds": 1.5}, {"method": "theirs", "seconds": np.nan}]
    path = common.report("some", rows, quick=False, results=tmp_path)
    assert path == tmp_path / "some.csv"
    table = provenance.read_results(path).fillna({"commit": ""})
    assert table["method"].tolist() == ["ours", "theirs"]
    assert table["seconds"].tolist()[0] == 1.5
    assert np.isnan(table["seconds"].tolist()[1])
    for name, value in common.machine().items():
        assert table[name].astype(str).tolist() == [str(value)] * 2
    assert table["commit"].tolist() == [provenance.current_commit()] * 2
    printed = capsys.readouterr().out
    assert "theirs" in printed
    assert str(path) in printed


def test_quick_runs_do_not_overwrite_committed_results(common, tmp_path):
    path = common.report("some", [{"x": 1}], quick=True, results=tmp_path)
    assert path == tmp_path / "quick" / "some.csv"
    assert not (tmp_path / "some.csv").exists()
    ignored = (common.RESULTS / ".gitignore").read_text().split()
    assert "quick/" in ignored


@pytest.fixture
def repository(tmp_path):
    """A repository with a room of the package, a benchmark and a file of results."""
    for name in ("sklearn_similar/_network", "benchmarks/results"):
        (tmp_path / name).mkdir(parents=True)
    write_and_commit(tmp_path, "sklearn_similar/_network/net.py", start=True)
    return tmp_path


def write_and_commit(folder, name, text="", start=False):
    """Write a file and commit it."""
    (folder / name).write_text(text)
    identity = ("-c", "user.name=a", "-c", "user.email=a@b.c")
    for command in (
        *([("init", "--quiet")] if start else []),
        ("add", "--all"),
        (*identity, "commit", "--quiet", "--allow-empty", "--message", name),
    ):
        try:
            subprocess.run(["git", *command], cwd=folder, check=True)
        except FileNotFoundError:
            pytest.skip("git is not installed")


def test_commit_is_dirty_if_code_has_changed_but_not_if_results_have(
    provenance, repository
):
    commit = provenance.current_commit(repository)
    assert provenance.git("rev-parse", "HEAD", root=repository).startswith(commit)
    (repository / "benchmarks" / "results" / "training.csv").write_text("new")
    assert provenance.current_commit(repository) == commit
    (repository / "benchmarks" / "training.py").write_text("new")
    assert provenance.current_commit(repository) == f"{commit}-dirty"


def test_commit_is_empty_without_a_repository(provenance, monkeypatch, tmp_path):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert provenance.current_commit(tmp_path) == ""


def test_figures_are_outdated_once_a_measured_room_has_changed(provenance, repository):
    commit = provenance.current_commit(repository)
    path = repository / "benchmarks" / "results" / "training.csv"
    path.write_text(f"seconds,commit\n1,{commit}\n")
    write_and_commit(repository, "README.md", "not measured")
    assert provenance.outdated_figures(path, repository) == []
    write_and_commit(repository, "sklearn_similar/_network/net.py", "faster")
    assert provenance.outdated_figures(path, repository) == [
        f"training.csv was measured at {commit}, 2 commits ago; changed since: _network"
    ]
    path.write_text("seconds,commit\n1,0123456\n2,\n")
    assert provenance.outdated_figures(path, repository) == [
        "training.csv: commit 0123456 is not in this repository"
    ]


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.stem)
def test_committed_figures_name_their_commit_and_existing_rooms(provenance, path):
    commits = provenance.read_results(path)["commit"]
    assert commits.str.fullmatch("[0-9a-f]{7,}").all()
    for room in provenance.MEASURED_ROOMS[path.stem]:
        assert (provenance.ROOT / provenance.PACKAGE / room).exists()


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.stem)
def test_outdated_figures_cause_a_warning(provenance, path):
    try:
        is_shallow = provenance.git("rev-parse", "--is-shallow-repository")
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git repository")
    if is_shallow == "true":
        pytest.skip("a shallow clone lacks the commits")
    for sentence in provenance.outdated_figures(path):
        warnings.warn(sentence, stacklevel=1)


def test_machine_lists_versions_and_cores(common):
    expected = {"python", "numpy", "torch", "scikit-learn", "skorch", "cores"}
    assert expected <= set(common.machine())
    assert common.machine()["cores"] >= 1


def test_packages_have_a_version_or_are_absent(common):
    columns = common.machine(["numpy", "no-such-package"])
    assert columns["numpy"] == np.__version__
    assert columns["no-such-package"] == "absent"


@pytest.mark.parametrize("shape", [(5, 6, 7), (5, 6, 7, 3)])
@pytest.mark.parametrize("channels_last", [True, False])
def test_tensors_have_the_pixels_and_the_memory_format(common, shape, channels_last):
    X = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    images = common.as_tensors(X, channels_last)
    n_channels = shape[3] if len(shape) == 4 else 1
    assert images.shape == (5, n_channels, 6, 7)
    expected = X.reshape(5, 6, 7, n_channels) / np.float32(255)
    np.testing.assert_array_equal(images.permute(0, 2, 3, 1), expected)
    # Steps from a pixel to the next, and from a channel to the next.
    steps = (n_channels, 1) if channels_last else (1, 6 * 7)
    assert (images.stride(3), images.stride(1)) == steps


def test_quick_runs_use_the_sample_if_mnist_is_missing(common, monkeypatch):
    monkeypatch.delenv("SKLEARN_SIMILAR_DATA", raising=False)
    mnist = common.load_mnist(common.parse_arguments("", ["--quick"]))
    assert mnist.X_train.shape == (5000, 28, 28)
    assert mnist.X_test.shape == (1000, 28, 28)


@pytest.mark.parametrize("by_variable", [True, False])
def test_quick_runs_use_the_first_images_of_mnist(common, monkeypatch, by_variable):
    folders = []

    def fetch(folder):
        folders.append(folder)
        parts = {"train": 60_000, "test": 10_000}
        return {f"{v}_{p}": np.arange(n) for p, n in parts.items() for v in "Xy"}

    monkeypatch.setattr(common, "fetch_mnist", fetch)
    monkeypatch.delenv("SKLEARN_SIMILAR_DATA", raising=False)
    arguments = ["--quick"]
    if by_variable:
        monkeypatch.setenv("SKLEARN_SIMILAR_DATA", "somewhere")
    else:
        arguments += ["--data-home", "somewhere"]
    mnist = common.load_mnist(common.parse_arguments("", arguments))
    assert folders == [None if by_variable else Path("somewhere")]
    assert [len(mnist[part]) for part in ("X_train", "y_train")] == [5000, 5000]
    assert [len(mnist[part]) for part in ("X_test", "y_test")] == [1000, 1000]


def test_full_runs_use_all_of_mnist(common, monkeypatch):
    monkeypatch.setattr(common, "fetch_mnist", lambda folder: folder)
    arguments = common.parse_arguments("", ["--data-home", "somewhere"])
    assert common.load_mnist(arguments) == Path("somewhere")


def test_quick_runs_use_digits_if_fashion_mnist_is_missing(
    common, scenes, monkeypatch, tmp_path, capsys
):
    monkeypatch.delenv("SKLEARN_SIMILAR_DATA", raising=False)
    name, images = scenes.load_fashion(
        common.parse_arguments("", ["--quick"]), tmp_path / "missing"
    )
    assert name == "MNIST"
    assert images.X_train.shape == (5000, 28, 28)
    assert "digits" in capsys.readouterr().out


@pytest.mark.parametrize("given", [True, False])
def test_fashion_mnist_is_read_from_its_folder(
    common, scenes, monkeypatch, given, tmp_path
):
    monkeypatch.setattr(scenes, "fetch_mnist", lambda folder: folder)
    arguments = ["--fashion-home", "somewhere"] if given else []
    name, folder = scenes.load_fashion(common.parse_arguments("", arguments), tmp_path)
    assert name == "Fashion-MNIST"
    assert folder == (Path("somewhere") if given else tmp_path)


def test_tints_differ_are_seeded_and_preserve_brightness(scenes, digits):
    images = digits.X_test[:20]
    tinted = scenes.tint(images, 0)
    np.testing.assert_array_equal(tinted, scenes.tint(images, 0))
    assert (tinted != scenes.tint(images, 1)).any()
    np.testing.assert_array_equal(tinted.max(axis=3), images)
    brightest = tinted.reshape(20, -1, 3)[
        np.arange(20), images.reshape(20, -1).argmax(1)
    ]
    assert len(np.unique(brightest, axis=0)) == 20


def test_ink_boxes_are_the_bounding_boxes_of_the_ink(scenes, digits):
    X, y = digits.X_test[:30], digits.y_test[:30]
    images, truth = scenes.with_ink_boxes(X, y)
    assert images is X
    assert truth["label"].tolist() == y.tolist()
    for row in truth.itertuples():
        ink = X[row.image] > 0.2 * X[row.image].max()
        inside = ink[row.y_min : row.y_max, row.x_min : row.x_max]
        assert inside.sum() == ink.sum()
        edges = inside[0], inside[-1], inside[:, 0], inside[:, -1]
        assert all(edge.any() for edge in edges)


def test_pairs_show_two_classes_and_have_consecutive_numbers(scenes, digits):
    pairs = scenes.pair_scenes(digits.X_test, digits.y_test, 60, None, 1)
    assert 30 < len(pairs.images) < 60
    by_scene = pairs.truth.groupby("image")["label"].agg(["size", "nunique"])
    assert by_scene.index.tolist() == list(range(len(pairs.images)))
    assert (by_scene == 2).all(axis=None)


def test_first_images_have_their_boxes(scenes, digits):
    pairs = scenes.pair_scenes(digits.X_test, digits.y_test, 10, None, 0)
    few = pairs.first(3)
    assert len(few.images) == 3
    assert few.truth["image"].tolist() == [0, 0, 1, 1, 2, 2]
    assert len(few.labels) == 6


def test_loops_compute_the_same_importances(load, digits):
    importances = load("_importances")
    X, y = digits.X_test[::10], digits.y_test[::10]
    model = SimilarNetClassifier(max_epochs=0, validation_fraction=None, random_state=0)
    model.fit(X, y).fit_importance(X, y)
    for loop in (importances.whole_network_per_filter, importances.head_per_filter):
        increases = loop(model.net_.module_, model.layer_, 16, X, y, batch_size=30)
        np.testing.assert_allclose(increases, model.filter_importances_, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("SmallResNet", "block2.relu"),
        ("SmallVGG", "features.14"),
        ("NormalizedVGG", "features.14"),
    ],
)
@pytest.mark.parametrize("n_channels", [1, 3])
def test_networks_take_grey_and_colour_images(load, name, layer, n_channels):
    network = getattr(load("_networks"), name)(10, in_channels=n_channels).eval()
    assert isinstance(network.get_submodule(layer), nn.ReLU)
    images = torch.zeros(2, n_channels, 64, 64)
    assert network(images).shape == (2, 10)


def test_peak_memory_grows_by_the_memory_of_all_images(load):
    memory = load("_memory")
    # The peak of this process must not affect that of the new process.
    np.ones(4 * ADDED_MEBIBYTES * 2**20, dtype=np.uint8)
    X = np.zeros(ADDED_MEBIBYTES + 1)
    growth = memory.peak_growth(allocate, X, X)
    assert ADDED_MEBIBYTES * 0.9 < growth < ADDED_MEBIBYTES * 1.5


@pytest.fixture
def small_resnet(load, digits):
    """A network that all baselines fit, and a few images that it was trained on."""
    pytest.importorskip("captum")
    pytest.importorskip("torchcam")
    network = load("_networks").SmallResNet
    X, y = digits.X_train[::50], digits.y_train[::50]
    model = SimilarNetClassifier(network, max_epochs=1, batch_size=20, random_state=0)
    return model.fit(X, y), X[:6], y[:6]


def test_every_method_returns_maps_of_the_images_size(load, small_resnet):
    model, X, y = small_resnet
    methods = load("_baselines").methods_for({model.resolution: model})
    assert len(methods) >= 8
    for name, method in methods.items():
        setting = {parameter: values[0] for parameter, values in method.grid.items()}
        heat = method.build(**setting)(X, y)
        assert heat.shape == X.shape, name
        assert np.isfinite(heat).all(), name


def test_class_activation_maps_use_the_weights_of_the_classifier(load, small_resnet):
    model, X, y = small_resnet
    baselines = load("_baselines")
    method = baselines.methods_for({model.resolution: model})["torchcam CAM"]
    heat = method.build(n_at_once=2, channels_last=True)(X, y)
    network = model.net_.module_
    backbone = nn.Sequential(network.stem, network.block1, network.block2)
    with torch.no_grad():
        activations = backbone(torch.from_numpy(X / np.float32(255))[:, None])
        maps = torch.einsum("nc,nchw->nhw", network.classifier.weight[y], activations)
    low, high = maps.amin((1, 2), keepdim=True), maps.amax((1, 2), keepdim=True)
    scaled = nn.functional.interpolate(
        ((maps - low) / (high - low))[:, None], X.shape[1:], mode="bilinear"
    )[:, 0]
    np.testing.assert_allclose(heat, scaled, atol=1e-4)


def test_masks_are_the_pixels_of_the_objects(scenes, digits):
    X, y = digits.X_train[:50], digits.y_train[:50]
    photograph = [np.full((80, 80), 255, dtype=np.uint8)]
    labelled = scenes.single_scenes(X, y, 6, photograph, 0)
    masks = scenes.object_masks(scenes.single_scenes, X, y, 6, 0)
    for box in labelled.truth.itertuples():
        rows, columns = np.nonzero(masks[box.image])
        ends = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
        assert ends == pytest.approx(
            (box.x_min, box.y_min, box.x_max, box.y_max), abs=1
        )


def test_textured_shapes_lie_in_their_boxes(scenes):
    photograph = [np.full((80, 90, 3), 128, dtype=np.uint8)]
    labelled, masks = scenes.textured_scenes(5, 2, photograph, 0)
    assert labelled.truth.groupby("image")["label"].nunique().eq(2).all()
    for number, boxes in labelled.truth.groupby("image"):
        inside = np.zeros_like(masks[number])
        for box in boxes.itertuples():
            inside[box.y_min : box.y_max, box.x_min : box.x_max] = True
        assert not masks[number][~inside].any()
        # The photograph around the objects is unchanged.
        assert (labelled.images[number][~masks[number]] == 128).all()


def test_slopes_are_those_of_the_logarithms_in_each_group(common):
    rows = [
        {"method": method, "count": count, "seconds": count**power}
        for method, power in (("linear", 1.0), ("quadratic", 2.0))
        for count in (1, 2, 8)
    ]
    table = common.with_slopes(rows, by=["method"], count="count")
    np.testing.assert_allclose(table["slope"], [1, 1, 1, 2, 2, 2])


def test_rows_of_remaining_setups_stay_in_the_file(common, tmp_path):
    for setup, value in (("a", 1), ("b", 2), ("a", 3)):
        rows = [{"setup": setup, "value": value}]
        path = common.report("rows", rows, False, tmp_path, replace_by="setup")
    table = pd.read_csv(path)
    assert table.set_index("setup")["value"].to_dict() == {"b": 2, "a": 3}


@pytest.fixture
def stages(load):
    return load("_stages")


def test_calibration_error_is_the_difference_of_scores_and_precision(
    stages,
):
    score = np.array([0.95, 0.95, 0.15, 0.15, 0.15, 0.15])
    is_correct = np.array([1, 1, 0, 0, 0, 1])
    # Differences of 0.05 and 0.1, for a third and two thirds of the detections.
    error = stages.expected_calibration_error(score, is_correct)
    assert error == pytest.approx((0.05 + 2 * 0.1) / 3)


def test_each_stage_of_a_localizer_loses_objects(
    stages, scenes, digits, fitted_localizer
):
    images, truth = scenes.touching_scenes(
        digits.X_test, digits.y_test, 3, overlap=0, random_state=0
    )
    detections = fitted_localizer.localize(list(images))
    shares = list(stages.stages(fitted_localizer, images, truth).values())
    assert shares == sorted(shares, reverse=True)
    score, is_correct = stages.scored_outcomes(truth, detections)
    assert len(score) == len(is_correct) == len(detections)
    assert is_correct.sum() == pytest.approx(shares[-1] * len(truth))
    strict = deepcopy(fitted_localizer).set_params(score_threshold=1.0)
    without = stages.stages(strict, images, truth)
    assert without["kept"] == without["confident"] == 0
    assert without["proposed"] == shares[0]


def test_strokes_are_a_pixel_wide_and_fill_their_boxes(scenes, digits):
    pytest.importorskip("skimage")
    images, truth = scenes.stroke_scenes(
        digits.X_test, digits.y_test, 4, 56, random_state=0
    )
    assert len(truth) == 8
    for box in truth.itertuples():
        inside = images[box.image, box.y_min : box.y_max, box.x_min : box.x_max] > 0
        assert inside.any(axis=0)[[0, -1]].all()
        assert inside.any(axis=1)[[0, -1]].all()
        # Lines a pixel wide contain squares of 2 x 2 pixels only at crossings.
        blocks = inside[1:, 1:] & inside[:-1, 1:] & inside[1:, :-1] & inside[:-1, :-1]
        assert blocks.sum() < 0.05 * inside.sum()


def test_differences_of_maps_are_paired_by_photograph(load):
    pytest.importorskip("PIL")
    maps = load("_photograph_maps")
    rng = np.random.default_rng(0)
    hits = rng.random((12, 3, 5)) < 0.5
    areas = {"insertion": rng.random(6), "deletion": rng.random(6)}
    values = {"hits": hits, "peaks": np.arange(12) % 2, **areas}
    photographs = np.repeat(np.arange(6), 2)
    row = maps.summary(values, values, photographs, maps.QUICK)
    assert row["MaxBoxAccV2"] == pytest.approx(hits.mean(axis=0).max(axis=1).mean())
    assert row["pointing"] == pytest.approx(0.5)
    assert row["MaxBoxAccV2 from"] < row["MaxBoxAccV2 to"]
    assert {value for name, value in row.items() if " - cam" in name} == {0}


def test_categories_of_photographs_have_classes_of_imagenet(load):
    pytest.importorskip("PIL")
    maps = load("_photograph_maps")
    for classes in maps.CLASSES.values():
        assert classes
        assert 0 <= min(classes) <= max(classes) < 1000


def test_attention_rollout_multiplies_attention_and_residuals(load):
    references = load("_references")
    torch.manual_seed(0)
    network = nets.AttentionTransformer(torch.nn.MultiheadAttention).eval()
    for block in network.blocks:
        block.attn.batch_first = True
    images = torch.rand(2, 3, 16, 16)
    rollout = references.attention_rollout(network, images)
    torch.testing.assert_close(rollout.sum(2), torch.ones(2, 17))
    # The same from the weights of queries and keys.
    tokens = network.patches(images).flatten(2).transpose(1, 2)
    first = network.class_token.expand(2, -1, -1)
    x, expected = torch.cat([first, tokens], 1) + network.positions, torch.eye(17)
    for block in network.blocks:
        y = block.norm1(x)
        projected = y @ block.attn.in_proj_weight.T + block.attn.in_proj_bias
        q, k, _ = projected.unflatten(2, (3, 3, 4)).permute(2, 0, 3, 1, 4)
        attention = (q @ k.mT / 2).softmax(-1).mean(1)
        expected = (attention + torch.eye(17)) @ expected / 2
        x = block(x)
    torch.testing.assert_close(rollout, expected)
    assert not any(block.attn._forward_hooks for block in network.blocks)
