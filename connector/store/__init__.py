"""The store: change log, ledger, quarantine, state, leases and runs, behind `connector.store.store.Store`."""
