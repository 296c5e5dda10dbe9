"""Tests run pytest itself: the plugin that does is declared here, in the topmost conftest."""

pytest_plugins = "pytester"
