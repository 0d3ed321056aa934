"""Fit of the localizer: training examples, hard negatives and calibration."""
