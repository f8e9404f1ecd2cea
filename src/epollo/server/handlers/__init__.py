"""How the functions of an application are called."""
