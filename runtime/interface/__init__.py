"""Tuning and prediction from Python: scikit-learn's conventions, files or values in memory, callbacks."""
