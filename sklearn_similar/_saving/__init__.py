"""Saving fitted estimators to one file that holds no code, and loading them."""
