"""Tests of ``modeltune.specs.identity``."""
