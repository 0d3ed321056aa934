"""
A page of digits
================

The network is trained on images of single bright digits. It then reads a page
of digits in dark ink on light paper.
"""

# %%
# Train
# -----
# Images of single digits are not enough. A network without negative examples
# would classify an edge or half a digit as a digit. ``InstanceLocalizer``
# therefore pastes the digits on photographs, noise, textures and black,
# proposes regions as ``localize`` does, and trains on crops of these regions.
# A crop of a whole digit has the label of the digit; all remaining crops are
# background.
#
# For speed, this example uses a smaller network, fewer crops and no
# hard-negative mining.

from sklearn.datasets import load_sample_images

from sklearn_similar import InstanceLocalizer, SimilarNetClassifier
from sklearn_similar.datasets import load_mnist_sample

china, flower = load_sample_images().images
X, X_test, y, y_test = load_mnist_sample(return_X_y=True)
network = SimilarNetClassifier(
    lr=2e-3, lr_decay=2e-3, batch_size=50, max_epochs=8
)
localizer = InstanceLocalizer(
    network,
    n_instance_crops=4000,
    n_background_crops=4000,
    n_mining_rounds=0,
    random_state=0,
)
localizer.fit(X, y, background_images=[flower])

# %%
# Read
# ----
# The page shows test digits, with various ink strengths and sizes.
# ``polarity="dark"`` searches the negative image, without further training.
# The ground truth is known: dashed lines are detected true boxes, and false
# detections and missed digits are marked.

from sklearn_similar.datasets import make_scenes
from sklearn_similar.display import InstancesDisplay

page, truth = make_scenes(
    X_test,
    y_test,
    n_scenes=1,
    size=(200, 320),
    n_instances=20,
    scale=(0.8, 1.5),
    polarity="dark",
    random_state=2,
)
localizer.set_params(polarity="dark")
InstancesDisplay.from_estimator(localizer, page, truth=truth)

# %%
# A detection is correct if it has the correct label and overlaps a true box by
# half (intersection over union).

from sklearn_similar.metrics import detection_scores

instances = localizer.localize(page)
print(detection_scores(truth, instances))

# %%
# The table lists digits in descending order of score. Sorted by position, they
# form a text; this is its upper left part.

corner = instances.query("x_max < 200 and y_max < 120")
corner.sort_values(["y_min", "x_min"]).round(2)

# %%
# Digits on a photograph
# ----------------------
# The same localizer detects bright digits on a photograph that is not in the
# training data.

scenes, truth = make_scenes(
    X_test,
    y_test,
    n_scenes=1,
    size=(300, 480),
    n_instances=14,
    scale=(0.8, 3),
    background_images=[china],
    random_state=1,
)
localizer.set_params(polarity="bright")
InstancesDisplay.from_estimator(localizer, scenes, truth=truth)

# %%
# :doc:`../user_guide/localization` explains the method, its parameters and its
# limits.
