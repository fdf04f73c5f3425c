"""Our rules inside engines that generate for themselves: one file per engine, the only places that import one."""
