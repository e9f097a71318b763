// Package config holds the settings of a FOGIS pub/sub client and is the only
// part of this module that reads the environment.
//
//	cfg, err := config.FromEnv(os.Getenv)
//
// [FromEnv] reports every fault at once, in the order of the table below, as
// one [*Error]. Settings may also be written by hand: the zero [Config] is
// valid, a zero field means the default of its variable, a negative number
// turns its feature off where the field says so, and [Config.Validate] finds
// the same faults.
//
// # Forms
//
// White space around a value is dropped, and so are quotes around it, which
// Docker hands over as they stand in an env file. A variable that is then empty
// counts as unset. A password or token in quotes is a fault: they may belong to it.
//
//   - A switch is true, 1, yes, y, on or enabled against false, 0, no, n, off
//     or disabled, in any case. Anything else is a fault: the Python services
//     take what they do not know for "off", and so REDIS_ENABLED=1 once turned
//     the calendar's subscription off without a word.
//   - A time is a number of seconds (5, 0.5) or has a unit (5s, 500ms, 2m), and
//     is at most 24 hours.
//   - A name has no white space, no control characters, and neither { nor },
//     which Redis Cluster reads as a hash tag.
//
// # Variables
//
//	Name                            Default                    Form and effect
//	REDIS_PUBSUB_ENABLED            on                         switch; off sends everything by the fallback and subscribes to nothing
//	REDIS_ENABLED                   on                         switch; the same one under its other name: an explicit off of either wins
//	REDIS_URL                       redis://fogis-redis:6379   address of a server, a Cluster or Sentinels, see Redis addresses
//	REDIS_URL_FILE                  none                       path of a file that holds REDIS_URL, see Secrets
//	REDIS_PASSWORD                  none                       password for an address that has none
//	REDIS_PASSWORD_FILE             none                       path of a file that holds REDIS_PASSWORD
//	REDIS_HOST                      fogis-redis                host name or IP address; read only without REDIS_URL
//	REDIS_PORT                      6379                       1 to 65535; read only without REDIS_URL
//	REDIS_DB                        0                          0 or more; read only without REDIS_URL; pub/sub ignores it
//	REDIS_CONNECTION_TIMEOUT        REDIS_TIMEOUT              time; bounds a dial, and the whole Redis part of one Publish
//	REDIS_SOCKET_TIMEOUT            REDIS_TIMEOUT              time; bounds a command's answer, never the wait for the next message
//	REDIS_TIMEOUT                   5                          time; for the two above where they are unset
//	REDIS_MAX_RETRIES               3                          0 or more; attempts after the first one of a Publish, 0 for none
//	REDIS_RETRY_DELAY               1.0                        time, or 0 for none; before the first such attempt
//	REDIS_HEALTH_CHECK_INTERVAL     30                         time, or 0 for never; silence after which a subscription is probed
//	REDIS_AUTO_RECONNECT            on                         switch; off makes Run return when a subscription's connection ends
//	REDIS_RETRY_ON_TIMEOUT          on                         switch; off sends a message whose outcome is unknown to the next route
//	REDIS_SUBSCRIPTION_TIMEOUT      1                          time, or 0; checked, without effect: a read here waits for no poll
//	REDIS_DECODE_RESPONSES          on                         switch; checked, without effect: messages are bytes
//	REDIS_MATCH_UPDATES_CHANNEL     fogis:matches:updates      name; no two types may share a channel
//	REDIS_PROCESSOR_STATUS_CHANNEL  fogis:processor:status     name
//	REDIS_SYSTEM_ALERTS_CHANNEL     fogis:system:alerts        name
//	FOGIS_SERVICE_NAME              fogispubsub                name; the source in every message that this process sends
//	FOGIS_FALLBACK_URL              none                       http:// or https://; where match updates go when Redis did not take them
//	FOGIS_FALLBACK_URL_FILE         none                       path of a file that holds FOGIS_FALLBACK_URL
//	FOGIS_FALLBACK_TOKEN            none                       visible ASCII without spaces; bearer token of the fallback, both sides
//	FOGIS_FALLBACK_TOKEN_FILE       none                       path of a file that holds FOGIS_FALLBACK_TOKEN
//	FOGIS_FALLBACK_BATCH_SIZE       1                          1 or more; matches in one request to a Python receiver
//	FOGIS_FALLBACK_TIMEOUT          4.5                        time; how long the fallback goes on without an accepted request
//	FOGIS_REQUIRE_RECEIVERS         1                          whole number; listeners that must get match updates, 0 means 1, negative: none needed
//	REDIS_DURABLE                   auto                       auto or a switch; keep messages in streams for those who are down, see Streams
//	REDIS_STREAM_MAX_AGE            168h                       time up to 8784h, or 0 for no bound; older messages go
//	REDIS_STREAM_MAX_LEN            1000                       0 or more, 0 for no bound; messages in one stream
//	REDIS_STREAM_MAX_BYTES          100663296                  0 or more, 0 for no bound; memory of one stream
//	FOGIS_LEGACY_REPEAT             on                         switch; repeat the newest snapshot for listeners that come later (see K4 in docs/wire.md)
//	FOGIS_OUTBOX_PATH               none                       path of the file that keeps what Redis did not take
//
// # Redis addresses
//
//	redis://[user:password@]host[:port][/db]
//	rediss://[user:password@]host[:port][/db]
//	unix://[user:password@]/path/to/socket
//	redis://[user:password@]host[:port],host[:port],…
//	redis+sentinel://[user:password@]host[:port],host[:port],…/master[/db]
//
// A list of hosts is that of some nodes of a Cluster, from which the others are
// learnt; one with a single address is named twice. Its only database is 0.
// With redis+sentinel the hosts are those of Sentinels, of port 26379 unless
// they say otherwise, and master is the name under which they watch the server;
// user and password are for that server, sentinel_username and
// sentinel_password in the query for the Sentinels.
//
// With rediss and rediss+sentinel every connection is under TLS, those to
// Sentinels too. Each certificate must name the host that was dialled, which for
// nodes and master is what Cluster and Sentinels announce, by default an IP
// address.
//
// Of redis-py's query keys db, username, password and, with TLS, ssl_cert_reqs
// (required or none) are known; any other is a fault, because time limits and
// retries have variables of their own. Special characters of a password
// must be percent-encoded.
//
// # Streams
//
// Unless REDIS_DURABLE is off the publisher appends every message to its channel's
// stream, and a subscriber reads the streams as one of the group that
// FOGIS_SERVICE_NAME names: the instances of one service share a name, two
// services never do. Without such a name auto subscribes in plain mode and
// warns; true is a fault. With auto a server that has no streams is published to
// and subscribed to as before. A [Config] made by hand is off by default.
//
// # Secrets
//
// Passwords and tokens sit in [URL] and [Secret], which hide them in every
// printed form; Reveal gives the text to whoever dials. Faults describe the
// shape of a value and never quote it.
//
// Each of the four variables that may hold a secret has a sibling that ends in
// _FILE and names a file to read it from, as Docker and Kubernetes provide them.
// The file is UTF-8, holds the value alone and at most 64 KiB; one line end at
// its end is dropped. Both set is a fault. A file that every user of the
// computer may read is a warning. Programs of your own read files with
// [FromEnvAndFiles].
package config
