"""Arithmetic that rounds as NumPy does for one number at a time, which is how Gymnasium's environments compute."""

import numpy as np


def scalar_square(values: np.ndarray) -> np.ndarray:
    """values² [k], each by the C library's `pow`; NumPy squares whole arrays by multiplying, at times one bit apart."""
    return np.array([value**2 for value in values], dtype=values.dtype)
