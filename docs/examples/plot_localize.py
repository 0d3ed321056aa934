"""
Where is which digit?
=====================

Handwritten digits were noted on photographs. This example trains a recogniser on single
digits, each alone in its image, and finds the digits on a photograph that training has
not seen. No box is drawn by hand, and no second network is trained.
"""

# %%
# Train
# -----
# Single digits are not enough. A network that has never seen what is *not*
# a digit, such as a twig, the edge of a roof or half a digit, would call each of them
# one. ``InstanceLocalizer`` sees to that: it places the digits on photographs, noise,
# textures and black, proposes regions just as ``localize`` will, and trains on crops of
# them. Those that show a digit as a whole have its label, the others are background.
#
# Fewer crops than by default, and smaller batches, make this example quick.

from sklearn.datasets import load_sample_images

from sklearn_similar import InstanceLocalizer, SimilarNetClassifier
from sklearn_similar.datasets import load_mnist_sample

china, flower = load_sample_images().images
X, X_test, y, y_test = load_mnist_sample(return_X_y=True)
network = SimilarNetClassifier(lr=2e-3, lr_decay=2e-3, batch_size=50, max_epochs=5)
localizer = InstanceLocalizer(
    network, n_instance_crops=4000, n_background_crops=4000, random_state=0
).fit(X, y, background_images=[flower])

# %%
# Localise
# --------
# Test digits on the other photograph, half as large to three times as large as in
# training.

from sklearn_similar.datasets import make_scenes

scenes, truth = make_scenes(
    X_test,
    y_test,
    n_scenes=1,
    size=(300, 480),
    n_instances=14,
    scale=(0.6, 3),
    background_images=[china],
    random_state=1,
)
instances = localizer.localize(scenes)
print(instances.round(2).to_string())

# %%
# One row is one digit: its label, the score of that label, its box in pixels.

from sklearn_similar.display import InstancesDisplay

display = InstancesDisplay(scenes, instances).plot()

# %%
# Where the digits are is known here, so the result can be scored. A box counts if it
# has the right label and overlaps a true one by half (intersection over union).

from sklearn_similar.metrics import detection_scores

print(detection_scores(truth, instances))

# %%
# Dark on light
# -------------
# Pen on paper is dark on light. ``polarity="dark"`` looks at the negative, ``"both"``
# at the image and its negative. Nothing is trained again.

pages, _ = make_scenes(
    X_test,
    y_test,
    n_scenes=1,
    size=(160, 400),
    n_instances=(25, 40),
    scale=(0.7, 1.5),
    polarity="dark",
    random_state=2,
)
localizer.set_params(polarity="dark")
display = InstancesDisplay.from_estimator(localizer, pages)

# %%
# With and without a background class
# -----------------------------------
# The same network, trained on the digits alone, searches a photograph without digits. A
# ``FrozenEstimator`` is taken as it is, so that only the crop specification is learned.

from sklearn.frozen import FrozenEstimator

trained = network.set_params(random_state=0).fit(X, y)
without = InstanceLocalizer(FrozenEstimator(trained)).fit(X, y)
for name, model in [("background learned", localizer), ("digits alone", without)]:
    false = model.set_params(polarity="bright").localize([china])
    print(f"{name}: {len(false)} false instances")

# %%
# :doc:`../user_guide/localization` explains the method, its parameters and its limits.
