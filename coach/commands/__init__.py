"""What the command line does; imported by a command only when it runs, so that ``--help`` stays quick."""
