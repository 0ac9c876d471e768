"""Between the core and the world: events go in, decisions are carried out."""
