// Package pubsubtest helps a service to test its own handlers and publishers:
// an in-memory Redis that can fail and come back, a recorder of what a handler
// got, and matches of invented people.
//
//	redis := pubsubtest.StartRedis(t)
//	client, err := fogispubsub.FromEnv(fogispubsub.Options{Getenv: redis.Getenv})
//	…
//	got := pubsubtest.NewRecorder[message.MatchUpdates](t)
//	fogispubsub.On(client, got.Handle)
//	go client.Run(t.Context())
//	redis.WaitForListener(message.ChannelMatchUpdates)
//	…
//	update := got.Next()
//
// The helpers end the test by themselves when what they wait for does not
// come. Nothing here needs a program besides Go.
package pubsubtest
