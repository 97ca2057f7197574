"""Where the story of each answered request goes: metrics first of all."""
