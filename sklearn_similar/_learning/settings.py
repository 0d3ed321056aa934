"""What the user tells training from crops."""

from dataclasses import dataclass

from .._search.settings import ProposalSettings


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """Parameters of `InstanceLocalizer` that act in training from crops.

    Attributes
    ----------
    n_instance_crops, n_background_crops : int
        Maximum numbers of crops of objects and of background.
    n_mining_rounds : int
        Rounds of hard-negative mining.
    rotation : float
        Maximum rotation of objects in degrees, either way.
    proposals : ProposalSettings
    verbose : int
        1 shows progress bars.
    """

    n_instance_crops: int
    n_background_crops: int
    n_mining_rounds: int = 0
    rotation: float
    proposals: ProposalSettings
    verbose: int
