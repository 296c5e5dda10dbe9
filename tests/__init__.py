"""The tests of modeltune, in packages named as those they test."""
