"""Networks, one file each: who is wired to whom. Not who talks to whom: that is the topology."""
