"""Which regions' numbers of hosts are to be looked at, what their load is, and what is told to the owner."""
