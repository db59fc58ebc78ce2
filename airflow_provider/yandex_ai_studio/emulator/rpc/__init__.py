"""The gRPC front: the official services, each method answered by the route that its proto names for HTTP.

Everything here needs the packages of the extra ``[grpc]``, so nothing imports it before gRPC is asked for.
"""
