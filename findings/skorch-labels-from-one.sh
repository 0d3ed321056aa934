#!/usr/bin/env bash
# A skorch network with accuracy 1 has an area under the ROC curve of 0 if labels are 1 and 2.
#
# Versions: skorch 1.4.0, scikit-learn 1.9.1, torch 2.13.0, NumPy 2.4.6, Python 3.11.
# Behaviour: labels are the indices of the outputs. With labels 1 and 2, as where output 0 is the
#   background, classes_ is [1, 2], and predict_proba has three columns. scikit-learn takes the
#   column at the position of the class in classes_: the probability of class 1 for that of class 2.
#   Whatever needs probabilities is reversed or meaningless: ROC curve, log loss, Brier score,
#   classifiers with another threshold. predict and accuracy are right, and nothing warns.
# Expected: columns in the order of classes_, or an error, as their numbers differ.
# Who is hurt: who takes the labels of a detection dataset, which keep 0 for the background, and
#   selects networks by a metric other than accuracy.
# Fails if any of these figures changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q skorch==1.4.0 scikit-learn==1.9.1 torch==2.13.0 numpy==2.4.6
cat > "$folder/score.py" <<'PYTHON'
import numpy as np
import torch
from sklearn.metrics import get_scorer
from sklearn.model_selection import FixedThresholdClassifier
from skorch import NeuralNetClassifier

torch.manual_seed(0)
positive = np.arange(100) % 2
X = np.stack([positive, 1 - positive], axis=1).astype(np.float32)
for first_label in (0, 1):
    y = positive + first_label
    module = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Softmax(dim=1))
    net = NeuralNetClassifier(module, lr=1.0, max_epochs=50, train_split=None, verbose=0).fit(X, y)
    thresholded = FixedThresholdClassifier(net, threshold=0.5, response_method="predict_proba")
    print("classes_", net.classes_.tolist(), "columns", net.predict_proba(X).shape[1])
    for scorer in ("accuracy", "roc_auc"):
        print(" ", scorer, f"{get_scorer(scorer)(net, X, y):.2f}")
    print("  accuracy at a threshold of 0.5", f"{thresholded.fit(X, y).score(X, y):.2f}")
PYTHON
"$folder/env/bin/python" "$folder/score.py" | tee "$folder/seen"
diff "$folder/seen" - <<'SEEN'
classes_ [0, 1] columns 3
  accuracy 1.00
  roc_auc 1.00
  accuracy at a threshold of 0.5 1.00
classes_ [1, 2] columns 3
  accuracy 1.00
  roc_auc 0.00
  accuracy at a threshold of 0.5 0.00
SEEN
