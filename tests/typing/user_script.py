"""Mistakes in a user's script that a type checker finds.

mypy reports an ignored error that does not occur, so that each line is a test.
"""

import numpy as np

from sklearn_similar import InstanceLocalizer, LeNet, SimilarNetClassifier

X = np.zeros((4, 28, 28), np.uint8)
y = [0, 1, 0, 1]

similar = SimilarNetClassifier(LeNet, layer=["features.relu2"], batch_size=50)
SimilarNetClassifier(batch_size="50")  # type: ignore[arg-type]
SimilarNetClassifier(batchsize=50)  # type: ignore[call-arg]
SimilarNetClassifier(importance="logloss")  # type: ignore[arg-type]
SimilarNetClassifier(lr=None)  # type: ignore[arg-type]

heatmaps = similar.fit(X, y).heatmap(X, target=1)
similar.fit(X, labels=y)  # type: ignore[call-arg]
similar.heatmap(X, targets=1)  # type: ignore[call-arg]
similar.fit(X, y).fit_importance(X, y).transform(X, threshold=1)  # type: ignore[call-arg]
similar.predict(X).no_such_method()  # type: ignore[attr-defined]

localizer = InstanceLocalizer(similar, polarity="both", scales=[0.5, 1])
InstanceLocalizer(score_threshold="0.5")  # type: ignore[arg-type]
InstanceLocalizer(polarity="light")  # type: ignore[arg-type]
instances = localizer.fit(X, y, background_images=[X[0]]).localize(X)
localizer.fit(X, y, backgrounds=[X[0]])  # type: ignore[call-arg]
score: str = localizer.score(X, instances)  # type: ignore[assignment]
