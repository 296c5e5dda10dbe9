"""Tests of ``modeltune.histories``."""
