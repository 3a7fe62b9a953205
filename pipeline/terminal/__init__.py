"""What people see when a step is done: tables that fit a terminal of 80 columns."""
