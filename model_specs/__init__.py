"""The gallery: real searches on data scikit-learn ships, all gates green."""
