"""Saving fitted estimators in one file without code, and loading them."""
