"""The published way to judge, apart from ours."""
