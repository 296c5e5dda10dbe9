"""Claims about the whole product, as its users meet it."""
