"""What computing parties of either engine need: programs, processes, ports, certificates, connections, shares."""
