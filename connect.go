package fogispubsub

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/PitchConnect/fogispubsub/config"
	"github.com/PitchConnect/fogispubsub/internal/topology"
)

// connect makes the client for the address of the settings. It does not dial.
func connect(cfg config.Config, change func(*redis.Options)) (redis.UniversalClient, error) {
	endpoint, err := cfg.Redis.Endpoint()
	if err != nil {
		return nil, fmt.Errorf("settings: %w", err)
	}
	o := redisOptions(cfg.Redis, endpoint)
	if change != nil {
		change(o)
	}
	switch {
	case o.Dialer != nil:
	case o.TLSConfig != nil:
		o.Dialer = tlsDialer(o)
	default:
		o.Dialer = redis.NewDialer(o)
	}
	o.Dialer = topology.Quiet(o.Dialer)
	switch {
	case len(endpoint.Cluster) > 0:
		return newClusterClient(o, endpoint.Cluster), nil
	case len(endpoint.Sentinels) > 0:
		return newFailoverClient(o, endpoint), nil
	}
	return redis.NewClient(o), nil
}

// How long a connection is trusted: see "What makes a connection trusted" in
// DESIGN.md. An idle one may have died without a sign, and one that is as old may
// lead to a master that its address has left.
const (
	connMaxIdle = 10 * time.Second
	connMaxLife = time.Minute
)

// redisOptions gives the options of a connection that repeats no write by
// itself and honours deadlines, as [publisher.New] and [subscriber.New] demand.
func redisOptions(r config.Redis, endpoint config.Endpoint) *redis.Options {
	o := &redis.Options{
		Network:               endpoint.Network,
		Addr:                  endpoint.Address,
		Username:              endpoint.Username,
		Password:              endpoint.Password.Reveal(),
		DB:                    endpoint.DB,
		DialTimeout:           r.ConnectionTimeout,
		ReadTimeout:           r.SocketTimeout,
		WriteTimeout:          r.SocketTimeout,
		ContextTimeoutEnabled: true,
		MaxRetries:            -1,
		DialerRetries:         1,
		DisableIdentity:       true,
		ConnMaxIdleTime:       connMaxIdle,
		ConnMaxLifetime:       connMaxLife,
		PipelinePoolSize:      -1, // one pool, so that what is checked is what is used
		// Its automatic mode looks the host up by DNS while a client is made.
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}
	if endpoint.TLS {
		o.TLSConfig = &tls.Config{
			ServerName:         endpoint.ServerName,
			InsecureSkipVerify: endpoint.SkipVerify, // only if the URL says ssl_cert_reqs=none
			MinVersion:         tls.VersionTLS12,
		}
	}
	return o
}

// tlsDialer ends a handshake when its context ends. That of go-redis does not.
func tlsDialer(o *redis.Options) func(ctx context.Context, network, addr string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := (&net.Dialer{Timeout: o.DialTimeout}).DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		cfg := o.TLSConfig
		if cfg.ServerName == "" {
			cfg = cfg.Clone()
			if cfg.ServerName, _, err = net.SplitHostPort(addr); err != nil {
				cfg.ServerName = addr
			}
		}
		// A plain port waits for the rest of a command that never comes: the
		// handshake must end before those who wait for the connection give up.
		handshake, cancel := context.WithTimeout(ctx, o.DialTimeout/5)
		defer cancel()
		secure := tls.Client(conn, cfg)
		if err := secure.HandshakeContext(handshake); err != nil {
			_ = conn.Close()
			return nil, &net.OpError{Op: "dial", Net: network, Addr: conn.RemoteAddr(),
				Err: fmt.Errorf("TLS handshake: %w (does this port speak TLS? use redis:// for one that does not)", err)}
		}
		return secure, nil
	}
}

// newClusterClient has every node's client made of the same options.
func newClusterClient(o *redis.Options, nodes []string) *redis.ClusterClient {
	return redis.NewClusterClient(&redis.ClusterOptions{
		Addrs:                 nodes,
		MaxRedirects:          -1,
		MaxRetries:            o.MaxRetries,
		ReadTimeout:           o.ReadTimeout,
		WriteTimeout:          o.WriteTimeout,
		ContextTimeoutEnabled: o.ContextTimeoutEnabled,
		NewClient: func(node *redis.Options) *redis.Client {
			own := *o
			own.Addr, own.NodeAddress = node.Addr, node.NodeAddress
			return redis.NewClient(&own)
		},
	})
}

// newFailoverClient has every connection ask the Sentinels for the master, and
// given up if that is none.
func newFailoverClient(o *redis.Options, endpoint config.Endpoint) *redis.Client {
	topology.DemandMaster(o)
	client := redis.NewFailoverClient(&redis.FailoverOptions{
		MasterName:                   endpoint.Master,
		SentinelAddrs:                endpoint.Sentinels,
		SentinelUsername:             endpoint.SentinelUsername,
		SentinelPassword:             endpoint.SentinelPassword.Reveal(),
		ClientName:                   o.ClientName,
		Dialer:                       o.Dialer,
		OnConnect:                    o.OnConnect,
		Protocol:                     o.Protocol,
		Username:                     o.Username,
		Password:                     o.Password,
		CredentialsProvider:          o.CredentialsProvider,
		CredentialsProviderContext:   o.CredentialsProviderContext,
		StreamingCredentialsProvider: o.StreamingCredentialsProvider,
		DB:                           o.DB,
		MaxRetries:                   o.MaxRetries,
		DialTimeout:                  o.DialTimeout,
		DialerRetries:                o.DialerRetries,
		ReadTimeout:                  o.ReadTimeout,
		WriteTimeout:                 o.WriteTimeout,
		ContextTimeoutEnabled:        o.ContextTimeoutEnabled,
		ReadBufferSize:               o.ReadBufferSize,
		WriteBufferSize:              o.WriteBufferSize,
		PoolFIFO:                     o.PoolFIFO,
		PoolSize:                     o.PoolSize,
		PoolTimeout:                  o.PoolTimeout,
		MinIdleConns:                 o.MinIdleConns,
		MaxIdleConns:                 o.MaxIdleConns,
		MaxActiveConns:               o.MaxActiveConns,
		PipelinePoolSize:             o.PipelinePoolSize,
		ConnMaxIdleTime:              o.ConnMaxIdleTime,
		ConnMaxLifetime:              o.ConnMaxLifetime,
		TLSConfig:                    o.TLSConfig,
		DisableIdentity:              o.DisableIdentity,
	})
	// Its Dialer asks the Sentinels and then dials.
	own := client.Options()
	own.Dialer = topology.Quiet(topology.NameMaster(own.Dialer, endpoint.Master))
	return client
}
