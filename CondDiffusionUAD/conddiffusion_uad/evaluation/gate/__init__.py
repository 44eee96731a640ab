"""What the input gate lets pass, warns about and refuses."""
