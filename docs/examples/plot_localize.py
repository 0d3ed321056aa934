"""
A page of digits
================

Digits in ink, on paper: dark on light. The network learns single bright
digits, each alone in its image, and reads a page that it has never seen.
"""

# %%
# Train
# -----
# Single digits are not enough. A network that has never seen what is *not* a
# digit, such as an edge or half a digit, would call each of them one.
# ``InstanceLocalizer`` sees to that: it places the digits on photographs,
# noise, textures and black, proposes regions just as ``localize`` will, and
# trains on crops of them. Those that show a digit as a whole have its label,
# the others are background.
#
# A smaller network, fewer crops and no mining for mistakes make this example
# quick.

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
    n_instance_crops=6000,
    n_background_crops=6000,
    n_mining_rounds=0,
    random_state=0,
)
localizer.fit(X, y, background_images=[flower])

# %%
# Read
# ----
# The page is made of test digits, in ink of different strengths and sizes.
# ``polarity="dark"`` looks at the negative; nothing is trained again. Where
# the truth is known, the picture shows it: dashed lines are true boxes that
# were found, and what is false or missed says so.

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
# A box counts if it has the right label and overlaps a true one by half
# (intersection over union).

from sklearn_similar.metrics import detection_scores

instances = localizer.localize(page)
print(detection_scores(truth, instances))

# %%
# The table has the digits in the order of their scores. Sorted by their place,
# they are a text; here is its upper left part.

corner = instances.query("x_max < 200 and y_max < 120")
corner.sort_values(["y_min", "x_min"]).round(2)

# %%
# Digits on a photograph
# ----------------------
# The same localizer, for bright digits on a photograph that it has not seen.

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
