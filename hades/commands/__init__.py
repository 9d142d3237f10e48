"""How a command reads its flags, finds names, and answers."""
