"""Pictures of what a vision tower has learned and of what it sees."""
