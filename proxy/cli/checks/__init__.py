"""What `doctor` looks at: each file one part of the installation, each check a few findings with advice."""
