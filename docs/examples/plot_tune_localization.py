"""
Tuning localisation without training again
==========================================

``min_score`` and ``hotspots`` decide what is looked at and what is reported. They count
after training, so a search over them need not train a network for each candidate. One
parameter, ``memory``, sees to that.
"""

# %%
# Scenes to tune on
# -----------------
# Boxes are needed to tune, but only for a few scenes. Here they are made of training
# digits. The scorer holds the scenes; the search itself splits the training images.

from sklearn.datasets import load_sample_images

from sklearn_similar import make_training_crops
from sklearn_similar.datasets import load_mnist_sample, make_scenes
from sklearn_similar.metrics import LocalizationScorer

china, flower = load_sample_images().images
digits = load_mnist_sample()
X_train, y_train = make_training_crops(
    digits.X_train[:2000],
    digits.y_train[:2000],
    background=-1,
    photographs=[flower],
    n_instances=1500,
    n_background=1500,
    random_state=0,
)
scenes, instances = make_scenes(
    digits.X_train[2000:],
    digits.y_train[2000:],
    n_scenes=10,
    ground=[china],
    random_state=0,
)
scorer = LocalizationScorer(scenes=scenes, instances=instances, metric="f1")

# %%
# The search
# ----------
# Six candidates and two folds. With ``memory``, a folder, each fold trains one network;
# the other candidates take it from there. An integer ``random_state`` is needed, for
# otherwise no two fits are the same.
#
# The folds are shuffled: in what ``make_training_crops`` returns, the images given come
# first, and each fold should have its share of them and of the crops.

import tempfile
import time

from sklearn.model_selection import GridSearchCV, StratifiedKFold

from sklearn_similar import SimilarNetClassifier

model = SimilarNetClassifier(
    background=-1, lr=4e-3, lr_decay=2e-3, batch_size=50, max_epochs=5, random_state=0
)
folds = StratifiedKFold(2, shuffle=True, random_state=0)
grid = {"min_score": [0.3, 0.6, 0.9], "hotspots": ["image", "heat"]}


def search(model):
    """Seconds of a search, and the search."""
    start = time.perf_counter()
    found = GridSearchCV(model, grid, scoring=scorer, cv=folds).fit(X_train, y_train)
    return time.perf_counter() - start, found


seconds, without = search(model)
print(f"without memory: {seconds:.0f} s, best {without.best_params_}")
with tempfile.TemporaryDirectory() as folder:
    seconds, found = search(model.set_params(memory=folder))
print(f"with memory: {seconds:.0f} s, best {found.best_params_}")

# %%
# The scores are the same, to the last bit.

import matplotlib.pyplot as plt
import numpy as np

scores = found.cv_results_["mean_test_score"]
assert np.array_equal(scores, without.cv_results_["mean_test_score"])

_, ax = plt.subplots(layout="constrained")
for hotspots in grid["hotspots"]:
    own = found.cv_results_["param_hotspots"] == hotspots
    ax.plot(grid["min_score"], scores[own], "o-", label=f"hotspots={hotspots!r}")
ax.set(xlabel="min_score", ylabel="F1 on the scenes")
ax.legend()

# %%
# The best estimator is ready to use, and scores on scenes that the search has not seen.

from sklearn_similar.metrics import detection_scores

scenes, instances = make_scenes(
    digits.X_test, digits.y_test, n_scenes=20, ground=[china], random_state=1
)
print(detection_scores(instances, found.best_estimator_.localize(scenes)))
