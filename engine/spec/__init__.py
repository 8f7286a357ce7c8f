"""The channel language: components and their settings, the YAML file, its positions and its errors."""
