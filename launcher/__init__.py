"""Login node: compose, check, plan, freeze, submit; then status, logs, cancel, resume. Never imports torch."""
