"""Instances as a table: boxes, their overlap, checks and matching."""
