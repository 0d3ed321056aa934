"""HTML reports of the predictions of an estimator for some images."""

from ._report import write_report

__all__ = ["write_report"]
