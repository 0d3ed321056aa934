"""
Tuning localisation without training again
==========================================

``score_threshold`` and ``proposals`` act after training, so a search over them need not
train a network for each candidate. A frozen estimator sees to that.
"""

# %%
# Scenes to tune on
# -----------------
# Boxes are needed to tune, but only for a few scenes. Here they are made of training
# digits that no network was trained on. The scorer holds the scenes.

from sklearn.datasets import load_sample_images

from sklearn_similar import InstanceLocalizer, SimilarNetClassifier
from sklearn_similar.datasets import load_mnist_sample, make_scenes
from sklearn_similar.metrics import LocalizationScorer

china, flower = load_sample_images().images
digits = load_mnist_sample()
X, y = digits.X_train[:2000], digits.y_train[:2000]
scenes, instances = make_scenes(
    digits.X_train[2000:],
    digits.y_train[2000:],
    n_scenes=10,
    background_images=[china],
    random_state=0,
)
scorer = LocalizationScorer(scenes=scenes, instances=instances, metric="f1")

# %%
# The search
# ----------
# The localizer trains once. Its trained estimator, frozen, goes into another localizer,
# whose six candidates then only search the scenes.

import pandas as pd
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import GridSearchCV

network = SimilarNetClassifier(lr=4e-3, lr_decay=2e-3, batch_size=50, max_epochs=5)
trained = InstanceLocalizer(
    network, n_instance_crops=1500, n_background_crops=1500, random_state=0
).fit(X, y, background_images=[flower])
grid = {"score_threshold": [0.3, 0.6, 0.9], "proposals": ["image", "heat"]}
search = GridSearchCV(
    InstanceLocalizer(FrozenEstimator(trained.estimator_)), grid, scoring=scorer, cv=2
).fit(X, y)
print(search.best_params_)

# %%
# F1 of the candidates:

import matplotlib.pyplot as plt

results = pd.DataFrame(search.cv_results_["params"])
results["F1 on the scenes"] = search.cv_results_["mean_test_score"]
_, ax = plt.subplots(layout="constrained")
results.pivot(
    index="score_threshold", columns="proposals", values="F1 on the scenes"
).plot(ax=ax, marker="o", ylabel="F1 on the scenes")

# %%
# The best estimator is ready to use, and scores on scenes that the search has not seen.

from sklearn_similar.metrics import detection_scores

scenes, instances = make_scenes(
    digits.X_test, digits.y_test, n_scenes=20, background_images=[china], random_state=1
)
print(detection_scores(instances, search.best_estimator_.localize(scenes)))
