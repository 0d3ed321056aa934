"""The version, where all modules of the package can import it."""

__version__ = "0.1.0"
