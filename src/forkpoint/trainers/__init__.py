"""One file per outside trainer, the only places that import one."""
