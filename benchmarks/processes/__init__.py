"""The roles of a deployment as processes of this machine, and the network between them: late, limited, cut."""
