"""scikit-learn's base class where it is installed, and what stands in for it elsewhere."""

from __future__ import annotations

import inspect
from typing import Any, Self

try:
    from sklearn.base import BaseEstimator as BaseEstimator
    from sklearn.base import ClassifierMixin as ClassifierMixin
except ImportError:

    class ClassifierMixin:  # type: ignore[no-redef]
        """Nothing: what is wanted of it the classifier has."""

    class BaseEstimator:  # type: ignore[no-redef]
        """Parameters by the names in `__init__`."""

        def get_params(self, deep: bool = True) -> dict[str, Any]:
            """All parameters."""
            names = [name for name in inspect.signature(type(self).__init__).parameters if name != "self"]
            return {name: getattr(self, name) for name in names}

        def set_params(self, **given: Any) -> Self:
            """Change some. Raises ValueError for a name that is none."""
            known = self.get_params()
            for name, value in given.items():
                if name not in known:
                    raise ValueError(f"there is no parameter {name!r}; known: {', '.join(known)}")
                setattr(self, name, value)
            return self
