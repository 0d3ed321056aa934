"""Metrics given hostile input: each call returns a valid value or one clear error.

A case is determined by its number, which a failure names; ``Case(number).outcome()``
repeats it. The environment variable SKLEARN_SIMILAR_STRESS sets the number of cases.
"""

import contextlib
import datetime
import decimal
import inspect
import os
import random
import traceback
import uuid
import warnings
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy import sparse
from sklearn.exceptions import UndefinedMetricWarning

import sklearn_similar
from sklearn_similar import metrics

N_CASES = int(os.environ.get("SKLEARN_SIMILAR_STRESS", "250"))
PACKAGE = str(Path(sklearn_similar.__file__).parent)
BOX = ["x_min", "y_min", "x_max", "y_max"]
RESULTS = ("BoxAccuracyCurve", "DetectionScores", "PerturbationCurve")
FUNCTIONS = [name for name in metrics.__all__ if name not in RESULTS]
OF_MAPS = (
    "box_accuracy_curve",
    "max_box_accuracy",
    "pixel_average_precision",
    "pointing_game",
)
OF_CLASSIFIERS = (
    "average_drop",
    "average_increase",
    "deletion_auc",
    "deletion_curve",
    "insertion_auc",
    "insertion_curve",
)


class Opaque:
    """Hashable, but neither ordered nor a number."""


def junk(rng):
    """An object that is neither a table nor an array of heatmaps."""
    return rng.choice(
        [
            lambda: None,
            lambda: {},
            lambda: {"image": [0], "label": [1]},
            lambda: {0: [0, 0, 2, 2]},
            lambda: {"a", "b"},
            lambda: "boxes",
            lambda: b"boxes",
            lambda: 5,
            lambda: np.float64(2.5),
            lambda: np.nan,
            lambda: True,
            lambda: Opaque(),
            lambda: Opaque,
            lambda: (i for i in range(3)),
            lambda: range(3),
            lambda: [],
            lambda: [None],
            lambda: [[]],
            lambda: [[], [1]],
            lambda: [[0, 0, 2], [0, 0, 2, 2]],
            lambda: ["abcd", "efgh"],
            lambda: [["a", "b", "c", "d"]],
            lambda: [[None] * 4],
            lambda: [[0, 0, {}, []]],
            lambda: [[10**400, 0, 10**401, 1]],
            lambda: [{"x_min": 0, "y_min": 0, "x_max": 2, "y_max": 2}],
            lambda: np.zeros((2, 4)),
            lambda: np.zeros(4),
            lambda: np.zeros((0, 4)),
            lambda: np.zeros((0, 7)),
            lambda: np.zeros((3, 0)),
            lambda: np.zeros(()),
            lambda: np.zeros((2, 2, 2, 2)),
            lambda: np.zeros((2, 4), dtype=complex),
            lambda: np.full((2, 4), 1 + 2j),
            lambda: np.array([[0, 0, 2, 2]], dtype="datetime64[D]"),
            lambda: np.array([[0, 0, 2, 2]], dtype="timedelta64[s]"),
            lambda: np.array([[0, 0, 2, 2]], dtype="O"),
            lambda: np.array([["0", "0", "2", "2"]]),
            lambda: np.array([(0, 1.0)], dtype=[("a", int), ("b", float)]),
            lambda: np.ma.masked_equal(np.arange(8.0).reshape(2, 4), 3),
            lambda: np.full((1, 4), np.inf),
            lambda: torch.zeros(2, 4),
            lambda: torch.zeros(1, 3, 4, requires_grad=True),
            lambda: sparse.csr_matrix(np.eye(4)),
            lambda: pd.Series([0, 0, 2, 2]),
            lambda: pd.Series({"image": 0}),
            lambda: pd.Series(dtype=object),
            lambda: pd.Index([1, 2]),
            lambda: pd.DataFrame(),
            lambda: pd.DataFrame(index=[0, 1]),
            lambda: pd.DataFrame(np.zeros((2, 4))),
        ]
    )()


def values(rng, n):
    """A column of any kind."""
    number = rng.randrange(3)
    return rng.choice(
        [
            lambda: list(range(n)),
            lambda: [float(i) for i in range(n)],
            lambda: [i / 3 for i in range(n)],
            lambda: [str(i) for i in range(n)],
            lambda: [f"a{i % 2}" for i in range(n)],
            lambda: [bool(i % 2) for i in range(n)],
            lambda: [np.nan] * n,
            lambda: [None] * n,
            lambda: [rng.choice([np.nan, 1.0, 0.0]) for _ in range(n)],
            lambda: [rng.choice([None, "a", 0]) for _ in range(n)],
            lambda: [rng.choice([1, "1", "a", True, 2.5]) for _ in range(n)],
            lambda: [rng.choice([np.inf, -np.inf, 1.0]) for _ in range(n)],
            lambda: [-1.0] * n,
            lambda: [1e300] * n,
            lambda: [-1e308, *[1e308] * n][:n],
            lambda: [5e-324] * n,
            lambda: [2**63] * n,
            lambda: [10**400] * n,
            lambda: [1j] * n,
            lambda: [b"a"] * n,
            lambda: [[1, 2]] * n,
            lambda: [(1, "b")] * n,
            lambda: [(1, i) for i in range(n)],
            lambda: [([1], i) for i in range(n)],
            lambda: [{"a": 1}] * n,
            lambda: [np.arange(2)] * n,
            lambda: [Opaque() for _ in range(n)],
            lambda: [decimal.Decimal(i) for i in range(n)],
            lambda: [uuid.UUID(int=i) for i in range(n)],
            lambda: [Path(f"page{i}.png") for i in range(n)],
            lambda: [datetime.date(2020, 1, 1 + i % 28) for i in range(n)],
            lambda: pd.date_range("2020", periods=n),
            lambda: pd.date_range("2020", periods=n, tz="UTC"),
            lambda: pd.timedelta_range("1s", periods=n),
            lambda: pd.period_range("2020", periods=n, freq="D"),
            lambda: pd.interval_range(0, n or 1)[:n],
            lambda: pd.Categorical([number] * n, categories=[0, 1, 2]),
            lambda: pd.Categorical([f"c{i % 2}" for i in range(n)]),
            lambda: pd.Categorical([None] * n, categories=["a"]),
            lambda: pd.array([number] * n, dtype="Int64"),
            lambda: pd.array([pd.NA] * n, dtype="Int64"),
            lambda: pd.array([rng.choice([1, pd.NA]) for _ in range(n)], dtype="Int8"),
            lambda: pd.array([0.5] * n, dtype="Float32"),
            lambda: pd.array([True] * n, dtype="boolean"),
            lambda: pd.array([f"s{i}" for i in range(n)], dtype="string"),
            lambda: pd.arrays.SparseArray([0.0] * n),
            lambda: np.full(n, number, dtype="uint8"),
            lambda: np.full(n, number, dtype="float16"),
            lambda: np.full(n, number, dtype=object),
        ]
    )()


def good_table(rng, *, score):
    """True boxes as (image, label, box) in images of 6x8, by chance without a row."""
    rows = []
    for _ in range(rng.choice([0, 1, 2, 3, 8])):
        x, y = rng.randrange(7), rng.randrange(5)
        box = [x, y, rng.randint(x, 8), rng.randint(y, 6)]
        rows.append([rng.randrange(3), rng.randrange(2), *box])
    table = pd.DataFrame(rows, columns=["image", "label", *BOX])
    if score:
        table["score"] = [rng.choice([0.1, 0.5, 0.9]) for _ in rows]
    return table


def hostile_table(rng, *, score=False):
    """A table with up to three faults, an array of its boxes, or neither."""
    if rng.random() < 0.1:
        return junk(rng)
    table = good_table(rng, score=score)
    if rng.random() < 0.1:
        return (
            table[BOX].to_numpy() if rng.random() < 0.5 else table[BOX].values.tolist()
        )
    for _ in range(rng.choice([0, 0, 0, 1, 1, 1, 2, 3])):
        with contextlib.suppress(Exception), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # Some combinations pandas itself refuses to build.
            table = mutate_table(rng, table)
    return table


def mutate_table(rng, table):
    columns = list(table.columns)
    if not columns:
        return table
    column = rng.choice(columns)
    n = len(table)
    return rng.choice(
        [
            *5 * [lambda: with_column(table, rng.choice(columns), values(rng, n))],
            *2 * [lambda: with_column(table, "label", values(rng, n))],
            *2 * [lambda: with_column(table, "image", values(rng, n))],
            lambda: table.drop(columns=column),
            lambda: pd.concat([table, table[[column]]], axis=1),
            lambda: pd.concat([table, table], axis=1),
            lambda: table.rename(
                columns={column: rng.choice([0, None, "xmin", ("a",)])}
            ),
            lambda: table.set_axis(
                pd.MultiIndex.from_product([columns, ["v"]]), axis=1
            ),
            lambda: table.set_axis(range(len(columns)), axis=1),
            lambda: table.set_index(column),
            lambda: table.assign(extra=1),
            lambda: pd.concat(
                [table.assign(extra=[[1]] * n)[["extra"]], table], axis=1
            ),
            lambda: table.set_axis([0] * n, axis=0),
            lambda: table.set_axis(list("abcdefgh" * 9)[:n], axis=0),
            lambda: table.set_axis(
                pd.MultiIndex.from_arrays([range(n), range(n)]), axis=0
            ),
            lambda: table.astype(object),
            lambda: table.astype(str),
            lambda: table.astype("category"),
            lambda: table.convert_dtypes(),
            lambda: table.T,
            lambda: table.iloc[:0],
            lambda: table[columns[::-1]],
            lambda: table.replace(0, rng.choice([np.nan, np.inf, -1, 1e300])),
            lambda: pd.concat([table] * 2),
            lambda: table.rename(columns={"x_min": "x_max", "x_max": "x_min"}),
        ]
    )()


def with_column(table, column, new):
    table = table.copy()
    if (table.columns == column).sum() > 1:
        return table
    table[column] = pd.Series(new, index=table.index)
    return table


def hostile_map(rng):
    """A heatmap or mask of 6x8, sometimes malformed."""
    base = np.random.RandomState(rng.randrange(1000)).random_sample((6, 8))
    return rng.choice(
        [
            *4 * [lambda: base],
            lambda: base > 0.5,
            lambda: (base > 0.5).astype(int),
            lambda: base.astype("float16"),
            lambda: base.astype("uint8"),
            lambda: base.tolist(),
            lambda: np.zeros((6, 8)),
            lambda: np.full((6, 8), -1.0),
            lambda: base * 1e308,
            lambda: base * 1e-320,
            lambda: np.where(base > 0.9, np.nan, base),
            lambda: np.where(base > 0.9, np.inf, base),
            lambda: base.astype(complex),
            lambda: base + 1j,
            lambda: base.astype(str),
            lambda: base.astype(object),
            lambda: np.full((6, 8), None),
            lambda: base.ravel(),
            lambda: base[np.newaxis],
            lambda: base[:0],
            lambda: base[:, :0],
            lambda: base[:5],
            lambda: base[:1, :1],
            lambda: [[1, 2], [3]],
            lambda: [[10**400] * 8] * 6,
            lambda: base[::-1, ::-1],
            lambda: np.asfortranarray(base),
            lambda: np.ma.masked_less(base, 0.5),
            lambda: torch.from_numpy(base),
            lambda: torch.from_numpy(base).requires_grad_(),
            lambda: pd.DataFrame(base),
            lambda: sparse.csr_matrix(base),
            lambda: (base * 100).astype("timedelta64[s]"),
            lambda: junk(rng),
        ]
    )()


def hostile_maps(rng):
    """Three heatmaps in a list, an array or another container."""
    if rng.random() < 0.1:
        return junk(rng)
    if rng.random() < 0.5:
        maps = np.random.RandomState(rng.randrange(1000)).random_sample((3, 6, 8))
        if rng.random() < 0.3:
            maps = (maps > 0.5).astype(rng.choice(["int64", "bool", "float64"]))
    else:
        maps = [hostile_map(rng) if rng.random() < 0.3 else np.eye(6, 8)] * 2
        maps.append(hostile_map(rng) if rng.random() < 0.3 else np.ones((6, 8)))
    return rng.choice(
        [
            *6 * [lambda: maps],
            lambda: tuple(maps),
            lambda: maps[:2],
            lambda: [*maps, np.eye(6, 8)],
            lambda: dict(enumerate(maps)),
            lambda: OrderedDict(a=maps),
            lambda: pd.Series(as_objects(maps)),
            lambda: as_objects(maps),
            lambda: iter(maps),
            lambda: [maps],
            lambda: maps[0],
        ]
    )()


def as_objects(items):
    objects = np.empty(len(items), dtype=object)
    for index, item in enumerate(items):
        objects[index] = item
    return objects


class Classifier:
    """Reads the mean of an image, and may have a fault."""

    def __init__(self, fault):
        self.classes_ = np.array([0, 1])
        self.fault = fault
        if fault == "no classes":
            del self.classes_
        if fault == "strings":
            self.classes_ = np.array(["a", "b"])

    def predict_proba(self, X):
        X = np.asarray(X, dtype=float)
        p = 1 / (1 + np.exp(-X.reshape(len(X), -1).mean(axis=1)))
        probabilities = np.stack([p, 1 - p], axis=1)
        return {
            "one column": probabilities[:, :1],
            "vector": p,
            "short": probabilities[:-1],
            "nan": np.full_like(probabilities, np.nan),
            "list": probabilities.tolist(),
            "None": None,
            "text": [["a", "b"]] * len(X),
            "logits": probabilities * 100 - 50,
        }.get(self.fault, probabilities)


class Explainer(Classifier):
    def heatmap(self, X, target=None):
        maps = np.ones(np.shape(X)[:3])
        return {
            "None": None,
            "short": maps[:-1],
            "nan": maps * np.nan,
            "text": "heat",
            "vector": maps[0],
        }.get(self.fault, maps)


FAULTS = [
    "no classes",
    "strings",
    "one column",
    "vector",
    "short",
    "nan",
    "list",
    "None",
]
FAULTS += ["text", "logits"]


def hostile_classifier(rng):
    if rng.random() < 0.1:
        return junk(rng)
    fault = rng.choice(FAULTS) if rng.random() < 0.4 else None
    return rng.choice([Classifier, Explainer])(fault)


def hostile_images(rng):
    if rng.random() < 0.4:
        return hostile_maps(rng)
    rng_np = np.random.RandomState(rng.randrange(1000))
    return rng.choice(
        [
            lambda: rng_np.random_sample((3, 6, 8)),
            lambda: rng_np.random_sample((3, 48)),
            lambda: pd.DataFrame(rng_np.random_sample((3, 48))),
            lambda: rng_np.random_sample((3, 6, 8, 3)),
            lambda: rng_np.randint(0, 256, (3, 6, 8)).astype("uint8"),
            lambda: rng_np.random_sample((3, 6, 8)) > 0.5,
            lambda: list(rng_np.random_sample((3, 6, 8))),
            lambda: np.zeros((3, 6, 8)),
        ]
    )()


def labels(rng):
    if rng.random() < 0.1:
        return junk(rng)
    return values(rng, rng.choice([3, 3, 3, 2, 0]))


def number(rng):
    return rng.choice(
        [
            0,
            1,
            2,
            -1,
            0.5,
            1.0,
            2.5,
            np.nan,
            np.inf,
            None,
            "1",
            True,
            10**9,
            10**30,
            [1],
        ]
    )


def maybe(rng, make, chance=0.3):
    return make(rng) if rng.random() < chance else None


def no_number(y_true, y_pred):
    return [1, 2]


class Finder:
    """Localizes the instances that it is given."""

    def __init__(self, instances):
        self.instances = instances

    def localize(self, X):
        return self.instances


class Case:
    """A call of a metric, determined by a number."""

    def __init__(self, case_number):
        rng = random.Random(case_number)
        self.number = case_number
        self.name = rng.choice(FUNCTIONS)
        function = getattr(metrics, self.name)
        self.function = function
        if self.name == "LocalizationScorer":
            self.function, self.args, self.params = self._scorer(rng)
            self.arguments = ["boxes", "metric", "scenes", "instances", "localize", "y"]
            return
        self.arguments = list(inspect.signature(function).parameters)
        self.params = {
            name: self._parameter(rng, name)
            for name, parameter in inspect.signature(function).parameters.items()
            if parameter.kind is parameter.KEYWORD_ONLY and rng.random() < 0.2
        }
        if self.name in OF_MAPS:
            self.args = [
                hostile_maps(rng) if rng.random() < 0.7 else np.ones((3, 6, 8))
            ]
            if self.name == "pixel_average_precision" and rng.random() < 0.5:
                self.args.append(hostile_maps(rng))
            else:
                self.args.append(hostile_table(rng))
            if self.name == "pointing_game" and rng.random() < 0.5:
                self.args.append(labels(rng))
        elif self.name in OF_CLASSIFIERS:
            self.args = [hostile_classifier(rng), hostile_images(rng)]
            if rng.random() < 0.7:
                self.args.append(hostile_maps(rng))
        elif self.name == "box_iou":
            self.args = [hostile_table(rng), hostile_table(rng)]
        else:
            self.args = [hostile_table(rng), hostile_table(rng, score=True)]

    def _scorer(self, rng):
        scorer = metrics.LocalizationScorer(
            maybe(rng, hostile_table, 0.7),
            metric=rng.choice(
                ["f1", "f1", "recall", "average_precision", "F1", no_number]
            ),
            scenes=maybe(rng, hostile_maps, 0.2),
            instances=maybe(rng, hostile_table, 0.2),
        )
        y = pd.Series([0, 1, 0], index=rng.choice([[0, 1, 2], [2, 0, 1], [0, 0, 1]]))
        args = [Finder(hostile_table(rng, score=True)), np.zeros((3, 6, 8))]
        if rng.random() < 0.1:
            args[0] = junk(rng)
        args.append(rng.choice([y, y, y, None, [0, 1, 2], junk(rng)]))
        boxes = maybe(
            rng, lambda rng: rng.choice([hostile_table, hostile_maps])(rng), 0.2
        )
        return scorer.score, args, {} if boxes is None else {"boxes": boxes}

    def _parameter(self, rng, name):
        if name == "labels":
            return labels(rng)
        if name == "baseline":
            return rng.choice(
                ["black", "blur", "mean", "b", hostile_map(rng), number(rng)]
            )
        if name == "iou_thresholds":
            return rng.choice([[0.5], [0.5, 0.7], number(rng), junk(rng)])
        return number(rng)

    def outcome(self):
        """The fault, or None."""
        before = [
            arg.copy() if isinstance(arg, pd.DataFrame) else None for arg in self.args
        ]
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                warnings.simplefilter("ignore", UndefinedMetricWarning)
                result = self.function(*self.args, **self.params)
        except Exception as error:
            return self._fault_of_error(error)
        for arg, copy in zip(self.args, before, strict=True):
            if copy is not None and not arg.equals(copy):
                return "changed its input"
        return self._fault_of_result(result)

    def _fault_of_error(self, error):
        frame = traceback.extract_tb(error.__traceback__)[-1]
        # Errors of compiled code end in a frame of ours that does not raise.
        is_clear = frame.filename.startswith(PACKAGE) and frame.line.startswith("raise")
        is_clear |= "sklearn/utils" in frame.filename and "raise" in frame.line
        message = f"{type(error).__name__}: {error}"
        if not is_clear:
            return f"{Path(frame.filename).name}:{frame.lineno} {message}"
        if not isinstance(error, (ValueError, TypeError)):
            return f"not a ValueError or TypeError: {message}"
        text = str(error)
        said = text.lower().replace("heatmap ", "heatmaps ").replace("mask ", "masks ")
        named = [*self.arguments, "predict_proba", "classes_", "heatmap"]
        if not any(name.lower() in said for name in named):
            return f"names no argument: {message}"
        if not any(word in text for word in (";", "must be", "or pass", "Use ")):
            return f"names no remedy: {message}"
        return f"long: {message}" if len(text) > 2000 else None

    def _fault_of_result(self, result):
        if isinstance(result, pd.Series):
            parts = [result.to_numpy()]
        else:
            parts = list(result) if isinstance(result, tuple) else [result]
        undefined = np.isnan(self.params.get("zero_division") or 0)
        for part in parts:
            part = np.asarray(part)
            if part.dtype.kind not in "if":
                return f"returned {part.dtype}"
            if not np.isfinite(part).all() and not undefined:
                return f"returned {part}"
            if self.name not in ("count_error", "LocalizationScorer"):
                counts = self.name == "detection_scores" and part.dtype.kind == "i"
                if (
                    not counts
                    and not ((part >= 0) & (part <= 1) | np.isnan(part)).all()
                ):
                    return f"returned {part}"
        return None


def run(numbers):
    """The faults of these cases, by their numbers."""
    faults = {}
    for number in numbers:
        fault = Case(number).outcome()
        if fault is not None:
            faults[number] = fault
    return faults


def test_hostile_input_gives_a_valid_value_or_one_clear_error():
    faults = run(range(N_CASES))
    examples = "\n".join(
        f"Case({number}) {Case(number).name}: {fault[:300]}"
        for number, fault in list(faults.items())[:20]
    )
    assert not faults, f"{len(faults)} of {N_CASES} calls went wrong:\n{examples}"
