"""What a developer sees: banner, request lines, errors with their source, reload and hotkeys."""
