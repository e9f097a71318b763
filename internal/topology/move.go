package topology

import (
	"context"
	"errors"

	"github.com/redis/go-redis/v9"
)

// Refresh makes a cluster's client look up its slots again after an error that a
// move may cause. It does not wait for that.
func Refresh(ctx context.Context, conn redis.UniversalClient, err error) {
	if IsMoving(err) || IsNetwork(err) {
		Reload(ctx, conn)
	}
}

// Reload makes a cluster's client look up its slots again.
func Reload(ctx context.Context, conn redis.UniversalClient) {
	if cluster, ok := conn.(*redis.ClusterClient); ok {
		cluster.ReloadState(ctx)
	}
}

// IsMoved tells whether another node of the cluster has the slot.
func IsMoved(err error) bool {
	return redis.HasErrorPrefix(err, "MOVED") || redis.HasErrorPrefix(err, "ASK")
}

// IsReplica tells whether the server at the end of a connection is a replica.
func IsReplica(err error) bool {
	return errors.Is(err, ErrNotMaster) || redis.IsReadOnlyError(err)
}

// IsMoving tells whether a server did nothing because another one is taking its
// place or its slot, so that another attempt soon finds that one.
func IsMoving(err error) bool {
	return IsMoved(err) || redis.IsTryAgainError(err) || redis.IsReadOnlyError(err) || redis.IsClusterDownError(err) ||
		errors.Is(err, ErrNotMaster)
}
