"""Synthetic scenes: labelled images pasted onto backgrounds, with their boxes."""
