"""Images: what observers are shown."""
