"""Where people and programs come in: the command line, the API, the console."""
