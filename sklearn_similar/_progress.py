"""Progress bars on stderr, with verbose=1."""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from skorch.callbacks import Callback
from tqdm.auto import tqdm

T = TypeVar("T")


def with_progress(
    items: Iterable[T],
    description: str,
    total: int | None,
    unit: str,
    verbose: int,
    size: Callable[[T], int] = lambda _: 1,
) -> Iterable[T]:
    """The items, with a progress bar on stderr if `verbose`.

    Parameters
    ----------
    items : iterable
    description : str
        Name of the task.
    total : int or None
        Number of units, if it is known.
    unit : str
        Name of a unit, in the singular.
    verbose : int
    size : callable, default=one
        Number of units in an item.
    """
    # Even a disabled bar of tqdm would start a monitoring thread.
    if not verbose:
        return items
    return _with_bar(items, description, total, unit, size)


def _with_bar(items, description, total, unit, size) -> Iterator:
    with tqdm(desc=description, total=total, unit=unit) as bar:
        for item in items:
            yield item
            bar.update(size(item))


class EpochBar(Callback):
    """A progress bar over the epochs of a skorch net, with the last training loss."""

    def on_train_begin(self, net, **kwargs):
        self.bar_ = tqdm(desc="epochs", total=net.max_epochs, unit="epoch")

    def on_epoch_end(self, net, **kwargs):
        loss = net.history[-1]["train_loss"]
        self.bar_.set_postfix(loss=f"{loss:.3g}", refresh=False)
        self.bar_.update()

    def on_train_end(self, net, **kwargs):
        self.bar_.close()
        # A bar cannot be copied or pickled.
        self.bar_ = None
