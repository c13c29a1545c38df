"""The checks of `doctor` that need no network: of the configuration, the machine, the store and its disks."""
