"""From pixels and token ids to the first hidden state."""
