"""The subcommands of the program, one a file.

Each has `add_arguments` and a function that runs it.
"""
