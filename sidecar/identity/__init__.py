"""Who is at the other end of a link: what the kernel shows of a process, and whether that is enough to believe it."""
