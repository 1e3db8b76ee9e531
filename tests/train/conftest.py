"""What the tests of this room take from the fixtures that several rooms need."""

from ..conftest import SMALL

__all__ = ["SMALL"]
