"""Tests of ``modeltune.reports``."""
