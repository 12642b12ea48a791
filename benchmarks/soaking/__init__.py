"""The parts of the soak: a library and its clients, the ledger of what was answered, faults, and the verdict."""
