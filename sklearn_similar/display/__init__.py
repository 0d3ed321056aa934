"""Plots of heatmaps, of instances, and of the filters' importances.

Matplotlib is imported only when something is plotted.
"""

from ._heatmaps import HeatmapDisplay
from ._importances import FilterImportanceDisplay
from ._instances import InstancesDisplay

__all__ = ["FilterImportanceDisplay", "HeatmapDisplay", "InstancesDisplay"]
