"""What tests share: small models, example projects, servers and browsers they start."""
