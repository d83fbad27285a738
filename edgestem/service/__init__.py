"""edgestem as a service of systemd: its units, with the paths of this installation."""
