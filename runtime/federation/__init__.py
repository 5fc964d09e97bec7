"""Several data owners: they share and stay, one coordinator searches on the sum of their losses."""
