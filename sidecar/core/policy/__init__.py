"""Which writers are co-tenants, what each may do, and what withholds a recovery."""
