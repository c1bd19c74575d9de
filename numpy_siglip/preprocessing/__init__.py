"""From image files and strings to the arrays that models take."""
