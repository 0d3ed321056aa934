"""Plots of heatmaps, of instances, and of the filters' importances.

Matplotlib is imported when something is plotted, not before.
"""

from sklearn_similar.display._heatmaps import HeatmapDisplay
from sklearn_similar.display._importances import FilterImportanceDisplay
from sklearn_similar.display._instances import InstancesDisplay

__all__ = ["FilterImportanceDisplay", "HeatmapDisplay", "InstancesDisplay"]
