"""Processes, files and terminals around a detection: the command line, the background worker, the job.

It adds what a detection itself need not know: arguments, events, output folders, interrupts.
"""
