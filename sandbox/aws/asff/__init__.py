"""What the AWS Security Finding Format (ASFF) allows: the rules as data, and the interpreter that applies them."""
