"""Databases of their own, as the tests of migrations make them."""

from __future__ import annotations

from tests.migrations.conftest import new_database

__all__ = ["new_database"]
