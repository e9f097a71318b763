// Package topology finds the Redis server of a channel behind a client that may be
// of a single server, of a Cluster, or of a master that Sentinel names.
package topology
