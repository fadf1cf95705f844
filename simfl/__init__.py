"""simfl: how many seconds and bytes will this federated training need, on this network and devices?"""
