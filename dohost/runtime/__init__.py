"""The machinery that runs objects: turns, actors, alarms, code loading, and the host over all."""
