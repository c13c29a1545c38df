"""What `doctor` examines without the network: the configuration, the machine, the store and its disks."""
