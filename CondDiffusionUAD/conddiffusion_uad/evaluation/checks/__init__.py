"""What is wrong with the cases of an evaluation, told before anything takes long."""
