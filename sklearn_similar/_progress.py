"""Progress bars that cost nothing where none is shown."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

from skorch.callbacks import Callback
from tqdm.auto import tqdm

T = TypeVar("T")

# Estimators inside another one show no bars while it shows its own.
_IS_HIDDEN = ContextVar("_IS_HIDDEN", default=False)


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
    description, unit : str
        What is done, and to what.
    total : int or None
        How many units there are, if it is known.
    verbose : int
    size : callable, default=one
        Units in an item.
    """
    # A disabled bar of tqdm would start its monitoring thread all the same.
    if not verbose or _IS_HIDDEN.get():
        return items
    return _shown(items, description, total, unit, size)


def _shown(items, description, total, unit, size) -> Iterator:
    with tqdm(desc=description, total=total, unit=unit) as bar:
        # Whoever asks for the next item may do so in another context, in which a token
        # of this one would be of no use.
        _IS_HIDDEN.set(True)
        try:
            for item in items:
                yield item
                bar.update(size(item))
        finally:
            _IS_HIDDEN.set(False)


@contextmanager
def without_progress() -> Iterator[None]:
    """Show no bars, as another one is shown, or the work is a part of a larger one."""
    token = _IS_HIDDEN.set(True)
    try:
        yield
    finally:
        _IS_HIDDEN.reset(token)


class EpochBar(Callback):
    """A progress bar over the epochs of a skorch net, with the loss of the last."""

    def on_train_begin(self, net, **kwargs):
        self.bar_ = None
        if not _IS_HIDDEN.get():
            self.bar_ = tqdm(desc="epochs", total=net.max_epochs, unit="epoch")

    def on_epoch_end(self, net, **kwargs):
        if self.bar_ is not None:
            loss = net.history[-1]["train_loss"]
            self.bar_.set_postfix(loss=f"{loss:.3g}", refresh=False)
            self.bar_.update()

    def on_train_end(self, net, **kwargs):
        if self.bar_ is not None:
            self.bar_.close()
        # A bar cannot be copied or pickled.
        self.bar_ = None
