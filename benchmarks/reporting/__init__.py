"""What is shown of results: tables, the blocks of README.md and RESULTS.md, pictures."""
