// Package httpadmin is the face of a service towards its operators: the
// endpoints of the FOGIS integration guide, with its JSON keys, filled with
// what really happened; two probes for an orchestrator; and a status page.
//
//	GET  /redis-status     is it connected, and to which channels
//	GET  /redis-stats      what was received, and what became of it
//	GET  /redis-config     the settings, without passwords
//	GET  /redis-history    the last statuses, alerts and gaps
//	GET  /redis-health     the health report
//	GET  /redis-dashboard  the status page
//	GET  /livez, /readyz   200, or 503 with the reason
//	POST /redis-test       sends a message through Redis and the lanes
//	POST /redis-restart    subscribes again, and waits for it
//	POST /manual-sync      takes a message, or matches, by HTTP
//
// Only what changes nothing is open to everybody who reaches it, under a name that
// no foreign page can have ([Options].Hosts). What acts checks the origin and the
// token. Nothing that is answered holds anything of a match, the text of an alert,
// or a password.
//
// An orchestrator restarts the service when /livez fails, and sends it no requests
// while /readyz fails. A service with /manual-sync stays ready while Redis is away:
// publishers reach it by HTTP just then. The answer's routes ("redis", "http") say
// by which ways updates can come, and its reasons what is wrong with the
// subscription. To watch Redis itself, use /redis-health.
//
// The handler cannot bound how slowly a request arrives: set ReadHeaderTimeout
// (5 s) and ReadTimeout (30 s) on the [net/http.Server]. The status page's
// stream of events sets its own write deadlines.
package httpadmin
