"""A tuning run at the data owner: data, model, search, run folder, report."""
