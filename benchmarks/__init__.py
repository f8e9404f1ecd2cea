"""Measures epollo beside its peers and beside the limit, a C epoll loop. See README.md."""
