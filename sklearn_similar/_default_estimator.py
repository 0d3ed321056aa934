"""The classifier that recognises crops unless the user names another one."""

from ._classifier import SimilarNetClassifier
from ._network.architectures import SmallCNN

# Epochs after which crops of MNIST's training digits gained little.
_MAX_EPOCHS = 6


def default_estimator(verbose: int) -> SimilarNetClassifier:
    """The default estimator of `InstanceLocalizer`."""
    return SimilarNetClassifier(
        SmallCNN,
        max_epochs=_MAX_EPOCHS,
        # Scores are calibrated after training, and rank better without smoothing.
        net_params={"criterion__label_smoothing": 0.0},
        verbose=verbose,
    )
