"""The desk: our people's whole job from their own messenger."""
