"""Show that nothing is lost: writers, the real connector as a process that is killed now and then, a naive control."""
