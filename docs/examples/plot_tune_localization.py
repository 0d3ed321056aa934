"""
Tuning with known boxes
=======================

Training does not need boxes, but a few known boxes are enough to tune
parameters. With a frozen estimator, a search does not repeat the training.
"""

# %%
# Scenes with boxes
# -----------------
# The scenes consist of held-out training digits. Manually annotated boxes come
# from a table or from :func:`~sklearn_similar.datasets.load_coco_file`. The
# scorer contains the scenes.

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
# The localizer is trained once. Its trained estimator is frozen and passed to
# another localizer, whose nine candidates then only search the scenes.

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
# Regions of the heatmap are worse, because their boxes are loose. Grey levels
# are as good as all channels here, in less time: the digits differ from their
# background in brightness. After little training, scores of false detections
# are overconfident, so a high threshold is best. Other images have other
# optima.
#
# Test scenes
# -----------
# The best estimator, evaluated on test scenes:

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
# The first four scenes:

InstancesDisplay.from_predictions(
    scenes[:4],
    instances[instances["image"] < 4],
    truth=truth[truth["image"] < 4],
    n_columns=2,
)
