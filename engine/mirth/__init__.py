"""Coming from Mirth Connect: channel exports become channels in YAML, and what does not is told line by line."""
