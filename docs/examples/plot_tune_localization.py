"""
Tuning with known boxes
=======================

Boxes are not needed to train, but a few known ones tell which settings are
best. A frozen estimator lets a search try them without training again.
"""

# %%
# Scenes with boxes
# -----------------
# Here they are made of training digits that no network was trained on. Boxes
# that people have drawn come from a table, or by
# :func:`~sklearn_similar.datasets.load_coco_file`. The scorer holds the
# scenes.

from sklearn.datasets import load_sample_images

from sklearn_similar import InstanceLocalizer, SimilarNetClassifier
from sklearn_similar.datasets import load_mnist_sample, make_scenes
from sklearn_similar.metrics import LocalizationScorer

china, flower = load_sample_images().images
digits = load_mnist_sample()
X, y = digits.X_train[:2000], digits.y_train[:2000]
scenes, truth = make_scenes(
    digits.X_train[2000:],
    digits.y_train[2000:],
    n_scenes=10,
    background_images=[china],
    random_state=0,
)
scorer = LocalizationScorer(scenes=scenes, instances=truth, metric="f1")

# %%
# The search
# ----------
# The localizer trains once. Its trained estimator, frozen, goes into another
# localizer, whose six candidates then only search the scenes.

from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import GridSearchCV

network = SimilarNetClassifier(
    lr=4e-3, lr_decay=2e-3, batch_size=50, max_epochs=4
)
trained = InstanceLocalizer(
    network,
    n_instance_crops=1500,
    n_background_crops=1500,
    n_mining_rounds=0,
    random_state=0,
)
trained.fit(X, y, background_images=[flower])
grid = {
    "score_threshold": [0.3, 0.6, 0.9],
    "proposals": ["image", "grey", "heat"],
}
search = GridSearchCV(
    InstanceLocalizer(FrozenEstimator(trained.estimator_)),
    grid,
    scoring=scorer,
    cv=2,
)
search.fit(X, y)
print(search.best_params_)

# %%
# F1 of the candidates:

import pandas as pd

results = pd.DataFrame(search.cv_results_["params"])
results["F1"] = search.cv_results_["mean_test_score"]
table = results.pivot(
    index="score_threshold", columns="proposals", values="F1"
)
table.round(3)

# %%
# Regions of the heatmap are behind, as their boxes are loose. Grey levels do
# as well as all channels here, in less time: the digits differ from what is
# around them in brightness. After so little training, scores are too sure of
# mistakes, and a high threshold pays. Other images have other answers; that
# is why to search.
#
# New scenes
# ----------
# The best estimator is ready to use. On scenes that the search has not seen:

from sklearn_similar.display import InstancesDisplay
from sklearn_similar.metrics import detection_scores

scenes, truth = make_scenes(
    digits.X_test,
    digits.y_test,
    n_scenes=20,
    background_images=[china],
    random_state=1,
)
instances = search.best_estimator_.localize(scenes)
print(detection_scores(truth, instances))

# %%
# The first four of them:

InstancesDisplay.from_predictions(
    scenes[:4],
    instances[instances["image"] < 4],
    truth=truth[truth["image"] < 4],
    n_columns=2,
)
