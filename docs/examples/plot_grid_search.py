"""
Pipeline and GridSearchCV
=========================

``SimilarNetClassifier`` is a scikit-learn classifier and transformer. Its
parameters can be searched, and its heatmaps can feed another estimator.
"""

# %%
# Rows of pixels
# --------------
# The digits of scikit-learn have 8x8 pixels, as rows of 64 values from 0 to
# 16. Rows are read as square images. Values should lie between 0 and 1.

from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(
    X / 16, y, stratify=y, random_state=0
)

# %%
# Training parameters
# -------------------
# The search uses the names of the parameters from ``get_params``.

import pandas as pd
from sklearn.model_selection import GridSearchCV

from sklearn_similar import SimilarNetClassifier

search = GridSearchCV(
    SimilarNetClassifier(batch_size=16, random_state=0),
    {"max_epochs": [4, 10], "lr": [5e-4, 2e-3]},
    cv=3,
)
search.fit(X_train, y_train)
print(f"{search.score(X_test, y_test):.1%} of the test digits are recognised")
columns = ["param_max_epochs", "param_lr", "mean_test_score", "mean_fit_time"]
pd.DataFrame(search.cv_results_)[columns].round(4)

# %%
# Heatmaps
# --------
# The best estimator is refitted on all training digits and computes heatmaps.
# Heatmaps of rows are rows; the display knows the shape of the images.

from sklearn_similar.display import HeatmapDisplay

best = search.best_estimator_
rows = X_test[:10]
HeatmapDisplay.from_estimator(best, rows, y=best.predict(rows), alpha=0.5)

# %%
# Heatmaps in a pipeline
# ----------------------
# Heatmaps of rows are a table that can feed another estimator. Here, PCA and a
# linear classifier use only the heatmaps, not the digits.

from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

pipeline = make_pipeline(
    SimilarNetClassifier(**search.best_params_, batch_size=16, random_state=0),
    PCA(20),
    LogisticRegression(),
)
pipeline.fit(X_train, y_train)
print(f"{pipeline.score(X_test, y_test):.1%} from the heatmaps alone")

# %%
# So heatmaps preserve the shapes of most digits; the network is more accurate.
# A search over the pipeline sets parameters of the network by the usual names,
# such as ``similarnetclassifier__threshold``. If a search varies only
# parameters that act after training, ``memory="folder"`` trains a single
# network per fold.
