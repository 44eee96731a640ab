"""The line that the data walks, from a scan to findings; `pipeline` reads like the paper.

Beside it lie what is made of the result: findings, report and overview.
"""
