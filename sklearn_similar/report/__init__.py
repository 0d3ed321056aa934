"""A page that shows what an estimator says of images, to look at in a browser."""

from ._report import write_report

__all__ = ["write_report"]
