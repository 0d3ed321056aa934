"""
Pipeline and GridSearchCV
=========================

``SimilarNetClassifier`` is a classifier and a transformer of scikit-learn. Its
parameters can be searched, and its heatmaps can feed another estimator.
"""

# %%
# Rows of pixels
# --------------
# scikit-learn's own digits have 8x8 pixels, as rows of 64 values from 0 to 16.
# Rows are taken as square images. Values should lie between 0 and 1.

from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(
    X / 16, y, stratify=y, random_state=0
)

# %%
# Parameters of training
# ----------------------
# The search knows the names of the parameters from ``get_params``, as always.

import pandas as pd
from sklearn.model_selection import GridSearchCV

from sklearn_similar import SimilarNetClassifier

search = GridSearchCV(
    SimilarNetClassifier(batch_size=16, random_state=0),
    {"max_epochs": [5, 15], "lr": [5e-4, 2e-3]},
    cv=3,
)
search.fit(X_train, y_train)
print(f"{search.score(X_test, y_test):.1%} of the test digits are recognised")
columns = ["param_max_epochs", "param_lr", "mean_test_score", "mean_fit_time"]
pd.DataFrame(search.cv_results_)[columns].round(4)

# %%
# What it looks at
# ----------------
# The best estimator has been fitted to all training digits, and draws
# heatmaps. Those of rows are rows; the display knows the shape of the images.

from sklearn_similar.display import HeatmapDisplay

best = search.best_estimator_
rows = X_test[:10]
HeatmapDisplay.from_estimator(best, rows, y=best.predict(rows), alpha=0.5)

# %%
# Heatmaps in a pipeline
# ----------------------
# A heatmap for each image is a table like any other. Here the places of the
# heat go through a PCA into a linear classifier, which does not see the digits
# themselves.

from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

pipeline = make_pipeline(
    SimilarNetClassifier(**search.best_params_, batch_size=16, random_state=0),
    PCA(20),
    LogisticRegression(),
)
pipeline.fit(X_train, y_train)
print(f"{pipeline.score(X_test, y_test):.1%} from the heat alone")

# %%
# So the heat keeps the shapes of most digits; the network itself knows more. A
# search over the pipeline reaches into the network by the usual names, such as
# ``similarnetclassifier__threshold``. If a search only varies what acts after
# training, ``memory="folder"`` trains one network for each fold.
