"""repave in a world of faults, on a virtual clock: one seed decides everything that happens."""
